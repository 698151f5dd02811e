//! A user's tables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bilevel_data::table::{Scaling, Table};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

fn written(name: &str, text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn read(path: &Path, label: Option<&str>) -> Table {
    Table::read(&[path], label).unwrap().0
}

/// All rows, scaled by all rows.
fn scaled(table: &Table) -> Vec<f32> {
    let all: Vec<usize> = (0..table.labels.len()).collect();
    Scaling::of(table, &all).inputs(table, &all)
}

#[test]
fn a_csv_becomes_numbers() {
    let text = "size, colour, kind\n1,red,a\n3,blue,b\n,red,a\n1,blue,b\n3,red,a\n2,blue,b\n";
    let (_folder, path) = written("t.csv", text);
    let (table, counts) = Table::read(&[&path], Some("kind")).unwrap();
    assert_eq!(counts, [6]);
    assert_eq!(table.features, ["size", "colour = blue", "colour = red"]);
    let inputs = scaled(&table);
    assert_eq!(
        (table.labels, table.classes),
        (vec![0, 1, 0, 1, 0, 1], vec!["a".into(), "b".into()])
    );
    assert_eq!(table.text[0], ["size", "colour", "kind"]);
    // The mean where a number is missing; columns of variance 1, and rows of mean squared norm 1.
    assert_eq!(inputs[6], 0.0);
    let squares: f32 = inputs.iter().map(|v| v * v).sum();
    assert!((squares / 6.0 - 1.0).abs() < 1e-5);
    // By default the label is the last column, and the same rows in a file without a header are the same.
    let (_other, bare) = written("t.csv", text.split_once('\n').unwrap().1);
    let (bare, _) = Table::read(&[&bare], None).unwrap();
    assert_eq!(scaled(&bare), inputs);
    assert_eq!(bare.features[0], "1");
}

/// A table in Parquet, with what pandas would store of its index: a size, missing once, a colour, a kind.
pub(crate) fn parquet() -> Vec<u8> {
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    let message = "message table { optional double size; required binary colour (utf8); \
                   required int64 kind; required int64 __index_level_0__; }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let packed = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, packed.into()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let sizes = [1.0, 3.0, 1.0, 3.5, 2.0];
    column.typed::<DoubleType>().write_batch(&sizes, Some(&[1, 1, 0, 1, 1, 1]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let colours = ["red", "blue", "red", "blue", "red", "blue"].map(ByteArray::from);
    column.typed::<ByteArrayType>().write_batch(&colours, None, None).unwrap();
    column.close().unwrap();
    for numbers in [[0, 1, 0, 1, 0, 1], [9, 8, 7, 6, 5, 4]] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.into_inner().unwrap()
}

#[test]
fn a_parquet_file_is_the_csv_of_its_columns() {
    let (_folder, path) = written("t.parquet", parquet());
    let text =
        "size,colour,kind\n1.0,red,0\n3.0,blue,1\n,red,0\n1.0,blue,1\n3.5,red,0\n2.0,blue,1\n";
    let (_other, same) = written("t.csv", text);
    for label in [None, Some("kind")] {
        assert_eq!(scaled(&read(&path, label)), scaled(&read(&same, label)));
    }
    let (table, csv) = (read(&path, Some("colour")), read(&same, Some("colour")));
    assert_eq!((&table.features, &table.classes), (&csv.features, &csv.classes));
    assert_eq!((&table.text, &table.labels), (&csv.text, &csv.labels));
    let absent = Table::read(&[&path], Some("shape")).unwrap_err().to_string();
    assert!(absent.contains("no column `shape` in size, colour, kind"), "{absent}");
}

#[test]
fn files_of_pandas_are_read() {
    let seeds = Path::new("../../fuzz/seeds/parquet");
    let header = ["size", "colour", "flag", "kind"].map(String::from);
    for name in ["pandas.parquet", "gzip.parquet"] {
        let table = read(&seeds.join(name), None);
        assert_eq!(table.text[0], header, "{name}");
        assert_eq!(table.text[3], ["", "red", "True", "0"].map(String::from), "{name}");
        assert_eq!(table.features.len(), 5, "{name}: {:?}", table.features);
    }
}

/// Stamps of every unit, days and times of day, each missing somewhere, and an index that is called `point`.
#[test]
fn a_parquet_file_of_pandas_is_the_csv_of_the_same_frame() {
    let seeds = Path::new("../../fuzz/seeds");
    let parquet = seeds.join("parquet/times.parquet");
    let [of_parquet, of_csv] = [&parquet, &seeds.join("csv/times.csv")].map(|path| {
        let table = read(path, Some("kind"));
        (table.text, table.features, table.labels, table.left_out)
    });
    assert_eq!(of_parquet, of_csv);
    assert_eq!(of_parquet.1[..2], ["size", "day = "]);
    // An index is a column if it is the label.
    let error = Table::read(&[&parquet], Some("point")).unwrap_err().to_string();
    assert!(error.contains("4 classes in 4 rows"), "{error}");
}

#[test]
fn times_of_a_parquet_file_are_words() {
    for (kind, says) in [
        (
            "int64 when (TIMESTAMP(NANOS,false))",
            ["1970-01-01 00:00:00.000000000", "1970-01-01 00:00:00.000000001"],
        ),
        (
            "int64 when (TIMESTAMP_MICROS)",
            ["1970-01-01 00:00:00.000000+00:00", "1970-01-01 00:00:00.000001+00:00"],
        ),
        (
            "int64 when (TIMESTAMP_MILLIS)",
            ["1970-01-01 00:00:00.000+00:00", "1970-01-01 00:00:00.001+00:00"],
        ),
        ("int64 when (TIME(NANOS,true))", ["00:00:00", "00:00:00.000000001"]),
        ("int64 when (TIME_MICROS)", ["00:00:00", "00:00:00.000001"]),
    ] {
        let schema = format!("message table {{ required {kind}; required int64 kind; }}");
        let (_folder, path) = written("t.parquet", of_integers(&schema, &[0, 1, 0, 1]));
        let table = read(&path, None);
        assert_eq!(table.features, says.map(|says| format!("when = {says}")), "{kind}");
        let (_csv, csv) =
            written("t.csv", format!("when,kind\n{0},0\n{1},1\n{0},0\n{1},1\n", says[0], says[1]));
        assert_eq!(read(&csv, None).inputs, table.inputs, "{kind}");
    }
}

/// A file of columns of 64 bits, each with these numbers.
fn of_integers(schema: &str, numbers: &[i64]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        let typed = column.typed::<parquet::data_type::Int64Type>();
        typed.write_batch(numbers, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.into_inner().unwrap()
}

#[test]
fn nested_columns_of_a_parquet_file_are_refused_by_name() {
    let schema =
        "message table { required group point { required int64 x; } required int64 kind; }";
    let (_folder, path) = written("t.parquet", of_integers(schema, &[0, 1, 0, 1]));
    let error = Table::read(&[&path], None).unwrap_err().to_string();
    assert!(error.contains("column `point` holds lists or structures"), "{error}");
}

/// An `.npy` file of version 1.
pub(crate) fn npy(kind: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

/// A zip archive, its members deflated or stored.
pub(crate) fn zip(members: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    use std::io::Write;
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, data) in members {
        let method = match packed {
            true => rawzip::CompressionMethod::DEFLATE,
            false => rawzip::CompressionMethod::STORE,
        };
        let file = archive.new_file(name).compression_method(method);
        let (mut entry, config) = file.start().unwrap();
        let descriptor = if packed {
            let encoder =
                flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
            let mut writer = config.wrap(encoder);
            writer.write_all(data).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(data).unwrap();
            writer.finish().unwrap().1
        };
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

fn bytes<const N: usize, T>(numbers: &[T], of: fn(&T) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(of).collect()
}

/// Four rows of two features, as every format has them.
const FEATURES: [f32; 8] = [1.0, 0.0, 0.0, 2.0, 3.0, 1.0, 0.0, 1.0];
const LABELS: [i64; 4] = [-1, 1, -1, 1];

#[test]
fn the_same_rows_in_other_files_are_the_same() {
    let read = |path: &Path, label: Option<&str>| Table::read(&[path], label).unwrap().0;
    let same = |table: &Table, kind: &str| {
        assert_eq!(table.inputs, FEATURES, "{kind}");
        assert_eq!((&*table.labels, table.classes.join(" ")), (&[0, 1, 0, 1][..], "-1 1".into()));
    };
    let (_csv, csv) = written("t.csv", "1,0,-1\n0,2,1\n3,1,-1\n0,1,1\n");
    let (_libsvm, libsvm) = written("t.libsvm", "-1 1:1\n1 2:2\n-1 1:3 2:1\n1 2:1\n");
    same(&read(&csv, None), "csv");
    same(&read(&libsvm, None), "libsvm");
    assert_eq!(scaled(&read(&csv, None)), scaled(&read(&libsvm, None)));

    let inputs = npy("<f4", false, "(4, 2)", &bytes(&FEATURES, |v| v.to_le_bytes()));
    let labels = npy("<i8", false, "(4,)", &bytes(&LABELS, |v| v.to_le_bytes()));
    let (_labels, labels_file) = written("y.npy", &labels);
    let apart = Some(labels_file.to_str().unwrap());
    let (_inputs, inputs_file) = written("x.npy", &inputs);
    same(&read(&inputs_file, apart), "npy beside npy");
    // Columns first and the most significant byte first, the label in the middle.
    let columns = [1.0, 0.0, 3.0, 0.0, -1.0, 1.0, -1.0, 1.0, 0.0, 2.0, 1.0, 1.0_f64];
    let columns = npy(">f8", true, "(4, 3)", &bytes(&columns, |v| v.to_be_bytes()));
    let (_columns, columns) = written("t.npy", &columns);
    same(&read(&columns, Some("2")), "npy");
    for packed in [false, true] {
        let members = [("x.npy", inputs.clone()), ("other.npy", vec![]), ("y.npy", labels.clone())];
        let (_npz, npz) = written("t.npz", zip(&members, packed));
        same(&read(&npz, None), "npz");
        // Labels in a separate file take precedence.
        let (_csv, words) = written("y.csv", "b\nb\na\na\n");
        let table = read(&npz, words.to_str());
        assert_eq!((table.labels, table.classes.join(" ")), (vec![1, 1, 0, 0], "a b".into()));
    }
}

#[test]
fn damaged_arrays_are_refused_with_a_cure() {
    let numbers = bytes(&FEATURES, |v| v.to_le_bytes());
    let of = |kind, shape| npy(kind, false, shape, &numbers);
    let zip = |name: &str| zip(&[(name, of("<f4", "(4, 2)"))], true);
    let doubles =
        |shape, values: &[f64]| npy("<f8", false, shape, &bytes(values, |v| v.to_le_bytes()));
    let cut = zip("x.npy")[..60].to_vec();
    let bomb = self::zip(&[("x.npy", vec![0; 80 << 20])], true);
    for (name, file, says) in [
        ("t.npy", b"PK".to_vec(), "not a NumPy file"),
        ("t.npy", of("<f4", "(4, 2)")[..20].to_vec(), "ends within its header"),
        ("t.npy", of("<f4", "(5, 2)"), "32 bytes of numbers, expected 40"),
        ("t.npy", of("|O", "(4, 2)"), "without objects or strings"),
        ("t.npy", of("<U4", "(2, 1)"), "numbers of the kind U4"),
        ("t.npy", of("<f4", "(18446744073709551615, 2)"), "too many numbers"),
        ("t.npy", of("<f4", "(8,)"), "without labels; name the file"),
        (
            "t.npy",
            npy("<i8", false, "(2, 1)", &bytes(&[1, (1_i64 << 53) + 1], |v| v.to_le_bytes())),
            "the integer 9007199254740993, which becomes 9007199254740992",
        ),
        (
            "t.npy",
            npy("<u8", false, "(1, 1)", &u64::MAX.to_le_bytes()),
            "the integer 18446744073709551615",
        ),
        (
            "t.npy",
            doubles("(2, 2)", &[1.0, 0.0, 1e39, 1.0]),
            "in row 2, column `1`, expected at most",
        ),
        ("t.npy", doubles("(2, 2)", &[1.0, 0.0, 2.0, f64::NAN]), "row 2 without a label: `NaN`"),
        ("t.npz", bomb, "and more; check where it comes from"),
        ("t.npz", cut, "save numbers by numpy.save"),
        ("t.npz", zip("x.npy"), "no array `labels`, `y` among x; save by numpy.savez"),
    ] {
        let (_folder, path) = written(name, file);
        let error = Table::read(&[&path], None).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    let (_inputs, inputs) = written("x.npy", of("<f4", "(4, 2)"));
    let (_labels, labels) = written("y.csv", "1\n2\n1\n");
    let error = Table::read(&[&inputs], labels.to_str()).unwrap_err().to_string();
    assert!(error.contains("3 labels, for 4 rows; give one label per row"), "{error}");
}

#[test]
fn class_folders_are_rows_of_pixels_with_their_files() {
    let folder = tempfile::tempdir().unwrap();
    for (class, shade) in [("cat", 0), ("dog", 255)] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        for image in 0..3 {
            let path = folder.path().join(format!("{class}/{image}.png"));
            std::fs::write(path, bilevel_data::gray::png(&[shade; 20], 4)).unwrap();
        }
    }
    let (table, counts) = Table::read(&[folder.path()], None).unwrap();
    assert_eq!((counts, table.shape), (vec![6], Some([3, 32, 32])));
    assert_eq!(
        (&*table.labels, table.classes.join(" ")),
        (&[0, 0, 0, 1, 1, 1][..], "cat dog".into())
    );
    assert!(table.files[4].ends_with("dog/1.png"), "{}", table.files[4]);
    assert!(table.inputs[..3 * 3072].iter().all(|v| *v == 0.0));
    assert!(table.inputs[3 * 3072..].iter().all(|v| *v == 1.0));
    let empty = tempfile::tempdir().unwrap();
    let error = Table::read(&[empty.path()], None).unwrap_err().to_string();
    assert!(error.contains("class folders"), "{error}");
}

#[test]
fn rows_are_scaled_by_those_that_are_named() {
    let (_file, path) = written("t.csv", "1,5,a\n3,5,b\n100,6,a\n,7,b\n");
    let (table, _) = Table::read(&[&path], None).unwrap();
    let scaling = Scaling::of(&table, &[0, 1]);
    // Of the first two rows alone: the second feature does not vary there.
    assert_eq!((&*scaling.mean, scaling.scale[1]), (&[2.0, 5.0][..], f64::INFINITY));
    assert_eq!(scaling.inputs(&table, &[0, 1, 2, 3]), [-1.0, 0.0, 1.0, 0.0, 98.0, 0.0, 0.0, 0.0]);
    // The original numbers are kept.
    assert_eq!(table.inputs[4], 100.0);
}

#[test]
fn columns_of_too_many_words_are_named() {
    let row = |at: usize| format!("{at},n{at},{}\n", ["a", "b"][at % 2]);
    let rows: String = (0..65).map(row).collect();
    let (_file, path) = written("t.csv", format!("size,name,kind\n{rows}"));
    let (table, _) = Table::read(&[&path], Some("kind")).unwrap();
    assert_eq!((table.features, table.left_out), (vec!["size".into()], vec![("name".into(), 65)]));
    let rows: String = (0..65).map(|at| format!("n{at},{}\n", ["a", "b"][at % 2])).collect();
    let (_file, path) = written("t.csv", format!("name,kind\n{rows}x,a\n"));
    let error = Table::read(&[&path], Some("kind")).unwrap_err().to_string();
    assert!(error.contains("column `name` has 66 words; turn them into numbers"), "{error}");
}

#[test]
fn a_header_without_a_number_below_it_is_known_by_the_label() {
    let text = "colour,shape,kind\nred,round,a\nblue,flat,b\nred,flat,a\nblue,round,b\n";
    let (_folder, path) = written("t.csv", text);
    for label in [Some("kind"), Some("shape")] {
        let (table, counts) = Table::read(&[&path], label).unwrap();
        assert_eq!((counts, table.classes.len()), (vec![4], 2));
    }
    let (_usual, path) = written("t.csv", text.replace("kind", "Class"));
    assert_eq!(Table::read(&[&path], None).unwrap().1, [4]);
}

#[test]
fn files_of_other_widths_are_not_one_table() {
    let (_a, narrow) = written("t.csv", "1,0,-1\n0,2,1\n3,1,-1\n0,1,1\n");
    let (_b, wide) = written("t.csv", "1,0,5,-1\n0,2,5,1\n3,1,5,-1\n0,1,5,1\n");
    for files in [[&*narrow, &*wide], [&*wide, &*narrow]] {
        let error = Table::read(&files, None).unwrap_err().to_string();
        assert!(error.contains("other columns"), "{error}");
    }
    // Rows are counted in their own file.
    let (_c, other) = written("other.csv", "1,0,-1\n0,2,null\n");
    let error = Table::read(&[&narrow, &other], None).unwrap_err().to_string();
    assert!(error.contains("other.csv: row 2 without a label: `null`"), "{error}");
}

#[test]
fn refuses_with_a_cure() {
    for (text, label, says) in [
        ("a,b\n1,2\n3,4\n", Some("c"), "no column `c` in a, b; name one of these"),
        ("1,2\n3,4,5\n", None, "correct the file"),
        ("a,b\n1,0.5\n2,0.25\n", None, "2 classes in 2 rows; name the column"),
        ("a,b\n1,x\n2,x\n", None, "fewer than two classes"),
        ("a,b\n1,x\n2,\n", None, "row 2 without a label: ``; leave such rows out"),
        ("a,b\n1,NA\n2,x\n", None, "row 1 without a label: `NA`"),
        ("a,b\n1,x\n,x\n2,?\n", None, "row 3 without a label: `?`"),
        ("a,b\n1,x\n1e39,y\n", Some("b"), "1e39 in row 2, column `a`, expected at most 3.4e38"),
        ("a,b\n-inf,x\n1,y\n", Some("b"), "-inf in row 1, column `a`"),
        ("1\n2\n2\n1\n", None, "no features or no rows"),
        ("", None, "no column"),
    ] {
        let (_folder, path) = written("t.csv", text);
        let error = Table::read(&[&path], label).unwrap_err().to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
}

/// The columns of a matrix have units, whatever the file; the pixels of images share theirs.
#[test]
fn rows_are_scaled_alike_in_every_format() {
    let sizes = [100.0_f32, 300.0, 100.0, 500.0, 200.0, 300.0];
    let inputs: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    let labels: Vec<u8> = (0..6_i64).flat_map(|at| (at % 2).to_le_bytes()).collect();
    let (_tensors, tensors) =
        written("t.safetensors", crate::regressions::safetensors(&inputs, &labels));
    let rows: String = (0..6).map(|at| format!("{},{}\n", sizes[at], at % 2)).collect();
    let (_csv, csv) = written("t.csv", format!("size,kind\n{rows}"));
    let rows: String = (0..6).map(|at| format!("{} 1:{}\n", at % 2, sizes[at])).collect();
    let (_svm, svm) = written("t.txt", rows);
    let expected = scaled(&read(&csv, None));
    assert!(expected.iter().any(|v| *v < 0.0), "centred");
    for path in [&tensors, &svm] {
        assert_eq!(scaled(&read(path, None)), expected, "{}", path.display());
    }
}

#[test]
fn images_in_one_idx_file_have_labels_in_another() {
    let pixels: Vec<u8> = (0..4 * 6).map(|at| 10 * at as u8).collect();
    let images = [&[0, 0, 8, 3][..], &[0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 3], &pixels].concat();
    let (_images, images) = written("any-name", images);
    let (_labels, labels) =
        written("labels", [&[0, 0, 8, 1][..], &[0, 0, 0, 4], &[7, 9, 7, 9]].concat());
    let table = read(&images, labels.to_str());
    assert_eq!(table.shape, Some([1, 2, 3]));
    assert_eq!((table.labels, table.classes), (vec![0, 1, 0, 1], vec!["7".into(), "9".into()]));
    assert_eq!(table.inputs[23], 230.0 / 255.0);
    assert!(!table.units);
    let alone = Table::read(&[&images], None).unwrap_err().to_string();
    assert!(alone.contains("images without labels; name the file"), "{alone}");
}
