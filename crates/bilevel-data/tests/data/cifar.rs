use std::fs;
use std::path::Path;

use bilevel_data::cifar::{MOST, Version, parse, read_dir};
use bilevel_data::idx;
use bilevel_data::noise::human;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::idx::gzip;
use crate::libsvm::data_dir;

const BIT_FLIPS: usize = 10_000;
const PIXELS: usize = 3072;

/// A file with these labels (coarse and fine in CIFAR-100), the pixels of record i counting up from i.
fn encode(version: Version, labels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for (i, &label) in labels.iter().enumerate() {
        if version == Version::Hundred {
            file.push(label / 5);
        }
        file.push(label);
        file.extend((0..PIXELS).map(|pixel| (i + pixel) as u8));
    }
    file
}

fn refusal(file: &[u8], version: Version) -> String {
    parse(file, version).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_written_is_read(
        labels in prop::collection::vec(0_u8..100, 1..6),
        hundred: bool,
        zipped: bool,
    ) {
        let version = if hundred { Version::Hundred } else { Version::Ten };
        let labels: Vec<u8> = labels.iter().map(|label| label % version.classes() as u8).collect();
        let file = encode(version, &labels);
        let file = if zipped { gzip(&file) } else { file };
        let records = parse(&file[..], version).unwrap();
        prop_assert!(records.labels.iter().zip(&labels).all(|(&a, &b)| a == u32::from(b)));
        prop_assert_eq!(records.labels.len(), labels.len());
        prop_assert_eq!(records.pixels.len(), labels.len() * PIXELS);
        for (i, image) in records.pixels.chunks(PIXELS).enumerate() {
            prop_assert!(image.iter().enumerate().all(|(pixel, &byte)| byte == (i + pixel) as u8));
        }
    }

    #[test]
    fn any_bytes_are_records_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..7000)) {
        for (version, size) in [(Version::Ten, PIXELS + 1), (Version::Hundred, PIXELS + 2)] {
            match parse(&bytes[..], version) {
                Ok(records) => {
                    prop_assert_eq!(bytes.len(), records.labels.len() * size);
                    prop_assert!(records.labels.iter().all(|&l| (l as usize) < version.classes()));
                }
                Err(fault) => prop_assert!(fault.to_string().contains("; fetch ")),
            }
        }
    }
}

#[test]
fn every_truncation_is_refused_but_at_the_end_of_a_record() {
    let plain = encode(Version::Ten, &[3, 9]);
    for end in 0..plain.len() {
        assert_eq!(parse(&plain[..end], Version::Ten).is_ok(), end == PIXELS + 1, "at {end}");
    }
    let zipped = gzip(&plain);
    for end in 0..zipped.len() {
        assert!(parse(&zipped[..end], Version::Ten).is_err(), "accepted {end} of {}", zipped.len());
    }
}

#[test]
fn bit_flips_are_refused_or_harmless() {
    let plain = encode(Version::Hundred, &[99, 0]);
    let zipped = gzip(&plain);
    let sound = parse(&plain[..], Version::Hundred).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (file, is_plain) in [(&plain, true), (&zipped, false)].repeat(BIT_FLIPS) {
        let (at, bit) = (rng.random_range(0..file.len()), rng.random_range(0..8));
        let mut damaged = file.clone();
        damaged[at] ^= 1 << bit;
        let Ok(found) = parse(&damaged[..], Version::Hundred) else {
            continue;
        };
        // A plain file has no checksum; everything else must be read unchanged.
        assert_eq!((found.labels.len(), found.pixels.len()), (2, 2 * PIXELS));
        assert!(is_plain || found == sound, "accepted byte {at}, bit {bit}");
    }
}

#[test]
fn refuses_with_cause_and_cure() {
    let file = encode(Version::Ten, &[3, 9]);
    assert_eq!(
        refusal(&file[..4000], Version::Ten),
        "ends after 927 bytes of record 1 (from 0), a record of CIFAR-10 has 3073; fetch the binary version again"
    );
    assert_eq!(
        refusal(&[], Version::Hundred),
        "is empty, expected records of CIFAR-100; fetch the file again"
    );
    let mut wrong = file.clone();
    wrong[PIXELS + 1] = 10;
    assert_eq!(
        refusal(&wrong, Version::Ten),
        "label 10 of record 1 (from 0), expected 0 to 9 in CIFAR-10; fetch the binary version again"
    );
    let mut coarse = encode(Version::Hundred, &[99]);
    coarse[0] = 20;
    assert!(
        refusal(&coarse, Version::Hundred)
            .starts_with("label 20 of record 0 (from 0), expected 0 to 19")
    );
    assert!(refusal(&gzip(&file)[..60], Version::Ten).starts_with("damaged gzip data"));
}

