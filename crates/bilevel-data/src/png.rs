//! The pixels of a PNG file.

use std::io::{self, Read};

use flate2::read::ZlibDecoder;
use image::RgbaImage;

/// The maximal number of bytes of a file, and of its image unpacked, at four bytes per pixel.
pub(crate) const MOST: u64 = 1 << 28;

/// How a file begins.
pub(crate) const START: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Red, green, blue and alpha, one byte each.
///
/// # Errors
/// If the file is damaged, or the image too large.
pub(crate) fn decode(file: &[u8]) -> Result<RgbaImage, String> {
    let undecoded = |error: minipng::Error| error.to_string();
    let header = minipng::decode_png_header(file).map_err(undecoded)?;
    let (width, height, size) = (header.width(), header.height(), header.required_bytes_rgba8bpc());
    if size as u64 > MOST {
        return Err(format!(
            "{width} x {height} pixels, which take {size} bytes of {MOST} at most"
        ));
    }
    unpacks(file)?;
    let mut bytes = vec![0; size];
    let mut image = minipng::decode_png(file, &mut bytes).map_err(undecoded)?;
    image.convert_to_rgba8bpc().map_err(undecoded)?;
    let pixels = image.pixels().to_vec();
    RgbaImage::from_raw(width, height, pixels).ok_or_else(|| "too few pixels".to_owned())
}

/// Whether the packed data is valid. `minipng` panics at a table that gives one code to two bytes.
fn unpacks(file: &[u8]) -> Result<(), String> {
    let mut packed = Vec::new();
    let mut rest = file.get(START.len()..).unwrap_or_default();
    // Length, kind, data, checksum.
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let (length, kind) = head.split_at(4);
        let length = length.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)).min(tail.len());
        if kind == b"IDAT" {
            packed.extend(&tail[..length]);
        }
        rest = tail.get(length + 4..).unwrap_or_default();
    }
    io::copy(&mut ZlibDecoder::new(&packed[..]).take(3 * MOST), &mut io::sink())
        .map(drop)
        .map_err(|error| format!("its packed data is damaged: {error}"))
}
