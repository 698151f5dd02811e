use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

use bilevel_data::libsvm::{LibsvmFault, parse, read};
use bilevel_data::{DataError, Sparse};
use proptest::prelude::*;

use crate::idx::gzip;

/// A small file with everything that is allowed in one.
const SMALL: &str = "# two rows and an empty one\r\n\
    -1 1:0.5 3:-2.5e-1\t4:+1 # the first\r\n\
    \n  \t\n\
    +1\n\
    2.5 2:1e3 5:.5";

fn small() -> Sparse {
    parse(SMALL.as_bytes(), None).unwrap()
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    parse(text.as_ref(), Some(9)).unwrap_err().to_string()
}

/// Rows as a file has them: a label, and values by index.
type Rows = Vec<(f64, BTreeMap<u32, f32>)>;

fn rows() -> impl Strategy<Value = Rows> {
    let value = prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL;
    let label = prop_oneof![prop::num::f64::NORMAL, (-3..20).prop_map(f64::from)];
    let index = prop_oneof![1..40_u32, 1..=u32::MAX];
    let row = (label, prop::collection::btree_map(index, value, 0..12));
    let filled = |rows: &Rows| rows.iter().any(|(_, row)| !row.is_empty());
    prop::collection::vec(row, 1..20).prop_filter("no entry", filled)
}

fn text(rows: &Rows, style: u8) -> String {
    let (newline, gap) = if style & 1 == 0 { ("\n", " ") } else { (" # :1 x\r\n\r\n", "\t  ") };
    let mut text = String::new();
    for (label, row) in rows {
        text += &if style & 2 == 0 { format!("{label}") } else { format!("{label:e}") };
        for (index, value) in row {
            let value = if style & 2 == 0 { format!("{value}") } else { format!("{value:e}") };
            text += &format!("{gap}{index}:{value}");
        }
        text += newline;
    }
    if style & 4 == 0 { text } else { text.trim_end().into() }
}

fn agrees(found: &Sparse, expected: &Rows) -> Result<(), TestCaseError> {
    let largest = expected.iter().flat_map(|(_, row)| row.keys()).max().unwrap();
    prop_assert_eq!((found.rows(), found.features()), (expected.len(), *largest as usize));
    prop_assert_eq!(found.nonzeros(), expected.iter().map(|(_, row)| row.len()).sum::<usize>());
    for (i, (label, row)) in expected.iter().enumerate() {
        prop_assert_eq!(found.labels()[i], *label);
        let (columns, values) = found.row(i);
        prop_assert!(columns.iter().map(|column| column + 1).eq(row.keys().copied()));
        prop_assert_eq!(values, row.values().copied().collect::<Vec<_>>());
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_comes_back_plain_and_gzip(rows in rows(), style in 0..8_u8) {
        let text = text(&rows, style);
        let plain = parse(text.as_bytes(), None).unwrap();
        agrees(&plain, &rows)?;
        prop_assert_eq!(&parse(&gzip(text.as_bytes())[..], None).unwrap(), &plain);
        // In whatever chunks the bytes arrive.
        let drops = std::io::BufReader::with_capacity(1, text.as_bytes());
        prop_assert_eq!(parse(drops, None).unwrap(), plain);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, line in "[-+0-9.e:# \t\r\n]{0,60}") {
        for source in [&bytes[..], line.as_bytes()] {
            if let Ok(set) = parse(source, None) {
                prop_assert_eq!(set.labels().len(), set.rows());
                for row in 0..set.rows() {
                    let (columns, values) = set.row(row);
                    prop_assert!(columns.iter().all(|&column| (column as usize) < set.features()));
                    prop_assert!(columns.windows(2).all(|pair| pair[0] < pair[1]));
                    prop_assert!(values.iter().all(|value| value.is_finite() && *value != 0.0));
                }
            }
        }
    }

    #[test]
    fn every_malformed_line_is_named_by_its_number(
        rows in rows(),
        at: prop::sample::Index,
        malformed in prop::sample::select(MALFORMED.to_vec()),
    ) {
        let text = text(&rows, 0);
        let mut lines: Vec<&str> = text.lines().collect();
        let at = at.index(lines.len() + 1);
        lines.insert(at, malformed);
        let text = lines.join("\n");
        for file in [gzip(text.as_bytes()), text.into_bytes()] {
            let fault = parse(&file[..], None).unwrap_err().to_string();
            prop_assert!(fault.starts_with(&format!("line {}: ", at + 1)), "{malformed}: {fault}");
        }
    }
}

proptest! {
    // Every bit of a file is flipped, so a few files are thousands of cases.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_bit_flip_of_a_gzip_file_is_refused_or_harmless(rows in rows(), style in 0..8_u8) {
        let text = text(&rows, style);
        let (zipped, sound) = (gzip(text.as_bytes()), parse(text.as_bytes(), None).unwrap());
        for bit in 0..8 * zipped.len() {
            let mut damaged = zipped.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = parse(&damaged[..], None) {
                prop_assert_eq!(&found, &sound, "bit {} went unnoticed", bit);
            }
        }
    }
}

