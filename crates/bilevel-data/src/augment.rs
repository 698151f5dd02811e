//! From an image's bytes to numbers: random crops and reflections, then normalisation to mean 0 and standard deviation 1.

use rand::Rng;

use super::Images;

/// Random crops and reflections of images of bytes.
///
/// Source: K. He et al., "Deep residual learning for image recognition", 2016, Section 4.2: 4 pixels on each
/// side, a crop of the image's own size, a reflection of every other image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// Black pixels added on each side, before a random crop of the original size.
    pub pad: usize,
    /// Whether left and right are exchanged with probability one half.
    pub reflect: bool,
}

impl Augmentation {
    /// Images unchanged.
    pub const NONE: Self = Self { pad: 0, reflect: false };
    /// The usual augmentation of CIFAR.
    pub const CIFAR: Self = Self { pad: 4, reflect: true };

    /// Appends a random variant of an image of `shape` (channels, height, width) to `out`.
    pub fn apply(self, image: &[u8], shape: [usize; 3], rng: &mut impl Rng, out: &mut Vec<u8>) {
        let [_, height, width] = shape;
        let top = rng.random_range(0..=2 * self.pad);
        let left = rng.random_range(0..=2 * self.pad);
        let reflected = self.reflect && rng.random();
        // The columns of a row of the image inside the crop, and the black ones before them.
        let from = left.saturating_sub(self.pad).min(width);
        let to = (width + left).saturating_sub(self.pad).min(width);
        let black = self.pad.saturating_sub(left).min(width);
        for channel in image.chunks_exact(height * width) {
            for row in 0..height {
                let begin = out.len();
                if let Some(row) = (row + top).checked_sub(self.pad).filter(|&row| row < height) {
                    out.resize(begin + black, 0);
                    out.extend_from_slice(&channel[row * width..][from..to]);
                }
                out.resize(begin + width, 0);
                if reflected {
                    out[begin..].reverse();
                }
            }
        }
    }
}

/// Maps bytes to numbers: `(b / 255 - mean) / deviation`, with the mean and standard deviation of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    /// The number of each byte, for one channel after the other.
    table: Vec<[f32; 256]>,
}

impl Normalisation {
    /// That of mean 0 and standard deviation 1 over all pixels of each channel of `set`; a constant channel becomes
    /// zeros.
    pub fn of(set: &Images) -> Self {
        let [channels, height, width] = set.shape();
        let mut counts = vec![[0_u64; 256]; channels];
        for (at, channel) in set.images().chunks_exact(height * width).enumerate() {
            let counts = &mut counts[at % channels];
            channel.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        }
        let table = counts.iter().map(|counts| {
            let mean_of = |f: &dyn Fn(f64) -> f64| {
                let sum: f64 =
                    counts.iter().zip(0..).map(|(&n, b)| n as f64 * f(f64::from(b))).sum();
                sum / counts.iter().sum::<u64>() as f64
            };
            let mean = mean_of(&|b| b);
            let variance = mean_of(&|b| (b - mean) * (b - mean));
            let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            std::array::from_fn(|b| ((b as f64 - mean) / deviation) as f32)
        });
        Self { table: table.collect() }
    }

    /// Appends the numbers of an image with `pixels` pixels per channel to `out`.
    pub fn apply(&self, image: &[u8], pixels: usize, out: &mut Vec<f32>) {
        for (channel, table) in image.chunks_exact(pixels).zip(self.table.iter().cycle()) {
            out.extend(channel.iter().map(|&byte| table[usize::from(byte)]));
        }
    }
}
