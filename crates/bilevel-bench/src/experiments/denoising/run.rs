//! Training the prior, and evaluating it on test images.

use bilevel_core::{
    AutodiffOracle, Batches, Counted, Descent, FullBatch, LowerProblem, Nesterov, Samples, Start,
};
use bilevel_data::gray::GrayImage;
use bilevel_data::{Digest, Purpose, stream};
use bilevel_program::{Tolerances, Vector};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use super::data::{Data, Pair, scaled, with_noise};
use super::quality::{WINDOW, psnr, ssim};
use super::settings::Learn;
use super::{Correction, Denoising, Images, Prior, Reference, Settings, total_variation};
use crate::backend::{Array, flex_in_f64};
use crate::error::BenchError;
use crate::experiments::derivatives::derivatives;
use crate::experiments::posed::Posed;
use crate::experiments::{Auto, Checked, Experiment, Run, Trial};
use crate::report::pictures::{Row, captioned, pictures, png};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Chosen, Offered, refuse};

/// The weights that are tried for total variation, in units of the standard deviation of the noise, and the number of
/// batches on which they are tried.
const WEIGHTS: [f64; 9] = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.4];
const TRIED_ON: usize = 10;
/// Steps for its solution.
const STEPS: usize = 150;
/// Side of the drawn part of an image.
const SHOWN: usize = 160;
/// Filters per row of the picture.
const COLUMNS: usize = 12;

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    data: Data,
}

impl Experiment for Prepared {
    const NAME: &'static str = "denoising";
    const ABOUT: &'static str =
        "Learn the filters of a variational model and their weights, to denoise images";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/denoising.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let most = settings.test.map(|count| count.get());
        let data = Data::read(settings.common.data_dir.as_deref(), most, settings.common.seed)?;
        data.crops(0, settings.crop.get(), &mut stream(0, Purpose::Batches))?;
        let tests =
            data.tests.iter().flat_map(|(set, images)| images.iter().map(move |i| (set, i)));
        let smallest = tests.min_by_key(|(_, image)| image.height.min(image.width));
        if let Some((set, image)) = smallest.filter(|(_, i)| i.height.min(i.width) < WINDOW) {
            let found = format!("an image of {} by {} in {set}", image.height, image.width);
            let expected = format!("at least {WINDOW} by {WINDOW}, the window of SSIM");
            return Err(refuse("--data-dir", found, &expected, "leave small images out"));
        }
        Ok(Self { settings, data })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        let tests = self.data.tests.iter().flat_map(|(_, images)| images);
        self.data.train.iter().chain(tests).for_each(|image| image.feed(to));
    }

    fn arrays(&self) -> Vec<Array> {
        let filters = usize::from(self.settings.side).pow(2) - 1;
        let tests = self.data.tests.iter().flat_map(|(_, images)| images);
        let largest = tests.map(|image| image.pixels.len()).max().unwrap_or(0);
        let batch = self.settings.batch.get() * self.settings.crop.get().pow(2);
        vec![Array::new("the responses of the filters", [filters, largest.max(batch)])]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let (_, oracle) = Bench::new(self, device)?.prior()?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let way = (Start::Fixed, self.settings.common.seed);
        Auto::among::<Chosen<Reference>>(&oracle, (&x, &y), way, &self.settings.of_methods())
            .map(Some)
    }

    fn check(&self) -> Result<Option<Checked>, BenchError> {
        let device = flex_in_f64()?;
        let side = usize::from(self.settings.side);
        let mut rng = stream(self.settings.common.seed, Purpose::Batches);
        let crop = self.data.crops(1, 3 * side, &mut rng)?;
        let pair = with_noise(&crop[0], self.settings.deviation(), &mut rng);
        let prior = Prior::new(side, 1.0, self.settings.learn == Learn::Filters, &device);
        let both = (prior, Correction::none([1, 1, 3 * side, 3 * side], &device));
        let batch = |_, device: &_| Images {
            noisy: on_device(std::iter::once(&pair.noisy), device),
            clean: on_device(std::iter::once(&pair.clean), device),
        };
        let problem = problem(&self.settings);
        let seed = self.settings.common.seed;
        Ok(Some(derivatives(&problem, both, batch, seed, &Tolerances::F64)?))
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench::new(self, device)?;
        let methods = self.settings.method.iter();
        let reports: Vec<MethodReport> = methods
            .map(|method| run.method(&method.name(), |trial| bench.run(method, trial)))
            .collect::<Result<_, _>>()?;
        bench.draw(&reports, run)?;
        Ok(reports)
    }
}

