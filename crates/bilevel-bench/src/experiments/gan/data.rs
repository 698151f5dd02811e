//! Data, one draw at a time, and the evaluation of samples.

use bilevel_core::{Data, Objective, Sample};
use bilevel_data::loader::ImageBatch;
use bilevel_data::{Dataset, Purpose, stream};
use bilevel_models::{ClassifierConfig, ImageClassifier, ImageClassifierConfig, MlpConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::Draw;
use crate::error::BenchError;
use crate::experiments::images::{batches, train};

/// The ring.
const MODES: usize = 8;
const RADIUS: f64 = 2.0;
const DEVIATION: f64 = 0.02;
/// The certainty that a classifier needs for a good sample.
const SURE: f32 = 0.9;
/// Steps of Adam of that classifier, its learning rate, and the samples per batch.
const TRAINING: (usize, f64) = (600, 2e-3);
const BATCH: usize = 100;

/// The source of the data.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Eight Gaussians.
    Ring,
    /// Images, their pixels from -1 to 1.
    Images(Dataset),
}

impl Origin {
    /// Numbers per sample.
    pub fn features(&self) -> usize {
        match self {
            Self::Ring => 2,
            Self::Images(set) => set.features(),
        }
    }

    /// The number of modes.
    pub fn modes(&self) -> usize {
        match self {
            Self::Ring => MODES,
            Self::Images(set) => set.classes(),
        }
    }

    /// `n` samples, row-major.
    pub fn draw(&self, n: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        match self {
            Self::Ring => (0..n)
                .flat_map(|_| {
                    let angle = angle(rng.random_range(0..MODES));
                    [angle.cos(), angle.sin()].map(|part| {
                        let noise: f64 = rng.sample(StandardNormal);
                        (RADIUS * part + DEVIATION * noise) as f32
                    })
                })
                .collect(),
            Self::Images(set) => (0..n)
                .flat_map(|_| set.image(rng.random_range(0..set.len())))
                .map(|pixel| 2.0 * pixel - 1.0)
                .collect(),
        }
    }
}

fn angle(mode: usize) -> f64 {
    std::f64::consts::TAU * mode as f64 / MODES as f64
}

/// Numbers from the standard normal distribution.
pub fn noise(n: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..n).map(|_| rng.sample::<f64, _>(StandardNormal) as f32).collect()
}

/// `[rows, columns]`
pub fn matrix(numbers: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = numbers.len() / columns;
    Tensor::from_data(TensorData::new(numbers, [rows, columns]), device)
}

/// Endless data and noise: one draw for each handle of each level.
#[derive(Clone, Debug)]
pub struct Draws {
    pub origin: Origin,
    /// Samples per draw, and numbers per noise sample.
    pub batch: usize,
    pub noise: usize,
    pub seed: u64,
    pub device: Device,
}

impl Data<Draw> for Draws {
    fn batch(&self, level: Objective, Sample(number): Sample) -> Draw {
        let mut rng = stream(self.seed, Purpose::Draws);
        // Each draw has its own position in the stream, which is long enough for all.
        rng.set_word_pos((u128::from(number) * 2 + level as u128) << 28);
        let data = self.origin.draw(self.batch, &mut rng);
        let noise = noise(self.batch * self.noise, &mut rng);
        Draw {
            data: matrix(data, self.origin.features(), &self.device),
            noise: matrix(noise, self.noise, &self.device),
        }
    }
}

/// Determines the mode of a sample, if it is good.
#[expect(clippy::large_enum_variant, reason = "there is one of them a run")]
pub enum Judge {
    /// By the distance from centres.
    Ring,
    /// By a classifier.
    Classifier(ImageClassifier, [usize; 3]),
}

impl Judge {
    /// For images a classifier is trained.
    ///
    /// # Errors
    /// If its loss cannot be recorded.
    pub fn new(origin: &Origin, seed: u64, device: &Device) -> Result<Self, BenchError> {
        let Origin::Images(set) = origin else { return Ok(Self::Ring) };
        device.seed(seed);
        let widths = MlpConfig::new(vec![set.features(), 128, set.classes()]);
        let network = ImageClassifierConfig::Flat(ClassifierConfig::Mlp(widths)).init(device);
        let mut order: Vec<usize> = (0..set.len()).collect();
        order.shuffle(&mut stream(seed, Purpose::Split));
        let batches: Vec<ImageBatch> = batches(&set.select(&order)?, BATCH, device)?;
        let network = train(network, &batches, TRAINING, 0.0)?;
        Ok(Self::Classifier(network, set.shape()))
    }

