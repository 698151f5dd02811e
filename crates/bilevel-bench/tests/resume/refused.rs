//! What cannot be resumed.

use super::*;

#[test]
fn what_is_no_run_ends_with_code_6_and_a_cure() {
    let out = tempdir().unwrap();
    let resume = |folder: &Path| {
        let ran = bilevel().stderr(Stdio::piped()).arg("resume").arg(folder).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let (code, text) = resume(&out.path().join("none"));
    assert!(code == Some(6) && text.contains("folder of a run"), "{code:?} {text}");
    let (code, text) = resume(out.path());
    assert!(code == Some(6) && text.contains("settings.toml"), "{code:?} {text}");
    assert!(HYPER_CLEANING.run(out.path()).status().unwrap().success());
    let made = HYPER_CLEANING.folder(out.path()).join("settings.toml");
    let whole = fs::read_to_string(made).unwrap();
    let before = whole.replace("network =", "model =");
    for (name, settings, checkpoint, says) in [
        ("none", "experiment = \"none\"", "", "settings.toml"),
        ("of an earlier version", &before, "", "model is given, expected"),
        ("damaged", &whole, "x", "checkpoint.bin"),
    ] {
        let folder = out.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("settings.toml"), settings).unwrap();
        fs::write(folder.join("checkpoint.bin"), checkpoint).unwrap();
        let (code, text) = resume(&folder);
        assert!(code == Some(6) && text.contains(says) && text.contains("anew"), "{code:?} {text}");
    }
}

#[test]
fn a_run_is_not_resumed_with_other_settings_or_other_data() {
    let out = tempdir().unwrap();
    let data = out.path().join("data");
    fs::create_dir(&data).unwrap();
    write_images(&data);
    let mut run = bilevel();
    run.args(["run", "hyper-cleaning", "--method", "rad", "--train", "10", "--validation", "10"]);
    run.args(["--device", "flex", "--upper-steps", "100000", "--save-every", "0", "--data-dir"]);
    let mut process = run.arg(&data).arg("--out").arg(out.path()).spawn().unwrap();
    let folder = out.path().join("hyper-cleaning-0");
    while !folder.join("checkpoint.bin").exists() {
        assert!(process.try_wait().unwrap().is_none(), "it ended before a checkpoint");
        sleep(Duration::from_millis(10));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let refused = |says: &str| {
        let ran = bilevel().stderr(Stdio::piped()).arg("resume").arg(&folder).output().unwrap();
        let text = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.code() == Some(6) && text.contains(says), "{says}: {text}");
    };
    let settings = fs::read_to_string(folder.join("settings.toml")).unwrap();
    let edited = settings.replace("upper-steps = 100000", "upper-steps = 3");
    assert_ne!(settings, edited);
    fs::write(folder.join("settings.toml"), edited).unwrap();
    refused("the run began with settings");
    // What a wrong value does where it is read, it does here.
    let wrong = settings.replace("lower-steps = 100", "lower-steps = 0");
    fs::write(folder.join("settings.toml"), wrong).unwrap();
    refused("a count of at least 1");
    fs::write(folder.join("settings.toml"), &settings).unwrap();

    let images = data.join("train-images-idx3-ubyte");
    let mut bytes = fs::read(&images).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&images, bytes).unwrap();
    refused("the run began with data");
}
