//! Memory: numbers in a file that require more memory than there is, and arrays larger than those of a graphics
//! adapter.

use super::*;

#[test]
fn one_huge_label_asked_for_51_gigabytes() {
    let out = tempdir().unwrap();
    let mut labels = vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
    let data = folder(60, 2, &labels);
    quick(data.path(), out.path(), &[]).assert().success();
    labels[9] = i32::MAX;
    // A class of six of sixty, like any other.
    let data = folder(60, 2, &labels);
    quick(data.path(), out.path(), &[])
        .assert()
        .success()
        .stderr(contains("labels are 0, 1, 2147483647; they are taken for classes 0 to 2"));
}

/// 2100 documents of three words, the last of which has a huge index.
fn newsgroups() -> TempDir {
    let dir = tempdir().unwrap();
    for (part, rows) in [("train", 2100), ("test", 50)] {
        let row = |at: usize| match at % 2 {
            0 => "1 1:2 7:1 4294967295:1\n",
            _ => "2 2:1 7:2\n",
        };
        let text: String = (0..rows).map(row).collect();
        fs::write(dir.path().join(format!("{part}.counts.libsvm")), text).unwrap();
    }
    dir
}

#[test]
fn one_huge_index_asked_for_34_gigabytes() {
    let (data, out) = (newsgroups(), tempdir().unwrap());
    let mut hpo = bilevel(&["run", "hpo", "--problem", "20newsgroups", "--preset", "smoke"]);
    hpo.args(["--method", "soba", "--device", "flex", "--data-dir"]).arg(data.path());
    hpo.arg("--out").arg(out.path()).assert().success();
}

/// A file of zeros that takes no space on the disk.
fn holes(path: &Path, start: &[u8], length: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(start).unwrap();
    file.set_len(length).unwrap();
}

#[test]
fn files_of_holes_were_read_whole() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("data");
    let hypergrad = || {
        let mut command = bilevel(&["hypergrad", "--device", "flex", "--data"]);
        command.arg(&path).assert().code(3)
    };
    let samples: u64 = 6_800_000;
    let bytes = samples * 784 * 4;
    let tensor = |name: &str, at: u64| {
        let (from, to) = (at * bytes, (at + 1) * bytes);
        format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{samples},784],\"data_offsets\":[{from},{to}]}}"
        )
    };
    let header = format!("{{{},{}}}", tensor("train_inputs", 0), tensor("validation_inputs", 1));
    let start = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    holes(&path, &start, start.len() as u64 + 2 * bytes);
    hypergrad().stderr(contains("has 6800000 samples, expected 1 to 1000000"));
    // The same of the header.
    let length: u64 = 40 << 30;
    holes(&path, &(length - 8).to_le_bytes(), length);
    hypergrad().stderr(contains("a header of 42949672952 bytes, expected at most 100000000"));
}

// Arrays that are larger than those of a graphics adapter.

/// The samples of 784 numbers that the adapter holds in one array, and one more; none where there is no adapter, or one
/// for which this would take long.
fn too_many() -> Option<u64> {
    if let Err(error) = BackendName::Wgpu.resolve() {
        assert!(std::env::var_os("BILEVEL_REQUIRE_GPU").is_none(), "{error}");
        eprintln!("skipped: {error}");
        return None;
    }
    let samples = adapters()[0].largest_array / (784 * 4) + 1;
    if samples > 100_000 {
        eprintln!("skipped: the adapter holds {samples} samples");
        return None;
    }
    Some(samples)
}

#[test]
fn what_an_adapter_cannot_hold_gave_garbage_and_code_0() {
    let Some(samples) = too_many() else { return };
    let (out, data) = (tempdir().unwrap(), folder(samples as u32 + 100, 28, &[0, 1, 2]));
    let samples = samples.to_string();
    let refused = |mut command: Command| {
        let says = contains("holds at most").and(contains("fewer samples"));
        command.args(["--device", "wgpu"]).assert().code(4).stderr(says);
        assert!(is_empty(out.path()));
    };
    let on_data = |args: &[&str]| {
        let mut command = bilevel(args);
        command.args(["--train", &samples, "--data-dir"]).arg(data.path());
        command.arg("--out").arg(out.path());
        command
    };
    refused(on_data(&["run", "hyper-cleaning", "--validation", "9"]));
    refused(on_data(&["run", "poisoning", "--validation", "9", "--poisons", "3"]));
    refused(on_data(&["run", "importance", "--validation", "9", "--batch", &samples]));
    refused(bilevel(&["hypergrad", "--samples", &samples]));
    // Those that fit work, and a large test set is evaluated in parts.
    let mut fits = bilevel(&["run", "hyper-cleaning", "--train", "30", "--validation", "30"]);
    fits.args(["--upper-steps", "1", "--lower-steps", "2", "--method", "rad"]);
    fits.args(["--step-size", "0.001"]);
    fits.args(["--device", "wgpu", "--data-dir"]).arg(data.path()).arg("--out").arg(out.path());
    fits.assert().success();
}