#[test]
fn a_file_without_end_is_given_up() {
    let zeros = std::io::BufReader::new(std::io::repeat(0));
    let text = parse(zeros, Version::Ten).unwrap_err().to_string();
    assert_eq!(text, format!("more than {MOST} records, expected at most 50000; split the file"));
}

#[test]
fn reads_a_folder_of_some_of_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let refusal = |dir: &Path| {
        read_dir(dir).unwrap_err().to_string().replace(&dir.display().to_string(), "DIR")
    };
    let cure = "a folder of CIFAR-10 has data_batch_1.bin (to 5) and test_batch.bin, one of CIFAR-100 train.bin \
                and test.bin, each plain or with .gz added: fetch the binary version, or name another folder";
    assert_eq!(refusal(dir.path()), format!("DIR lacks data_batch_1.bin; {cure}"));
    put("data_batch_4.bin.gz", &gzip(&encode(Version::Ten, &[7])));
    put("data_batch_2.bin", &encode(Version::Ten, &[0, 1]));
    assert_eq!(refusal(dir.path()), format!("DIR lacks test_batch.bin; {cure}"));
    put("test_batch.bin", &encode(Version::Ten, &[9, 8, 7]));
    let read = read_dir(dir.path()).unwrap();
    assert_eq!(
        (read.train.name(), read.train.shape(), read.train.classes()),
        ("CIFAR-10", [3, 32, 32], 10)
    );
    assert_eq!((read.train.labels(), read.test.labels()), (&[0, 1, 7][..], &[9, 8, 7][..]));
    assert_eq!(read.origin, [10_000, 10_001, 30_000]);
    assert_eq!(read.train.image(1)[..3], [1, 2, 3]);
    put("data_batch_5.bin", &encode(Version::Ten, &[200]));
    assert!(refusal(dir.path()).starts_with("DIR/data_batch_5.bin: label 200 of record 0"));

    let hundred = tempfile::tempdir().unwrap();
    fs::write(hundred.path().join("train.bin"), encode(Version::Hundred, &[99, 5])).unwrap();
    fs::write(hundred.path().join("test.bin.gz"), gzip(&encode(Version::Hundred, &[4]))).unwrap();
    let read = read_dir(hundred.path()).unwrap();
    assert_eq!((read.train.name(), read.train.classes()), ("CIFAR-100", 100));
    assert_eq!((read.train.labels(), read.test.labels()), (&[99, 5][..], &[4][..]));
    assert_eq!(read.origin, [0, 1]);
    assert!(refusal(&dir.path().join("nowhere")).ends_with("; check the path and its permissions"));
}

#[test]
fn real_cifar_10() {
    let Some(dir) =
        data_dir("CIFAR-10's binary files in cifar-10/ and CIFAR-10N as IDX in cifar-10n/")
    else {
        return;
    };
    let read = read_dir(&dir.join("cifar-10")).unwrap();
    assert_eq!((read.train.len() % 10_000, read.test.len()), (0, 10_000));
    assert_eq!(read.test.class_counts(), [1000; 10]);
    let labels =
        |file: &str| idx::read(&dir.join("cifar-10n").join(file)).unwrap().into_labels().unwrap();
    let of = |file| human(&labels(file), &read.origin, read.train.labels(), 10).unwrap();
    let wrong = |file| {
        let noisy = of(file);
        noisy.wrong.iter().filter(|&&wrong| wrong).count() as f64 / noisy.wrong.len() as f64
    };
    // That the correct labels agree one for one shows that the images are in the order of the file.
    assert_eq!(wrong("clean_label-idx1-ubyte.gz"), 0.0);
    // Of all 50,000 the source says 9.03 % and 40.21 %.
    assert!((wrong("aggre_label-idx1-ubyte.gz") - 0.0903).abs() < 0.01);
    assert!((wrong("worse_label-idx1-ubyte.gz") - 0.4021).abs() < 0.01);
}
