use std::path::{Path, PathBuf};
use std::{env, fs};

use bilevel_data::mnist::read_dir;
use bilevel_data::split::{SplitSizes, split};

use crate::idx::{encode, gzip};

/// A folder of three training and two test images of 2x2, two files plain and two gzip.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let pixels = [0, 51, 102, 153, 204, 255, 0, 51, 102, 153, 204, 255];
    put("train-images-idx3-ubyte", &encode(8, &[3, 2, 2], &pixels));
    put("train-labels-idx1-ubyte.gz", &gzip(&encode(8, &[3], &[0, 2, 1])));
    put("t10k-images-idx3-ubyte.gz", &gzip(&encode(8, &[2, 2, 2], &pixels[..8])));
    put("t10k-labels-idx1-ubyte", &encode(8, &[2], &[1, 1]));
    dir
}

fn refusal(dir: &Path) -> String {
    read_dir(dir).unwrap_err().to_string().replace(&dir.display().to_string(), "DIR")
}

#[test]
fn reads_a_folder() {
    let dir = folder();
    let read = read_dir(dir.path()).unwrap();
    assert_eq!(read.train.name(), dir.path().file_name().unwrap().to_str().unwrap());
    assert_eq!((read.train.shape(), read.train.classes(), read.test.classes()), ([1, 2, 2], 3, 3));
    assert_eq!(read.train.image(1), [0.8, 1.0, 0.0, 0.2]);
    let pooled = read.pooled().unwrap();
    assert_eq!(pooled.labels(), [0, 2, 1, 1, 1]);
    assert_eq!(pooled.image(3), [0.0, 0.2, 0.4, 0.6]);
}

#[test]
fn refuses_with_cause_and_cure() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);

    fs::rename(path("t10k-labels-idx1-ubyte"), path("labels")).unwrap();
    assert_eq!(
        refusal(dir.path()),
        "DIR holds neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz; a folder in MNIST's \
         format has train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
         t10k-labels-idx1-ubyte, one of CIFAR-10 data_batch_1.bin (to 5) and test_batch.bin, one of \
         CIFAR-100 train.bin and test.bin, each plain or .gz: add the missing file or name another \
         folder"
    );
    fs::write(path("t10k-labels-idx1-ubyte"), encode(8, &[2], &[1, 3])).unwrap();
    assert!(
        refusal(dir.path()).contains("label 3 of sample 1, expected 0 to 2; check the label file")
    );
    fs::write(path("t10k-labels-idx1-ubyte"), encode(8, &[1], &[1])).unwrap();
    assert!(refusal(dir.path()).contains("8 pixel values, expected 1 labels x 4 pixels"));
    fs::write(path("t10k-labels-idx1-ubyte"), encode(8, &[2], &[1])).unwrap();
    assert_eq!(
        refusal(dir.path()),
        "DIR/t10k-labels-idx1-ubyte: dimensions [2] require 2 bytes after the header, found 1; \
         fetch the file again"
    );
    fs::write(path("t10k-labels-idx1-ubyte"), encode(8, &[0], &[])).unwrap();
    assert!(refusal(dir.path()).contains(": 0 images of [1, 2, 2]"));
    fs::write(path("t10k-labels-idx1-ubyte"), encode(8, &[2], &[1, 1])).unwrap();
    fs::write(path("t10k-images-idx3-ubyte.gz"), encode(8, &[2, 1, 4], &[0; 8])).unwrap();
    assert!(refusal(dir.path()).contains("cannot join images of [1, 1, 4] to images of [1, 2, 2]"));

    let text = refusal(&path("nowhere"));
    assert!(
        text.starts_with("DIR: ") && text.ends_with("; check the path and its permissions"),
        "{text}"
    );
}

#[test]
fn real_mnist() {
    let Some(dir) = env::var_os("BILEVEL_DATA_DIR").map(|dir| PathBuf::from(dir).join("mnist"))
    else {
        eprintln!("skipped: set BILEVEL_DATA_DIR to a folder with MNIST's four files in mnist/");
        return;
    };
    let read = read_dir(&dir).unwrap();
    assert_eq!((read.train.len(), read.test.len()), (60_000, 10_000));
    assert_eq!((read.train.shape(), read.train.classes()), ([1, 28, 28], 10));
    assert_eq!(read.train.labels()[..8], [5, 0, 4, 1, 9, 2, 1, 3]);
    assert_eq!(read.test.labels()[..8], [7, 2, 1, 0, 4, 1, 4, 9]);
    let pooled = read.pooled().unwrap();
    let parts = split(&pooled, SplitSizes::BDA_MNIST, 0).unwrap().apply(&pooled).unwrap();
    assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (7000, 7000, 56_000));
    assert_eq!(parts.train.class_counts(), [700; 10]);
    assert_eq!(parts.validation.class_counts(), [700; 10]);
}
