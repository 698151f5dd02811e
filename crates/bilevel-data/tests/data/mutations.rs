//! Every reader on mutations of valid files: thousands of truncations, flips, and bytes inserted, removed and doubled.
//! Each is refused with a remedy, or read; none ends the process.

use std::fs;
use std::path::{Path, PathBuf};

use bilevel_data::table::Table;
use bilevel_data::{DataError, ImageClasses, cifar, gray, libsvm, mnist, omniglot};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::cures::has_cure;
use crate::idx::{encode, gzip};
use crate::mutated::mutated;
use crate::regressions::safetensors;
use crate::table::{npy, parquet, zip};

/// A reader of a folder or of its only file, which is what is mutated; the others stay.
struct Reader {
    name: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    read: fn(&Path, &Path) -> Result<(), DataError>,
}

/// Every reader there is. A new one is one entry.
fn readers() -> Vec<Reader> {
    let labels: Vec<u8> = [0, 1, 0, 1_i32].iter().flat_map(|label| label.to_be_bytes()).collect();
    let images = || encode(8, &[4, 2, 2], &[7; 16]);
    let csv =
        "size,colour,kind\n1,red,a\n3,blue,b\n,red,a\n\"1\",blue,b\n3e2,\"re\"\"d\",a\n2,?,b\n";
    let rows = "# a comment\n1 1:2 3:1\n-1 3:2 7:1e-3\n1 1:1\n-1 2:0.5 # end\n+1 9:1\n";
    let numbers = |n: usize| -> Vec<u8> { (0..n).flat_map(|v| (v as f32).to_le_bytes()).collect() };
    let classes: Vec<u8> = [3_i64, -1, 3, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
    let png = || gray::png(&[0, 50, 100, 150, 200, 250], 3);
    let arrays = [
        ("inputs.npy", npy("|u1", false, "(4, 1)", &[1, 2, 3, 5])),
        ("labels.npy", npy("|u1", false, "(4,)", &[0, 1, 0, 1])),
    ];
    let record = |label: u8| [vec![1, label], vec![9; 3072]].concat();
    let table: fn(&Path, &Path) -> Result<(), DataError> =
        |_, file| Table::read(&[file], None).map(drop);
    let few: fn(&Path, &Path) -> Result<(), DataError> =
        |_, file| ImageClasses::read(file, [3, 4], 1 << 20).map(drop);
    vec![
        Reader { name: "csv", files: vec![("t.csv", csv.into())], read: table },
        Reader { name: "csv.gz", files: vec![("t.csv.gz", gzip(csv.as_bytes()))], read: table },
        Reader { name: "parquet", files: vec![("t.parquet", parquet())], read: table },
        Reader { name: "libsvm table", files: vec![("t.txt", rows.into())], read: table },
        Reader {
            name: "libsvm",
            files: vec![("t", rows.into())],
            read: |_, file| libsvm::read(file, None).map(drop),
        },
        Reader {
            name: "safetensors",
            files: vec![("t.safetensors", safetensors(&numbers(4), &classes))],
            read: table,
        },
        Reader {
            name: "npy",
            files: vec![("t.npy", npy("|u1", false, "(4, 2)", &[1, 0, 2, 1, 3, 0, 5, 1]))],
            read: table,
        },
        Reader { name: "npz", files: vec![("t.npz", zip(&arrays, true))], read: table },
        Reader {
            name: "mnist",
            files: vec![
                ("train-labels-idx1-ubyte", encode(0x0c, &[4], &labels)),
                ("train-images-idx3-ubyte", images()),
                ("t10k-images-idx3-ubyte", images()),
                ("t10k-labels-idx1-ubyte", encode(0x0c, &[4], &labels)),
            ],
            read: |dir, _| mnist::read_dir(dir).map(drop),
        },
        Reader {
            name: "omniglot",
            files: vec![
                ("background-labels-idx1-int", encode(0x0c, &[4], &labels)),
                ("background-images28-idx3-ubyte", images()),
                ("evaluation-images28-idx3-ubyte", images()),
                ("evaluation-labels-idx1-int", encode(0x0c, &[4], &labels)),
            ],
            read: |dir, _| omniglot::read(dir, 0).map(drop),
        },
        Reader {
            name: "cifar",
            files: vec![("train.bin", record(3)), ("test.bin", record(7))],
            read: |dir, _| cifar::read_dir(dir).map(drop),
        },
        Reader {
            name: "png",
            files: vec![("a.png", png())],
            read: |dir, _| gray::read_folder(dir).map(drop),
        },
        Reader {
            name: "a folder of classes",
            files: vec![("one/a.png", png())],
            read: |dir, _| ImageClasses::read(dir, [1, 4], 0).map(drop),
        },
        Reader { name: "an archive", files: vec![("t.tar", archive(&png()))], read: few },
    ]
}

/// Two classes with an image each.
fn archive(png: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    // Both are PNG, whatever they are called.
    for name in ["one/a.png", "two/b.jpg"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(png.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, png).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn no_reader_panics_and_each_refuses_with_a_cure() {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    assert!(!has_cure("t.csv: line 3: no number; x: 1e999"));
    for Reader { name, files, read } in readers() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| dir.path().join(name)).collect();
        for (path, (_, bytes)) in paths.iter().zip(&files) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let sound = read(dir.path(), &paths[0]);
        sound.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut refused = 0;
        for _ in 0..400 {
            let bytes = mutated(&files[0].1, &mut rng);
            fs::write(&paths[0], &bytes).unwrap();
            let found = std::panic::catch_unwind(|| read(dir.path(), &paths[0]));
            let found = found.unwrap_or_else(|_| panic!("{name} panics on {bytes:02x?}"));
            if let Err(error) = found {
                refused += 1;
                let text = error.to_string();
                assert!(has_cure(&text), "{name}: {text}");
            }
        }
        assert!(refused > 40, "{name}: {refused} of 400 refused");
    }
}