const MALFORMED: [&str; 22] = [
    "one 1:1",
    "1:1 2:1",
    "nan 1:1",
    "-inf",
    "1e999 1:1",
    "1,2 1:1",
    "1 1",
    "1 1:",
    "1 :1",
    "1 x:1",
    "1 qid:3 1:1",
    "1 1.5:1",
    "1 -1:1",
    "1 1:x",
    "1 1:1:1",
    "1 1:NaN",
    "1 1:infinity",
    "1 1:1e39",
    "1 0:1",
    "1 2:1 2:1",
    "1 2:1 1:1",
    "1 4294967296:1",
];

#[test]
fn reads_all_that_is_allowed() {
    let set = small();
    assert_eq!((set.rows(), set.features(), set.nonzeros()), (3, 5, 5));
    assert_eq!(set.labels(), [-1.0, 1.0, 2.5]);
    assert_eq!(set.row(0), (&[0, 2, 3][..], &[0.5, -0.25, 1.0][..]));
    assert_eq!(set.row(1), (&[][..], &[][..]));
    assert_eq!(
        set.dense(&[2, 0, 2]),
        [0.0, 1e3, 0.0, 0.0, 0.5, 0.5, 0.0, -0.25, 1.0, 0.0, 0.0, 1e3, 0.0, 0.0, 0.5]
    );
    assert_eq!(parse(SMALL.as_bytes(), Some(7)).unwrap().features(), 7);
    // A zero is not stored, but shows that the feature exists.
    let zero = parse(&b"-0 1:1 3:0 4:-0e5"[..], None).unwrap();
    assert_eq!((zero.features(), zero.nonzeros()), (4, 1));
    assert!(zero.labels()[0].is_sign_positive());
    // Members of gzip follow each other, as `cat` makes them.
    let (first, second) = SMALL.split_at(70);
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    assert_eq!(parse(&members[..], None).unwrap(), set);
}

#[test]
fn every_truncation_of_a_gzip_file_is_refused() {
    let zipped = gzip(SMALL.as_bytes());
    for end in 0..zipped.len() {
        assert!(parse(&zipped[..end], None).is_err(), "accepted {end} of {} bytes", zipped.len());
    }
    let cut = parse(&zipped[..zipped.len() - 4], None).unwrap_err();
    assert!(matches!(cut, LibsvmFault::Gzip { .. }), "{cut}");
    let trailing = [&zipped[..], b"more"].concat();
    let trailing = parse(&trailing[..], None).unwrap_err();
    assert!(matches!(trailing, LibsvmFault::Gzip { .. }), "{trailing}");
}

