//! A user's tables and folders of images: `clean` and `tune`.

use super::*;

/// A table of two classes, separated by the first feature; the last five labels are wrong.
fn table(folder: &Path) -> std::path::PathBuf {
    let row = |at: usize| {
        let (class, wrong) = (at % 2, at >= 115);
        let kind = if (class == 0) != wrong { "even" } else { "odd" };
        format!("{},{},{kind}\n", class as f64 + 0.1 * (at % 7) as f64, at % 5)
    };
    let file = folder.join("table.csv");
    let rows: String = (0..120).map(row).collect();
    fs::write(&file, format!("size,noise,kind\n{rows}")).unwrap();
    file
}

#[test]
fn a_table_of_ones_own_is_cleaned_and_tuned() {
    let out = tempdir().unwrap();
    let data = table(out.path());
    let run = |command: &str, more: &[&str]| {
        let mut run = bilevel();
        run.arg(command).arg(&data).args(["--label", "kind", "--device", "flex", "--out"]);
        run.arg(out.path()).args(more).assert()
    };
    run("clean", &["--trusted", "0.2"]).success().stdout(contains("suspects"));
    let folder = out.path().join("clean-0");
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    for method in summary["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        let suspects = lines(out.path(), &format!("clean-0/suspects-{name}.csv"));
        let other = |row: &&String| {
            let cells: Vec<&str> = row.split(',').collect();
            cells[1] != cells[4]
        };
        let other = suspects.iter().skip(1).filter(other).count();
        assert_eq!(method["figures"]["suspects"].as_f64(), Some(other as f64), "{name}");
        assert!(method["figures"]["known errors"].as_f64().unwrap() > 0.0);
    }
    let suspects = fs::read_to_string(folder.join("suspects-rad.csv")).unwrap();
    let rows = suspects.lines().skip(1).filter(|row| !row.ends_with("true"));
    let first = |row: &str| row.split(',').next().unwrap().parse::<usize>().unwrap();
    let mut worst: Vec<usize> = rows.map(first).take(3).collect();
    worst.retain(|row| *row > 115);
    assert_eq!(worst.len(), 3, "{suspects}");
    // The picture begins with the rows of the list.
    let picture = fs::read_to_string(folder.join("suspects-rad.svg")).unwrap();
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    let rows = suspects.lines().skip(1).map(|row| row.split(',').next().unwrap());
    let mut rest = &*picture;
    for row in rows.take(20) {
        let text = format!(">{row}</text>");
        let at = rest.find(&text).unwrap_or_else(|| panic!("{row} in its place: {picture}"));
        rest = &rest[at + text.len()..];
    }
    assert!(picture.contains(">suggested<") && page.contains("suspects-rad.svg"));
    let cleaned = fs::read_to_string(folder.join("cleaned-rad.csv")).unwrap();
    assert!(cleaned.starts_with("size,noise,kind\n") && cleaned.lines().count() < 121);
    run("clean", &["--trusted", "1.5"]).code(2).stderr(contains("a share between 0 and 1"));
    run("clean", &["--trusted", "none.csv"]).code(3).stderr(contains("none.csv"));

    let quick = ["--calls", "900", "--lower-steps", "50", "--evaluations", "2"];
    run("tune", &quick).success().stdout(contains("test loss"));
    let model = fs::read(out.path().join("hpo-0/model-cg.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&model).unwrap();
    assert_eq!(model.tensor("layers.0.weight").unwrap().shape(), [2, 2]);
    assert_eq!(model.tensor("log_penalty").unwrap().shape(), [2]);
    // The features are centred by the training rows, not by all rows, whose mean this is.
    let mean = model.tensor("mean").unwrap().data()[..8].try_into().map(f64::from_le_bytes);
    assert!((mean.unwrap() - (0.5 + 0.1 * 2.975)).abs() > 1e-6, "{mean:?}");
}

/// Each kind of penalty is learned and searched for, and the saved model has the shapes of its classifier.
#[test]
fn penalties_are_those_of_features_classes_or_layers() {
    let out = tempdir().unwrap();
    let row = |at: usize| format!("{},{},{},{}\n", at % 3, at % 5, at % 7, ["a", "b"][at % 2]);
    let data = out.path().join("t.csv");
    fs::write(&data, format!("x,y,z,kind\n{}", (0..120).map(row).collect::<String>())).unwrap();
    for (penalties, count, layers) in
        [("feature", 3, &[[3, 2]][..]), ("class", 2, &[[3, 2]]), ("layer", 2, &[[3, 32], [32, 2]])]
    {
        let mut tune = bilevel();
        tune.arg("tune").arg(&data).args(["--penalties", penalties, "--method", "rad,grid,random"]);
        tune.args(["--calls", "900", "--lower-steps", "50", "--evaluations", "2"]);
        tune.args(["--device", "flex", "--json", "--out"]).arg(out.path().join(penalties));
        let done = tune.assert().success();
        let summary: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
        for method in summary["methods"].as_array().unwrap() {
            let calls = method["oracle_calls"].as_object().unwrap().values();
            let calls: u64 = calls.filter_map(serde_json::Value::as_u64).sum();
            assert!((600..=900).contains(&calls), "{penalties}: {method}");
            let name = method["name"].as_str().unwrap();
            let file = out.path().join(format!("{penalties}/hpo-0/model-{name}.safetensors"));
            let model = fs::read(file).unwrap();
            let model = safetensors::SafeTensors::deserialize(&model).unwrap();
            assert_eq!(model.tensor("log_penalty").unwrap().shape(), [count], "{penalties}");
            for (at, shape) in layers.iter().enumerate() {
                let weight = model.tensor(&format!("layers.{at}.weight")).unwrap();
                assert_eq!(weight.shape(), shape, "{penalties}");
            }
        }
    }
    let mut other = bilevel();
    other.args(["run", "hpo", "--problem", "ridge", "--penalties", "class", "--dry-run"]);
    other.assert().code(2).stderr(contains("--problem table"));
}

/// The lines of a file of a run.
fn lines(out: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(out.join(file)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Parquet's reader panics on an interval.
#[test]
fn a_type_that_no_reader_knows_is_an_error_and_no_panic() {
    use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType};
    let schema = "message table { required fixed_len_byte_array(12) gap (INTERVAL); }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let out = tempdir().unwrap();
    let path = out.path().join("t.parquet");
    let file = fs::File::create(&path).unwrap();
    let mut file =
        parquet::file::writer::SerializedFileWriter::new(file, schema.into(), Default::default())
            .unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let value = FixedLenByteArray::from(vec![0; 12]);
    column.typed::<FixedLenByteArrayType>().write_batch(&[value], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
    let mut clean = bilevel();
    clean.arg("clean").arg(&path).args(["--trusted", "0.5", "--out"]).arg(out.path());
    let says = contains("a value or type that cannot be read").and(contains("as CSV"));
    clean.assert().code(3).stderr(says.and(contains("panicked").not()));
}

#[test]
fn what_is_cleaned_is_the_data_and_as_it_was_read() {
    let out = tempdir().unwrap();
    let row = |at: usize| {
        let class = at % 2;
        format!("{} 1:{} 3:0.{}\n", 2 * class as i32 - 1, 10 * class + 100, at + 100)
    };
    let [data, trusted] = [(0..60), (60..90)].map(|rows| {
        let path = out.path().join(format!("{}.libsvm", rows.start));
        fs::write(&path, rows.map(row).collect::<String>()).unwrap();
        path
    });
    let mut clean = bilevel();
    clean.arg("clean").arg(&data).arg("--trusted").arg(&trusted).args(["--method", "noisy"]);
    clean.args(["--judge-steps", "100", "--device", "flex", "--out"]).arg(out.path());
    clean.assert().success();
    let cleaned = lines(out.path(), "clean-0/cleaned-noisy.csv");
    assert_eq!((cleaned.len(), &*cleaned[0]), (61, "1,2,3,label"));
    assert_eq!(cleaned[1..3], ["100,0,0.1,-1", "110,0,0.101,1"]);
}

#[test]
fn images_in_class_folders_and_labels_of_people_are_cleaned() {
    let out = tempdir().unwrap();
    let images = out.path().join("images");
    for (class, shade) in [("cat", 40), ("dog", 200)] {
        fs::create_dir_all(images.join(class)).unwrap();
        for image in 0..20 {
            let pixels = [shade + image; 16];
            let file = images.join(format!("{class}/{image:02}.png"));
            fs::write(file, bilevel_data::gray::png(&pixels, 4)).unwrap();
        }
    }
    let run = |more: &[&str]| {
        let mut run = bilevel();
        run.arg("clean").arg(&images).args(["--preset", "smoke", "--method", "noisy"]);
        run.args(["--device", "flex", "--out"]).arg(out.path()).args(more).assert()
    };
    run(&["--trusted", "0.5"]).success();
    let suspects = lines(out.path(), "clean-0/suspects-noisy.csv");
    assert!(suspects[0].ends_with(",file") && suspects[1].ends_with(".png"), "{suspects:?}");
    let sheet = lines(out.path(), "clean-0/suspects-noisy.svg").join("\n");
    let (_, file) = suspects[1].split_at(suspects[1].len() - "cat/00.png".len());
    assert!(
        sheet.contains(&format!(">{file}<"))
            && sheet.contains("given ")
            && sheet.contains("suggested ")
    );
    let cleaned = lines(out.path(), "clean-0/cleaned-noisy.csv");
    assert_eq!(cleaned[0], "file,label");
    assert!(cleaned[1..].iter().all(|row| row.contains("cat/") == row.ends_with(",cat")));

    // Human labels, three of them wrong, in separate files.
    let [given, right] = [3, 0].map(|wrong| {
        let label = |at: usize| if (at < 20) != (at < wrong) { "cat\n" } else { "dog\n" };
        let file = out.path().join(format!("{wrong}.csv"));
        fs::write(&file, (0..40).map(label).collect::<String>()).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let labels = ["--label", &given, "--right-labels", &right];
    let judged = run(&[&labels[..], &["--trusted", "0.4", "--judge-steps", "200"]].concat());
    judged.success().stdout(contains("average precision %").and(contains("100.00")));
    // All rows that are not trusted.
    assert_eq!(lines(out.path(), "clean-0-2/suspects-noisy.csv").len(), 25);
    run(&["--label", &given, "--trusted", &right]).code(3).stderr(contains("two kinds"));
    run(&["--label", "kind", "--trusted", "0.5"]).code(3).stderr(contains("kind"));
}

#[test]
fn a_folder_that_nothing_reads_is_refused_with_a_cure() {
    for (run, cure) in [
        (&["hpo"][..], "--problem ijcnn1 or 20newsgroups"),
        (&["hpo", "--problem", "table"], "--data, a file or a folder"),
        (&["gan"], "--data digits"),
        (&["actor-critic"], "leave it out"),
        (&["sinusoid"], "leave it out"),
        (&["clean"], "name it there"),
    ] {
        let mut command = bilevel();
        command.arg("run").args(run).args(["--data-dir", ".", "--dry-run"]);
        command.assert().code(2).stderr(contains("--data-dir").and(contains(cure)));
    }
}

#[test]
fn columns_of_too_many_words_are_named() {
    let out = tempdir().unwrap();
    let row = |at: usize| format!("name{at},{},{}\n", at % 7, ["a", "b"][at % 2]);
    let data = out.path().join("t.csv");
    let rows: String = (0..80).map(row).collect();
    fs::write(&data, format!("name,size,kind\n{rows}")).unwrap();
    let quick = ["--method", "grid", "--calls", "50", "--lower-steps", "5", "--device", "flex"];
    let mut tune = bilevel();
    tune.arg("tune").arg(&data).args(["--label", "kind"]).args(quick).arg("--out").arg(out.path());
    tune.assert().success().stderr(contains("column `name` is left out: 80 words"));
}