    /// The mode of each good sample.
    pub fn modes(&self, samples: &[f32], device: &Device) -> Vec<Option<usize>> {
        match self {
            Self::Ring => samples
                .chunks(2)
                .map(|sample| {
                    let near = |mode: &usize| {
                        let centre = [angle(*mode).cos(), angle(*mode).sin()];
                        let away = [0, 1].map(|i| f64::from(sample[i]) - RADIUS * centre[i]);
                        away[0].hypot(away[1]) <= 3.0 * DEVIATION
                    };
                    (0..MODES).find(near)
                })
                .collect(),
            Self::Classifier(network, shape) => {
                let [channels, height, width] = *shape;
                let n = samples.len() / (channels * height * width);
                let pixels = samples.iter().map(|pixel| (pixel + 1.0) / 2.0).collect();
                let images = TensorData::new::<f32, _>(pixels, [n, channels, height, width]);
                let logits = network.forward(Tensor::from_data(images, device));
                let shares = activation::softmax(logits, 1).into_data();
                let shares: Vec<f32> = shares.iter::<f32>().collect();
                let sure = |shares: &[f32]| shares.iter().position(|share| *share >= SURE);
                shares.chunks(shares.len() / n).map(sure).collect()
            }
        }
    }
}

/// The maximum mean discrepancy between two sets of samples of `features` numbers,
/// `sqrt(mean k(a, a') + mean k(b, b') - 2 mean k(a, b))` over pairs of different samples, where
/// `k(a, b) = exp(-norm(a - b)^2 / (2 w^2))` and w is the median distance within `b`; 0 where chance makes it negative.
///
/// Source: A. Gretton et al., "A kernel two-sample test", 2012 (the unbiased estimate).
pub fn discrepancy(a: &[f32], b: &[f32], features: usize) -> f64 {
    let rows = |of: &'_ [f32]| -> Vec<Vec<f64>> {
        of.chunks(features).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect()
    };
    let (a, b) = (rows(a), rows(b));
    let square =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
    let within = |of: &[Vec<f64>]| -> Vec<f64> {
        let pairs = (0..of.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        pairs.map(|(i, j)| square(&of[i], &of[j])).collect()
    };
    let (of_a, mut of_b) = (within(&a), within(&b));
    let between: Vec<f64> = a.iter().flat_map(|a| b.iter().map(|b| square(a, b))).collect();
    let middle = of_b.len() / 2;
    let width = *of_b.select_nth_unstable_by(middle, f64::total_cmp).1;
    let mean = |squares: &[f64]| {
        squares.iter().map(|square| (-square / (2.0 * width)).exp()).sum::<f64>()
            / squares.len() as f64
    };
    let square = mean(&of_a) + mean(&of_b) - 2.0 * mean(&between);
    // Not `max`, which would turn NaN into a perfect score.
    if square < 0.0 { 0.0 } else { square.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_good_covers_all_modes_and_is_near_itself() {
        let device = Device::default();
        let rng = &mut stream(1, Purpose::Draws);
        let (a, b) = (Origin::Ring.draw(400, rng), Origin::Ring.draw(400, rng));
        let modes = Judge::Ring.modes(&a, &device);
        let good = modes.iter().flatten().count();
        // Of a Gaussian in the plane, 98.9 % lie within three deviations.
        assert!((385..=400).contains(&good), "{good}");
        assert!((0..MODES).all(|mode| modes.contains(&Some(mode))));
        let near = discrepancy(&a, &b, 2);
        let one: Vec<f32> = (0..400).flat_map(|_| [RADIUS as f32, 0.0]).collect();
        let far = discrepancy(&one, &b, 2);
        assert!(near < 0.1 && far > 0.5, "{near} {far}");
    }

    #[test]
    fn a_handle_names_one_draw() {
        let draws =
            Draws { origin: Origin::Ring, batch: 4, noise: 3, seed: 0, device: Device::default() };
        let numbers = |level, number| draws.batch(level, Sample(number)).data.into_data();
        assert_eq!(numbers(Objective::Upper, 5), numbers(Objective::Upper, 5));
        assert_ne!(numbers(Objective::Upper, 5), numbers(Objective::Lower, 5));
        assert_ne!(numbers(Objective::Upper, 5), numbers(Objective::Upper, 6));
    }
}