/// State shared by all methods.
struct Bench<'a> {
    settings: &'a Settings,
    data: &'a Data,
    problem: Denoising,
    /// The noise is the same for every method.
    tests: Vec<(&'static str, Vec<Pair>)>,
    device: Device,
}

type DenoisingOracle = AutodiffOracle<Denoising, Batches<Images>>;

impl<'a> Bench<'a> {
    fn new(prepared: &'a Prepared, device: Device) -> Result<Self, BenchError> {
        let Prepared { settings, data } = prepared;
        let problem = problem(settings);
        let rng = &mut stream(settings.common.seed, Purpose::Noise);
        let mut noised = |images: &[GrayImage]| -> Vec<Pair> {
            images.iter().map(|image| with_noise(image, settings.deviation(), rng)).collect()
        };
        let tests = data.tests.iter().map(|(name, images)| (*name, noised(images))).collect();
        Ok(Self { settings, data, problem, tests, device })
    }

    fn run(&self, method: &Chosen<Reference>, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        match method {
            Chosen::Baseline(Reference::Noisy) => {
                trial.report.baseline = true;
                trial.report.status = "nothing was done".into();
                self.judge(trial, |noisy| Ok(noisy.clone()))
            }
            Chosen::Baseline(Reference::Tv) => {
                trial.report.baseline = true;
                let weight = trial.timed(|| self.best_weight())?;
                trial.report.status = format!("weight {weight} standard deviations");
                self.judge(trial, |noisy| Ok(total_variation::denoise(noisy, weight, STEPS)))
            }
            Chosen::Bilevel(method) => {
                let prior = self.learn(method, trial)?;
                self.draw_filters(&prior, trial)?;
                self.judge(trial, |noisy| self.denoise(&prior, noisy))
            }
        }
    }

    /// The prior at the start, and the problem.
    fn prior(&self) -> Result<(Prior, DenoisingOracle), BenchError> {
        let Settings { learn, side, weight, .. } = self.settings;
        let learned = *learn == Learn::Filters;
        let prior = Prior::new(usize::from(*side), weight.get(), learned, &self.device);
        let batches = self.batches()?;
        let y = Correction::none(batches[0].noisy.dims(), &self.device);
        let data = Batches::new(batches.clone(), batches)?;
        let oracle = AutodiffOracle::new(self.problem, &prior, &y, data)?;
        Ok((prior, oracle))
    }

    /// The prior that a method learns.
    fn learn(&self, method: &Catalogued, trial: &mut Trial<'_>) -> Result<Prior, BenchError> {
        let common = &self.settings.common;
        let (module, oracle) = self.prior()?;
        let counted = Counted::new(&oracle);
        let posed = Posed {
            oracle: &counted,
            module: &module,
            x: oracle.upper_start(),
            y: oracle.lower_start(),
            adam: AdamConfig::new(),
            start: Start::Fixed,
            seed: common.seed,
        };
        let mut solver = posed.solver(method, &self.settings.of_methods())?;
        let seed = (common.seed, self.device.clone());
        trial.drive(&mut *solver, self.settings.upper.upper_steps.get(), seed, |_, _| {
            StepRecord::default()
        })?;
        Ok(oracle.upper_module(solver.x()))
    }

