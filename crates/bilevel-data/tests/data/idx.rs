use std::io::Write;
use std::path::Path;

use bilevel_data::idx::{Elements, Idx, IdxFault, parse, read};
use flate2::{Compression, write::GzEncoder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BIT_FLIPS: usize = 10_000;

pub(crate) fn encode(kind: u8, dims: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, dims.len() as u8];
    dims.iter().for_each(|size| file.extend(size.to_be_bytes()));
    file.extend(payload);
    file
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Three images of 4x5: a header of 16 bytes and 60 bytes of pixels.
fn small() -> (Vec<u8>, Vec<u8>) {
    let payload: Vec<u8> = (0..60_u8).map(|i| i.wrapping_mul(37)).collect();
    (encode(0x08, &[3, 4, 5], &payload), payload)
}

fn refusal(file: &[u8]) -> String {
    parse(file).unwrap_err().to_string()
}

#[test]
fn reads_both_types_plain_and_gzip() {
    let (file, payload) = small();
    let expected = Idx { dims: vec![3, 4, 5], elements: Elements::U8(payload.clone()) };
    assert_eq!(parse(&file[..]).unwrap(), expected);
    assert_eq!(parse(&gzip(&file)[..]).unwrap(), expected);
    assert_eq!(expected.into_images().unwrap(), (3, [4, 5], payload));

    let numbers = [0_i32, 963, i32::MAX];
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    let labels = parse(&encode(0x0c, &[3], &bytes)[..]).unwrap();
    assert_eq!(labels.elements, Elements::I32(numbers.to_vec()));
    assert_eq!(labels.into_labels().unwrap(), [0, 963, i32::MAX as u32]);
}

#[test]
fn reads_what_is_larger_than_one_room() {
    let payload: Vec<u8> = (0..300_007_u32).map(|i| (i % 251) as u8).collect();
    let file = encode(0x08, &[300_007], &payload);
    for file in [gzip(&file), file] {
        assert_eq!(parse(&file[..]).unwrap().elements, Elements::U8(payload.clone()));
    }
}

#[test]
fn every_truncation_is_refused() {
    let (plain, _) = small();
    for file in [gzip(&plain), plain] {
        for end in 0..file.len() {
            assert!(parse(&file[..end]).is_err(), "accepted {end} of {} bytes", file.len());
        }
    }
}

#[test]
fn bit_flips_are_refused_or_harmless() {
    let (plain, payload) = small();
    let zipped = gzip(&plain);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (file, is_plain) in [(&plain, true), (&zipped, false)].repeat(BIT_FLIPS) {
        let (at, bit) = (rng.random_range(0..file.len()), rng.random_range(0..8));
        let mut damaged = file.clone();
        damaged[at] ^= 1 << bit;
        let Ok(found) = parse(&damaged[..]) else {
            continue;
        };
        // A pixel of a plain file has no checksum; everything else must be read unchanged.
        let mut expected = payload.clone();
        if is_plain {
            assert!(at >= 16, "bit {bit} of byte {at} of the header went unnoticed");
            expected[at - 16] ^= 1 << bit;
        }
        assert_eq!(found, Idx { dims: vec![3, 4, 5], elements: Elements::U8(expected) });
    }
}

#[test]
fn refuses_with_cause_and_cure() {
    let (file, _) = small();
    let with = |at: usize, byte: u8| {
        let mut damaged = file.clone();
        damaged[at] = byte;
        damaged
    };
    let longer = [&file[..], &[0]].concat();
    let huge = encode(0x08, &[u32::MAX; 3], &[]);
    let claim = encode(0x08, &[1 << 20, 1 << 20], &[1, 2, 3]);
    for (damaged, text) in [
        (vec![], "ends after 0 bytes, inside the IDX header of 4; fetch the file again"),
        (
            file[..9].to_vec(),
            "ends after 9 bytes, inside the IDX header of 16; fetch the file again",
        ),
        (
            b"\x89PNG".to_vec(),
            "begins with [89, 50], an IDX file with [00, 00]; give an IDX file, plain or gzip",
        ),
        (
            with(2, 0x0d),
            "elements of type 0x0d, expected 0x08 (u8) or 0x0c (i32); convert the file",
        ),
        (with(3, 0), "no dimensions, expected at least 1; fetch the file again"),
        (
            file[..70].to_vec(),
            "dimensions [3, 4, 5] require 60 bytes after the header, found 54; fetch the file again",
        ),
        (
            longer.clone(),
            "dimensions [3, 4, 5] require 60 bytes after the header, found more; fetch the file again",
        ),
        (
            gzip(&longer),
            "dimensions [3, 4, 5] require 60 bytes after the header, found more; fetch the file again",
        ),
        (
            huge,
            "dimensions [4294967295, 4294967295, 4294967295] are beyond this machine's memory; \
             fetch the file again if it should be smaller, otherwise split it",
        ),
        (
            claim,
            "dimensions [1048576, 1048576] require 1099511627776 bytes after the header, found 3; \
             fetch the file again",
        ),
    ] {
        assert_eq!(refusal(&damaged), text);
    }
    let trailing = [&gzip(&file)[..], b"more"].concat();
    assert!(matches!(parse(&trailing[..]), Err(IdxFault::Gzip(_))), "bytes after the gzip data");
}

#[test]
fn refuses_files_of_the_wrong_kind() {
    let (file, _) = small();
    let images = parse(&file[..]).unwrap();
    assert_eq!(
        images.into_labels().unwrap_err().to_string(),
        "holds u8 in dimensions [3, 4, 5], expected labels: u8 or i32 in 1 dimension; \
         check which file has which name"
    );
    let labels = parse(&encode(0x0c, &[1], &(-3_i32).to_be_bytes())[..]).unwrap();
    assert_eq!(
        labels.clone().into_images().unwrap_err().to_string(),
        "holds i32 in dimensions [1], expected images: u8 in 3 dimensions (samples, height, width); \
         check which file has which name"
    );
    assert_eq!(
        labels.into_labels().unwrap_err().to_string(),
        "label -3 of sample 0, expected 0 or more; check the label file"
    );
    assert!(read(Path::new("no/such/file")).unwrap_err().to_string().starts_with("no/such/file: "));
}
