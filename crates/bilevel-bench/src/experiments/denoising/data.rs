//! Images with and without noise.

use std::path::Path;

use bilevel_data::gray::{GrayImage, read_folder};
use bilevel_data::{Purpose, stream};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::error::BenchError;
use crate::settings::refuse;

/// Side of a generated image, and the numbers of training and test images.
const SIDE: usize = 96;
const GENERATED: (usize, usize) = (24, 6);
/// The sets of a folder.
const TRAIN: &str = "train400";
const TESTS: [&str; 2] = ["bsd68", "set12"];

/// Images in units of the noise's standard deviation.
#[derive(Clone)]
pub struct Pair {
    pub clean: GrayImage,
    pub noisy: GrayImage,
}

/// Clean training images, and test sets under their names.
pub struct Data {
    pub train: Vec<GrayImage>,
    pub tests: Vec<(&'static str, Vec<GrayImage>)>,
}

impl Data {
    /// The sets of a folder, with at most `most` images per test set; without a folder, generated ones.
    pub fn read(folder: Option<&Path>, most: Option<usize>, seed: u64) -> Result<Self, BenchError> {
        let (train, mut tests) = match folder {
            Some(folder) => {
                let read = |name: &'static str| Ok((name, read_folder(&folder.join(name))?));
                let tests: Result<Vec<_>, BenchError> = TESTS.into_iter().map(read).collect();
                (read(TRAIN)?.1, tests?)
            }
            None => {
                let rng = &mut stream(seed, Purpose::Generated);
                let train = (0..GENERATED.0).map(|at| generated(at, rng)).collect();
                let test = (0..GENERATED.1).map(|at| generated(at, rng)).collect();
                (train, vec![("generated", test)])
            }
        };
        for (_, images) in &mut tests {
            images.truncate(most.unwrap_or(usize::MAX));
        }
        Ok(Self { train, tests })
    }

    /// The smallest side of a training image.
    pub fn least_side(&self) -> usize {
        self.train.iter().map(|image| image.height.min(image.width)).min().unwrap_or(0)
    }

    /// `count` parts of `side` x `side` pixels, at random places of random training images.
    pub fn crops(
        &self,
        count: usize,
        side: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<GrayImage>, BenchError> {
        let least = self.least_side();
        if side > least {
            let expected = format!("at most {least}, the smallest side of a training image");
            return Err(refuse("--crop", side, &expected, "take smaller crops"));
        }
        let mut crops = Vec::new();
        while crops.len() < count {
            let image = self.train.choose(rng).expect("a set that was read has an image");
            let mut at = |of: usize| rng.random_range(0..=of - side);
            crops.push(image.part((at(image.height), at(image.width)), [side, side]));
        }
        Ok(crops)
    }
}

/// An image with pixels in `[0, 1]`, and with Gaussian noise of standard deviation `deviation`, both divided by it.
pub fn with_noise(image: &GrayImage, deviation: f64, rng: &mut ChaCha8Rng) -> Pair {
    let clean = scaled(image, 1.0 / deviation);
    let mut noisy = clean.clone();
    for pixel in &mut noisy.pixels {
        let drawn: f64 = rng.sample(StandardNormal);
        *pixel += drawn as f32;
    }
    Pair { clean, noisy }
}

/// Every pixel times a factor.
pub fn scaled(image: &GrayImage, factor: f64) -> GrayImage {
    let pixels = image.pixels.iter().map(|pixel| (f64::from(*pixel) * factor) as f32).collect();
    GrayImage { pixels, ..*image }
}

/// An image that is smooth except for edges: overlapping discs and half-planes, each shaded linearly; every third with
/// waves of a texture within its parts.
fn generated(at: usize, rng: &mut ChaCha8Rng) -> GrayImage {
    let mut number = |from: f32, to: f32| rng.random_range(from..to);
    let mut parts = Vec::new();
    for _ in 0..12 {
        let centre = [number(0.0, 1.0), number(0.0, 1.0)];
        let (size, angle) = (number(0.08, 0.4), number(0.0, std::f32::consts::TAU));
        let straight = number(0.0, 1.0) < 0.4;
        let (level, slope) = (number(0.1, 0.9), [number(-0.4, 0.4), number(-0.4, 0.4)]);
        let wave = [number(20.0, 90.0), number(-60.0, 60.0)];
        let height = if at % 3 == 2 { number(0.02, 0.1) } else { 0.0 };
        parts.push((centre, size, angle, straight, level, slope, wave, height));
    }
    GrayImage::from_fn([SIDE, SIDE], |row, column| {
        let [y, x] = [row, column].map(|at| at as f32 / SIDE as f32);
        let mut value = 0.5;
        for (centre, size, angle, straight, level, slope, wave, height) in &parts {
            let [dy, dx] = [y - centre[0], x - centre[1]];
            let inside = match straight {
                true => (dy * angle.sin() + dx * angle.cos()).abs() < size / 3.0,
                false => dy.hypot(dx) < *size,
            };
            if inside {
                let texture = height * (wave[0] * dy + wave[1] * dx).sin();
                value = level + slope[0] * dy + slope[1] * dx + texture;
            }
        }
        value.clamp(0.0, 1.0)
    })
}