    /// Crops of training images with noise, in batches.
    fn batches(&self) -> Result<Vec<Images>, BenchError> {
        let settings = self.settings;
        let rng = &mut stream(settings.common.seed, Purpose::Batches);
        let batch = |_| {
            let pairs = self.pairs(rng)?;
            Ok(Images {
                noisy: on_device(pairs.iter().map(|pair| &pair.noisy), &self.device),
                clean: on_device(pairs.iter().map(|pair| &pair.clean), &self.device),
            })
        };
        (0..settings.batches.get()).map(batch).collect()
    }

    /// The crops of one batch.
    fn pairs(&self, rng: &mut ChaCha8Rng) -> Result<Vec<Pair>, BenchError> {
        let Settings { batch, crop, .. } = self.settings;
        let crops = self.data.crops(batch.get(), crop.get(), rng)?;
        let deviation = self.settings.deviation();
        Ok(crops.iter().map(|crop| with_noise(crop, deviation, rng)).collect())
    }

    /// The image that a prior makes of a noisy one. A mirrored border is added temporarily, since filters depend on it.
    fn denoise(&self, prior: &Prior, noisy: &GrayImage) -> Result<GrayImage, BenchError> {
        let border = self.problem.border;
        let wide = noisy.mirrored(border);
        let image = on_device(std::iter::once(&wide), &self.device);
        let y = Correction::none(image.dims(), &self.device);
        let images = Images { noisy: image.clone(), clean: image.clone() };
        let data = FullBatch { upper: images.clone(), lower: images };
        let oracle = AutodiffOracle::new(self.problem, prior, &y, data)?;
        let (x, start): (Vector, Vector) = (oracle.upper_start(), oracle.lower_start());
        let steps = Nesterov::standard(self.settings.lower.step_size.get())?;
        let descent = Descent::new(steps, self.settings.test_steps.get())?;
        let end = descent.run(&LowerProblem::new(&oracle, &x, Samples::default()), &start)?;
        let denoised = image + oracle.lower_module(&end.state.y).added();
        let pixels: Vec<f32> = denoised.into_data().iter::<f32>().collect();
        Ok(GrayImage { pixels, ..wide }.without_border(border))
    }

    /// The weight of total variation with the best PSNR on crops of training images.
    fn best_weight(&self) -> Result<f64, BenchError> {
        let mut rng = stream(self.settings.common.seed, Purpose::Batches);
        let pairs: Vec<Pair> = (0..TRIED_ON.min(self.settings.batches.get()))
            .map(|_| self.pairs(&mut rng))
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        let quality = |weight: f64| -> f64 {
            let denoised = pairs.iter().map(|pair| {
                let u = total_variation::denoise(&pair.noisy, weight, STEPS);
                psnr(&self.visible(&u), &self.visible(&pair.clean))
            });
            denoised.sum()
        };
        let tried = WEIGHTS.map(|weight| (weight, quality(weight)));
        let best = tried.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        Ok(best.map_or(WEIGHTS[0], |best| best.0))
    }

    /// An image with pixels in `[0, 1]`, for output.
    fn visible(&self, image: &GrayImage) -> GrayImage {
        let mut image = scaled(image, self.settings.deviation());
        image.pixels.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
        image
    }

    /// The means of PSNR and SSIM over each test set. The first image of all is written as a file.
    fn judge(
        &self,
        trial: &mut Trial<'_>,
        denoise: impl Fn(&GrayImage) -> Result<GrayImage, BenchError>,
    ) -> Result<(), BenchError> {
        for (name, pairs) in &self.tests {
            let (mut of_psnr, mut of_ssim) = (0.0, 0.0);
            for (at, pair) in pairs.iter().enumerate() {
                let denoised = self.visible(&denoise(&pair.noisy)?);
                let clean = self.visible(&pair.clean);
                let found = psnr(&denoised, &clean);
                of_psnr += found / pairs.len() as f64;
                of_ssim += ssim(&denoised, &clean) / pairs.len() as f64;
                if at == 0 && *name == self.tests[0].0 {
                    let file = png(&denoised.pixels, [1, denoised.height, denoised.width]);
                    trial.folder().write_file(&first_image(&trial.report.name), &file)?;
                    trial.report.figures.insert(FIRST.into(), found);
                }
            }
            trial.report.figures.insert(format!("PSNR {name}"), of_psnr);
            trial.report.figures.insert(format!("SSIM {name}"), of_ssim);
        }
        Ok(())
    }

