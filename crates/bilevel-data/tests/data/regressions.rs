//! Former faults, one test each.

use std::fs;
use std::io::Write;
use std::path::Path;

use bilevel_data::mnist::read_dir;
use bilevel_data::noise::{corrupt_labels, uniform};
use bilevel_data::table::Table;
use bilevel_data::{Purpose, cifar, files, gray, idx, libsvm, omniglot, stream};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::idx::encode;
use crate::table::npy;

/// Six images of 2x2 to train and two to test, with these labels as `i32`.
fn folder(train: [i32; 6], test: [i32; 2]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let of = |labels: &[i32]| {
        let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_be_bytes()).collect();
        encode(0x0c, &[labels.len() as u32], &bytes)
    };
    put("train-images-idx3-ubyte", &encode(8, &[6, 2, 2], &[7; 24]));
    put("train-labels-idx1-ubyte", &of(&train));
    put("t10k-images-idx3-ubyte", &encode(8, &[2, 2, 2], &[7; 8]));
    put("t10k-labels-idx1-ubyte", &of(&test));
    dir
}

/// Zeros, compressed as far as gzip can.
fn bomb(start: &[u8], zeros: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(start).unwrap();
    for _ in 0..zeros >> 20 {
        encoder.write_all(&[b'0'; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn one_huge_label_asked_for_memory_for_as_many_classes() {
    let dir = folder([0, 1, i32::MAX, 0, 1, i32::MAX], [1, i32::MAX]);
    let read = read_dir(dir.path()).unwrap();
    assert_eq!(read.labels, [0, 1, i32::MAX as u32]);
    assert_eq!(read.train.class_counts(), [2, 2, 2]);
    assert_eq!(read.test.labels(), [1, 2]);
}

#[test]
fn labels_that_begin_at_1_left_class_0_empty() {
    let dir = folder([1, 2, 3, 3, 2, 1], [3, 1]);
    let read = read_dir(dir.path()).unwrap();
    assert_eq!((read.labels, read.train.classes()), (vec![1, 2, 3], 3));
    assert_eq!(read.train.labels(), [0, 1, 2, 2, 1, 0]);
    assert_eq!(read.test.labels(), [2, 0]);
    let text = read_dir(folder([1, 2, 3, 3, 2, 1], [3, 0]).path()).unwrap_err().to_string();
    assert!(text.contains("label 0 of sample 1, expected 1 to 3; check the label file"), "{text}");
}

#[test]
fn one_huge_index_asked_for_memory_for_as_many_columns() {
    let rows = libsvm::parse(&b"1 1:2 3:1\n-1 3:2 4294967295:1\n"[..], None).unwrap();
    assert_eq!(rows.features(), 4_294_967_295);
    assert_eq!(rows.frequent_columns(1), [2]);
    assert_eq!(rows.frequent_columns(usize::MAX), [0, 2, 4_294_967_294]);
    assert_eq!(rows.with_columns(&rows.frequent_columns(usize::MAX)).features(), 3);
}

#[test]
fn one_huge_index_of_a_table_asked_for_a_name_for_each_column() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    let read = |index: u32| {
        let text = format!("1 1:2 3:1\n-1 3:2 {index}:1\n1 1:1\n-1 2:1\n");
        fs::write(&path, text).unwrap();
        Table::read(&[&path], None)
    };
    assert_eq!(read(4).unwrap().0.features.len(), 4);
    let text = read(300_000_000).unwrap_err().to_string();
    assert!(text.contains("4 rows of 300000000 features, expected at most"), "{text}");
    assert!(text.contains("; correct the index"), "{text}");
}

#[test]
fn one_huge_label_of_omniglot_asked_for_a_list_for_each_class() {
    let dir = tempfile::tempdir().unwrap();
    let put = |last: i32| {
        for part in ["background", "evaluation"] {
            let labels: Vec<u8> =
                [0, 1, 0, last].iter().flat_map(|l: &i32| l.to_be_bytes()).collect();
            let path = |kind: &str| dir.path().join(format!("{part}-{kind}"));
            fs::write(path("images28-idx3-ubyte"), encode(8, &[4, 2, 2], &[7; 16])).unwrap();
            fs::write(path("labels-idx1-int"), encode(0x0c, &[4], &labels)).unwrap();
        }
        omniglot::read(dir.path(), 0)
    };
    assert_eq!(put(1).unwrap()[0].len(), 4);
    let text = put(i32::MAX).unwrap_err().to_string();
    assert!(text.contains("label 2147483647 of sample 3, expected 0 to 3"), "{text}");
}

#[test]
fn rows_without_columns_asked_for_a_label_each() {
    let dir = tempfile::tempdir().unwrap();
    let [rows, labels] = ["rows.npy", "labels.npy"].map(|name| dir.path().join(name));
    fs::write(&labels, npy("|u1", false, "(4,)", &[0, 1, 0, 1])).unwrap();
    let read = |shape: &str, bytes: &[u8]| {
        fs::write(&rows, npy("|u1", false, shape, bytes)).unwrap();
        Table::read(&[&rows], labels.to_str())
    };
    assert_eq!(read("(4, 1)", &[1, 2, 3, 5]).unwrap().0.labels, [0, 1, 0, 1]);
    let text = read("(1152921504606846976, 0)", &[]).unwrap_err().to_string();
    assert!(text.contains("a shape of no or too many numbers; save"), "{text}");
}

#[test]
fn a_packed_safetensors_file_was_no_header() {
    let inputs: Vec<u8> = [1.0_f32, 2.0, 3.0, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let labels: Vec<u8> = [0_i64, 1, 0, 1].iter().flat_map(|v| v.to_le_bytes()).collect();
    let bytes = safetensors(&inputs, &labels);
    let dir = tempfile::tempdir().unwrap();
    let [plain, packed] = ["t.safetensors", "t.safetensors.gz"].map(|name| dir.path().join(name));
    fs::write(&plain, &bytes).unwrap();
    fs::write(&packed, crate::idx::gzip(&bytes)).unwrap();
    let read = |path: &Path| Table::read(&[path], None).unwrap().0;
    assert_eq!(read(&plain).labels, [0, 1, 0, 1]);
    assert_eq!(read(&plain), read(&packed));
}

/// A file with `inputs` of one number a row, and `labels`.
pub(crate) fn safetensors(inputs: &[u8], labels: &[u8]) -> Vec<u8> {
    let (n, end) = (labels.len() / 8, inputs.len() + labels.len());
    let header = format!(
        "{{\"inputs\":{{\"dtype\":\"F32\",\"shape\":[{n},1],\"data_offsets\":[0,{}]}},\
         \"labels\":{{\"dtype\":\"I64\",\"shape\":[{n}],\"data_offsets\":[{},{end}]}}}}",
        inputs.len(),
        inputs.len()
    );
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), inputs, labels].concat()
}

#[test]
fn gzip_data_unpacked_without_a_bound() {
    let header = encode(8, &[1 << 30], &[]);
    let text = idx::parse(&bomb(&header, 200 << 20)[..]).unwrap_err().to_string();
    assert!(
        text.contains("expected at most 100 times as many") && text.contains("gunzip"),
        "{text}"
    );
    let text = libsvm::parse(&bomb(b"# ", 200 << 20)[..], None).unwrap_err().to_string();
    assert!(text.starts_with("line 1: ") && text.contains("expected at most 100 times"), "{text}");
    // A file that shrinks no more than usual data is read however large.
    let text = cifar::parse(&bomb(&[], 1 << 20)[..], cifar::Version::Ten).unwrap_err().to_string();
    assert!(text.contains("label 48 of record 0"), "{text}");
}

#[test]
fn a_header_asked_for_any_size() {
    let within = |most| idx::parse_within(&encode(8, &[9], &[0; 9])[..], most);
    assert!(within(9).is_ok());
    let text = within(8).unwrap_err().to_string();
    assert!(text.contains("expected at most 8") && text.ends_with("otherwise split it"), "{text}");
}

#[test]
fn one_class_without_noise_was_told_to_take_no_noise() {
    let rng = &mut stream(0, Purpose::Noise);
    assert_eq!(corrupt_labels(&[0, 0], 1, 0.0, rng).unwrap().wrong, [false; 2]);
    assert_eq!(uniform(&[0, 0], 1, 0.0, rng).unwrap().wrong, [false; 2]);
    let refused = corrupt_labels(&[0, 0], 1, 0.5, rng).unwrap_err().to_string();
    assert!(refused.starts_with("1 classes"), "{refused}");
    assert!(corrupt_labels(&[0], 0, 0.0, rng).unwrap_err().to_string().contains("label 0"));
}

#[test]
fn a_byte_order_mark_was_part_of_the_first_label() {
    for text in ["\u{feff}1 2:1\n-1 1:1\n", "\u{feff}# a comment\n1 2:1\n-1 1:1\n"] {
        let rows = libsvm::parse(text.as_bytes(), None).unwrap();
        assert_eq!((rows.labels(), rows.features()), (&[1.0, -1.0][..], 2));
    }
    assert!(libsvm::parse("1 2:1\n\u{feff}1 2:1\n".as_bytes(), None).is_err());
}

#[test]
fn other_packings_were_damaged_lines() {
    let text = libsvm::parse(&b"BZh91AY&SY"[..], None).unwrap_err().to_string();
    assert!(text.contains("packed by bzip2") && text.ends_with("unpack it by bunzip2"), "{text}");
    let text = idx::parse(&b"\xfd7zXZ\0\0"[..]).unwrap_err().to_string();
    assert!(text.contains("packed by xz"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("libsvm")).unwrap();
    let put = |name: &str| fs::write(dir.path().join(name), "BZh").unwrap();
    let find = || files::require(dir.path(), &["libsvm"], "ijcnn1");
    let text = find().unwrap_err().to_string();
    assert!(text.contains("neither ijcnn1 nor ijcnn1.gz, nor does libsvm/ in it"), "{text}");
    put("libsvm/ijcnn1.bz2");
    assert!(find().unwrap_err().to_string().contains("unpack it by bunzip2"));
    put("libsvm/ijcnn1");
    assert_eq!(find().unwrap(), dir.path().join("libsvm/ijcnn1"));
    put("ijcnn1.gz");
    assert_eq!(find().unwrap(), dir.path().join("libsvm/ijcnn1"));
    put("ijcnn1");
    assert_eq!(find().unwrap(), dir.path().join("ijcnn1"));
}

/// Nobody writes to the pipe: whoever opens it waits.
#[cfg(unix)]
#[test]
fn a_pipe_given_as_data_was_waited_for() {
    let dir = folder([0, 1, 0, 1, 0, 1], [0, 1]);
    let pipe = dir.path().join("t10k-labels-idx1-ubyte");
    fs::remove_file(&pipe).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("skipped: no mkfifo");
        return;
    }
    let refused = |text: String| assert!(text.contains("is a pipe, expected a file"), "{text}");
    refused(read_dir(dir.path()).unwrap_err().to_string());
    refused(libsvm::read(&pipe, None).unwrap_err().to_string());
    refused(cifar::read(&pipe, cifar::Version::Ten).unwrap_err().to_string());
    let tensors = dir.path().join("t.safetensors");
    fs::rename(&pipe, &tensors).unwrap();
    refused(Table::read(&[&tensors], None).unwrap_err().to_string());
    let text = idx::read(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(text.contains("is a device"), "{text}");
    assert!(idx::read(dir.path()).unwrap_err().to_string().contains("is a folder"));
}

#[test]
fn a_png_that_gives_one_code_to_two_bytes_panicked() {
    // The files that fuzzing starts from; the one of the name has such a code.
    let seeds = Path::new("../../fuzz/seeds/png");
    let read = |name: &str| gray::read(&seeds.join(name));
    let error = read("two-codes-for-one").unwrap_err().to_string();
    assert!(error.contains("expected a PNG file: fetch it again"), "{error}");
    let sizes = |name: &str| read(name).map(|image| [image.height, image.width]).unwrap();
    assert_eq!([sizes("grey"), sizes("colours"), sizes("deep")], [[2, 3], [2, 2], [2, 2]]);
}