#[test]
fn refuses_with_cause_and_cure() {
    let long = format!("1 2:{}", "0".repeat(2000));
    for (text, expected) in [
        ("", "no row, expected a line such as `-1 3:0.5 7:1`; fetch the file again"),
        ("# none\n\n", "no row, expected a line such as `-1 3:0.5 7:1`; fetch the file again"),
        (
            "1 2:1\n\nx 1:1",
            "line 3: label `x`, expected a finite number such as -1; check the line",
        ),
        ("1 5", "line 1: `5`, expected index:value such as 7:0.5; check the line"),
        (
            &long,
            "line 1: `2:00000000000000000000000000000000000000...`, expected index:value such as 7:0.5; \
             check the line",
        ),
        (
            "1 3:1e39",
            "line 1: value `1e39` of index 3, expected a number that is finite in single precision; \
             check the line or scale the data",
        ),
        ("1\n1 0:2", "line 2: index 0, expected 1 or more; add 1 to every index of the file"),
        (
            "1 7:1 5:1",
            "line 1: index 5 after index 7, expected strictly increasing indices; sort the entries of \
             the line and keep one per index",
        ),
        (
            "1 9:1\n1 10:1",
            "line 2: index 10, expected at most 9; check the line or declare more features",
        ),
        ("1 2:1\n\u{7f}ELF", "line 2: byte 0x7f, a libsvm file is text; give one, plain or gzip"),
    ] {
        assert_eq!(refusal(text), expected);
    }
    assert_eq!(
        parse(&b"1\n-1\n"[..], None).unwrap_err().to_string(),
        "2 rows without an entry, expected at least one feature; check the file"
    );
    assert_eq!(
        parse(&b"1 4294967296:1"[..], None).unwrap_err().to_string(),
        "line 1: index 4294967296, expected at most 4294967295; check the line or declare more features"
    );
    assert!(refusal("8".repeat(2000)).starts_with("line 1: label `88888"));
    assert!(refusal(b"\x89PNG\r\n\x1a\n").contains("line 1: label `\\x89PNG`"));
    assert!(refusal(gzip(&[0; 9])).contains("byte 0x00"));
}