    fn draw_filters(&self, prior: &Prior, trial: &Trial<'_>) -> Result<(), BenchError> {
        let side = usize::from(self.settings.side);
        let numbers = |tensor: TensorData| tensor.iter::<f32>().collect::<Vec<f32>>();
        let (filters, weights) =
            (numbers(prior.filters().into_data()), numbers(prior.weights().into_data()));
        // The filters with the largest weights come first.
        let mut drawn: Vec<(f32, Vec<f32>)> = filters
            .chunks(side * side)
            .zip(weights)
            .map(|(filter, weight)| {
                let most = filter.iter().fold(f32::MIN_POSITIVE, |most, c| most.max(c.abs()));
                (weight, filter.iter().map(|c| 0.5 + 0.5 * c / most).collect())
            })
            .collect();
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        let names: Vec<String> =
            drawn.chunks(COLUMNS).map(|row| format!("from {:.3}", row[0].0)).collect();
        let rows = names.iter().zip(drawn.chunks(COLUMNS)).map(|(name, filters)| Row {
            name,
            images: filters.iter().map(|(_, filter)| &filter[..]).collect(),
        });
        let svg = pictures(&rows.collect::<Vec<_>>(), [1, side, side]);
        let name = format!("filters-{}.svg", trial.report.name);
        Ok(trial.folder().write_file(&name, svg.as_bytes())?)
    }

    /// The middle of the first test image, clean and as denoised by every method.
    fn draw(&self, reports: &[MethodReport], run: &Run) -> Result<(), BenchError> {
        let Some(pair) = self.tests.first().and_then(|(_, pairs)| pairs.first()) else {
            return Ok(());
        };
        let clean = middle(&self.visible(&pair.clean));
        let mut images = vec![("clean".to_owned(), clean.pixels.clone())];
        for MethodReport { name, figures, .. } in reports {
            let path = run.folder().path().join(first_image(name));
            if let (Some(found), true) = (figures.get(FIRST), path.is_file()) {
                let image = middle(&bilevel_data::gray::read(&path)?);
                images.push((format!("{name}: {found:.2} dB"), image.pixels));
            }
        }
        let images: Vec<(String, &[f32])> =
            images.iter().map(|(name, pixels)| (name.clone(), &pixels[..])).collect();
        let svg = captioned(&images, [1, clean.height, clean.width]);
        Ok(run.folder().write_file("denoised.svg", svg.as_bytes())?)
    }
}

/// The losses under these settings.
fn problem(settings: &Settings) -> Denoising {
    Denoising {
        potential: settings.potential,
        smoothing: settings.smoothing.get(),
        border: usize::from(settings.side) - 1,
    }
}

/// Images of one size as a tensor.
fn on_device<'i>(images: impl Iterator<Item = &'i GrayImage>, device: &Device) -> Tensor<4> {
    let images: Vec<&GrayImage> = images.collect();
    let shape = [images.len(), 1, images[0].height, images[0].width];
    let pixels: Vec<f32> = images.iter().flat_map(|image| image.pixels.clone()).collect();
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

/// The middle of an image, with at most this many pixels per side.
fn middle(image: &GrayImage) -> GrayImage {
    let size = [image.height, image.width].map(|side| side.min(SHOWN));
    image.part(((image.height - size[0]) / 2, (image.width - size[1]) / 2), size)
}

/// The name of the PSNR of the first test image.
const FIRST: &str = "PSNR of the first image";

/// The file with the first test image as denoised by a method.
fn first_image(method: &str) -> String {
    format!("denoised-{method}.png")
}
