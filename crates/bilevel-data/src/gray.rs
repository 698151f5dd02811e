//! Grey images of any size, read from folders of PNG files.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use blake3::Hasher;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use crate::{DataError, Digest, files, png};

/// A grey image.
#[derive(Clone, Debug, PartialEq)]
pub struct GrayImage {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Row-major, in `[0, 1]` as read.
    pub pixels: Vec<f32>,
}

impl GrayImage {
    /// The image whose pixel at (row, column) is `value`.
    pub fn from_fn(
        [height, width]: [usize; 2],
        mut value: impl FnMut(usize, usize) -> f32,
    ) -> Self {
        let pixels = (0..height * width).map(|at| value(at / width, at % width)).collect();
        Self { height, width, pixels }
    }

    /// The pixel at (row, column).
    ///
    /// # Panics
    /// Outside of the image.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.pixels[row * self.width + column]
    }

    /// The part of size `[height, width]` whose first pixel is at (row, column).
    ///
    /// # Panics
    /// If it is not within the image.
    pub fn part(&self, (row, column): (usize, usize), size: [usize; 2]) -> Self {
        Self::from_fn(size, |i, j| self.at(row + i, column + j))
    }

    /// The image with a border of `width` pixels, mirrored at the outermost pixels; narrower than the image.
    pub fn mirrored(&self, width: usize) -> Self {
        let inside = |at: usize, n: usize| {
            let at = at as isize - width as isize;
            let n = n as isize;
            (if at < 0 { -at } else { at.min(2 * (n - 1) - at) }).clamp(0, n - 1) as usize
        };
        Self::from_fn([self.height + 2 * width, self.width + 2 * width], |row, column| {
            self.at(inside(row, self.height), inside(column, self.width))
        })
    }

    /// The image without a border of `width` pixels.
    pub fn without_border(&self, width: usize) -> Self {
        self.part((width, width), [self.height - 2 * width, self.width - 2 * width])
    }
}

impl Digest for GrayImage {
    fn feed(&self, to: &mut Hasher) {
        for side in [self.height, self.width] {
            to.update(&(side as u64).to_le_bytes());
        }
        self.pixels.iter().for_each(|pixel| {
            to.update(&pixel.to_le_bytes());
        });
    }
}

/// All `.png` files of a folder in the order of their names. Colours become the mean of red, green and blue;
/// transparency is ignored.
///
/// # Errors
/// If the folder or a file cannot be read, or there are no files.
pub fn read_folder(folder: &Path) -> Result<Vec<GrayImage>, DataError> {
    let unread = |cause| DataError::Read { path: folder.into(), cause };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(DataError::Absent {
            dir: folder.into(),
            name: "an image, *.png".into(),
            folders: Vec::new(),
        });
    }
    paths.iter().map(|path| read(path)).collect()
}

/// Reads a PNG file.
///
/// # Errors
/// If it is not a regular file, not a PNG, or larger than 256 MiB, packed or not.
pub fn read(path: &Path) -> Result<GrayImage, DataError> {
    let damaged = |what: String| DataError::Png { path: path.into(), what };
    let mut file = Vec::new();
    let unread = |cause| DataError::Read { path: path.into(), cause };
    files::open(path)?.take(png::MOST).read_to_end(&mut file).map_err(unread)?;
    let image = png::decode(&file).map_err(damaged)?;
    let [height, width] = [image.height() as usize, image.width() as usize];
    let grey = |pixel: &[u8]| {
        let sum: u32 = pixel[..3].iter().map(|&byte| u32::from(byte)).sum();
        sum as f32 / (255.0 * 3.0)
    };
    let pixels = image.as_raw().chunks_exact(4).map(grey).collect();
    Ok(GrayImage { height, width, pixels })
}

/// A PNG file of `width` grey bytes per row.
pub fn png(bytes: &[u8], width: usize) -> Vec<u8> {
    let height = bytes.len() / width.max(1);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(data);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(kind);
        file.extend(data);
        file.extend(crc.sum().to_be_bytes());
    };
    let sides = [width as u32, height as u32].map(u32::to_be_bytes).concat();
    // 8 bits, grey, and only the standard compression, filter and order.
    chunk(b"IHDR", &[&sides[..], &[8, 0, 0, 0, 0]].concat());
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    for row in bytes.chunks(width.max(1)) {
        // Differences to the left compress better than bytes.
        let left = std::iter::once(0).chain(row.iter().copied());
        let differences = row.iter().zip(left).map(|(byte, left)| byte.wrapping_sub(left));
        let filtered: Vec<u8> = std::iter::once(1).chain(differences).collect();
        packed.write_all(&filtered).expect("memory takes all bytes");
    }
    chunk(b"IDAT", &packed.finish().expect("memory takes all bytes"));
    chunk(b"IEND", &[]);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..12 * 7).map(|at| (at * 37 % 256) as u8).collect();
        fs::write(folder.path().join("b.PNG"), png(&bytes, 12)).unwrap();
        fs::write(folder.path().join("a.png"), png(&[0, 255], 2)).unwrap();
        let images = read_folder(folder.path()).unwrap();
        assert_eq!(images[0], GrayImage { height: 1, width: 2, pixels: vec![0.0, 1.0] });
        let again: Vec<u8> = images[1].pixels.iter().map(|p| (255.0 * p).round() as u8).collect();
        assert_eq!((images[1].height, images[1].width, again), (7, 12, bytes));
    }

    #[test]
    fn damaged_files_and_empty_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let bytes = png(&[0, 255], 2);
        for end in [0, 7, 20, bytes.len() / 2] {
            fs::write(&path, &bytes[..end]).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("a.png"), "{end}");
        }
        fs::remove_file(&path).unwrap();
        assert!(read_folder(folder.path()).unwrap_err().to_string().contains("*.png"));
    }

    #[test]
    fn a_mirrored_border_is_taken_off_again() {
        let image = GrayImage::from_fn([3, 4], |row, column| (10 * row + column) as f32);
        let wide = image.mirrored(2);
        assert_eq!((wide.at(0, 2), wide.at(2, 0), wide.at(6, 7)), (20.0, 2.0, 1.0));
        assert_eq!(wide.without_border(2), image);
    }
}