#[test]
fn names_the_file() {
    let text = read(Path::new("no/such/file"), None).unwrap_err().to_string();
    assert!(text.starts_with("no/such/file: "), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.gz");
    fs::write(&path, gzip(SMALL.as_bytes())).unwrap();
    assert_eq!(read(&path, None).unwrap(), small());
    fs::write(&path, "1 1:1\n1 1:y\n").unwrap();
    let text = read(&path, None).unwrap_err().to_string();
    assert!(
        text.starts_with(&format!("{}: line 2: value `y` of index 1", path.display())),
        "{text}"
    );
    // A folder opens and cannot be read.
    let text = read(dir.path(), None).unwrap_err().to_string();
    assert!(text.starts_with(&dir.path().display().to_string()), "{text}");
}

#[test]
fn a_huge_index_is_read_and_refused_when_dense() {
    let set = parse(&b"1 4294967295:1\n2 1:1\n"[..], None).unwrap();
    assert_eq!((set.features(), set.nonzeros()), (u32::MAX as usize, 2));
    let rows = usize::MAX / 16;
    assert_eq!(
        set.check_room(rows).unwrap_err().to_string(),
        format!(
            "{rows} dense rows of 4294967295 features are beyond this machine's memory; take smaller \
             batches, or declare the number of features when reading, in case an index is wrong"
        )
    );
    assert!(small().check_room(3).is_ok());
}

#[test]
fn labels_become_classes() {
    let set = parse(&b"+1 1:1\n-1 1:1\n-1 1:2\n1 1:3"[..], None).unwrap();
    assert_eq!(set.distinct_labels(), [-1.0, 1.0]);
    let classified = set.clone().classify(&[-1.0, 1.0]).unwrap();
    assert_eq!(classified.classes(), [1, 0, 0, 1]);
    assert_eq!((classified.rows(), classified.labels()), (&set, &[-1.0, 1.0][..]));
    assert_eq!(set.clone().classify(&[1.0, 0.0, -1.0]).unwrap().classes(), [0, 2, 2, 0]);
    assert_eq!(
        set.classify(&[1.0, 2.0]).unwrap_err().to_string(),
        "row 1 (from 0) has label -1, expected one of [1.0, 2.0]; name every label of the file, or take \
         the file that belongs to these"
    );
    let zero = parse(&b"-0 1:1"[..], None).unwrap();
    assert_eq!(zero.classify(&[-0.0]).unwrap().classes(), [0]);
}

#[test]
fn unit_rows_have_norm_one() {
    let set = parse(&b"1 1:3 4:4\n1\n1 2:1e38 3:-1e38\n1 1:1e-45"[..], None).unwrap().unit_rows();
    assert_eq!(set.row(0).1, [0.6, 0.8]);
    assert!(set.row(1).1.is_empty());
    let half = std::f32::consts::FRAC_1_SQRT_2;
    assert_eq!(set.row(2).1, [half, -half]);
    assert_eq!(set.row(3).1, [1.0]);
}

/// The folder of real data, or a message that there is none.
pub(crate) fn data_dir(wanted: &str) -> Option<PathBuf> {
    let dir = env::var_os("BILEVEL_DATA_DIR").map(PathBuf::from);
    if dir.is_none() {
        eprintln!("skipped: set BILEVEL_DATA_DIR to a folder with {wanted}");
    }
    dir
}

fn timed(path: &Path, features: Option<usize>) -> Sparse {
    let begin = Instant::now();
    let set = read(path, features).unwrap();
    eprintln!("{}: {:.2} s", path.display(), begin.elapsed().as_secs_f64());
    set
}

#[test]
fn real_two_class_sets() {
    let Some(dir) = data_dir("ijcnn1.gz and a9a.gz in libsvm/") else {
        return;
    };
    let ijcnn1 = timed(&dir.join("libsvm/ijcnn1.gz"), None);
    // Counted once with an independent tool.
    assert_eq!((ijcnn1.rows(), ijcnn1.features(), ijcnn1.nonzeros()), (49_990, 22, 599_879));
    assert_eq!(ijcnn1.distinct_labels(), [-1.0, 1.0]);
    assert_eq!(ijcnn1.dense(&[0])[9..14], [0.0, -0.731_854, 0.173_431, 0.0, 0.000_27]);
    let classified = ijcnn1.classify(&[-1.0, 1.0]).unwrap();
    assert_eq!(classified.classes().iter().filter(|&&class| class == 1).count(), 4853);

    let a9a = timed(&dir.join("libsvm/a9a.gz"), None);
    assert_eq!((a9a.rows(), a9a.features()), (32_561, 123));
    let test = timed(&dir.join("libsvm/a9a.t.gz"), Some(123));
    assert_eq!((test.rows(), test.features()), (16_281, 123));
}

#[test]
fn every_real_set_is_read() {
    let Some(dir) = data_dir("libsvm files in libsvm/") else {
        return;
    };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir.join("libsvm")).unwrap() {
        let path = entry.unwrap().path();
        let set = read(&path, None).unwrap_or_else(|fault: DataError| panic!("{fault}"));
        assert_eq!(set.distinct_labels().len(), 2, "{}", path.display());
        names.insert(path);
    }
    assert!(!names.is_empty());
}

#[test]
fn real_newsgroups() {
    let Some(dir) = data_dir("train.counts.libsvm.gz and test.counts.libsvm.gz in 20newsgroups/")
    else {
        return;
    };
    let dir = dir.join("20newsgroups");
    let train = timed(&dir.join("train.counts.libsvm.gz"), None);
    // Counted once with an independent tool.
    assert_eq!((train.rows(), train.features(), train.nonzeros()), (11_314, 130_107, 1_787_565));
    let test = timed(&dir.join("test.counts.libsvm.gz"), Some(130_107));
    assert_eq!((test.rows(), test.features(), test.nonzeros()), (7532, 130_107, 1_107_956));
    let labels = train.distinct_labels();
    assert!(labels.iter().copied().eq((0..20).map(f64::from)));
    assert!(train.row(0).1.iter().all(|count| count.fract() == 0.0 && *count > 0.0));
    assert_eq!(train.labels().iter().filter(|&&label| label == 19.0).count(), 377);
    test.classify(&labels).unwrap();
    let unit = train.unit_rows();
    for row in 0..unit.rows() {
        let norm: f64 = unit.row(row).1.iter().map(|&v| f64::from(v).powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-5, "row {row} has squared norm {norm}");
    }
}
