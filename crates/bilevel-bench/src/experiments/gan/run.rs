//! Training the networks, and evaluating samples.

use bilevel_core::{AutodiffOracle, Counted, Data, Sample, Start};
use bilevel_data::{Digest, Purpose, stream};
use bilevel_models::{Mlp, MlpConfig};
use burn::optim::AdamConfig;
use burn::tensor::Device;

use super::data::{Draws, Judge, Origin, discrepancy, matrix, noise};
use super::look::Look;
use super::{Adversarial, Draw, Reference, Settings, Source};
use crate::backend::{Array, flex_in_f64};
use crate::error::BenchError;
use crate::experiments::derivatives::{BETWEEN_KINKS, derivatives};
use crate::experiments::images::read;
use crate::experiments::looks;
use crate::experiments::posed::Posed;
use crate::experiments::remembered::Remembered;
use crate::experiments::{Auto, Checked, Experiment, Run, Trial};
use crate::report::convergence::{Axis, Chart, Curve, panels};
use crate::report::pictures::{Row, pictures};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Chosen, Offered};

/// Number of evaluations of a method.
const LOOKS: usize = 10;
/// Samples that an evaluation keeps, and from which it computes a discrepancy.
const KEPT: usize = 400;
/// Samples for checking derivatives.
const CHECKED: usize = 8;
/// Images per row of the picture.
const SHOWN: usize = 10;
/// Pixels per side of a picture of points, and the coordinate at its edge.
const SIDE: usize = 84;
const EDGE: f32 = 3.0;
/// A mode with a smaller fraction of the samples is not covered.
const COVERED: f64 = 0.01;

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    origin: Origin,
}

impl Experiment for Prepared {
    const NAME: &'static str = "gan";
    const ABOUT: &'static str = "Learn a generator against a discriminator, unrolled or not";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/gan.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let origin = match settings.data {
            Source::Ring => Origin::Ring,
            Source::Digits => Origin::Images(read(settings.common.data_dir.as_deref())?.set),
        };
        Ok(Self { settings, origin })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        if let Origin::Images(set) = &self.origin {
            set.feed(to);
        }
    }

    fn arrays(&self) -> Vec<Array> {
        let (batch, widest) = (self.settings.batch.get(), self.settings.hidden.get());
        let widest = widest.max(self.settings.noise.get()).max(self.origin.features());
        vec![Array::new("the widest layers of a batch", [batch, widest])]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let (_, oracle) = game(self, &device)?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let way = (Start::Warm, self.settings.common.seed);
        Auto::among::<Chosen<Reference>>(&oracle, (&x, &y), way, &self.settings.of_methods())
            .map(Some)
    }

    fn check(&self) -> Result<Option<Checked>, BenchError> {
        let device = flex_in_f64()?;
        let draws = |device: &Device| Draws { batch: CHECKED, ..draws(self, device) };
        let both = networks(self, &device);
        let batch = |level, device: &_| draws(device).batch(level, Sample(0));
        let problem = Adversarial { game: self.settings.game };
        let seed = self.settings.common.seed;
        Ok(Some(derivatives(&problem, both, batch, seed, &BETWEEN_KINKS)?))
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let seed = self.settings.common.seed;
        let judge = Judge::new(&self.origin, seed, &device)?;
        let bench =
            Bench { prepared: self, settings: &self.settings, origin: &self.origin, judge, device };
        let methods = self.settings.method.iter();
        let reports = methods
            .map(|method| run.method(&method.name(), |trial| bench.run(method, trial)))
            .collect::<Result<Vec<_>, _>>()?;
        bench.draw(&reports, run)?;
        Ok(reports)
    }
}

/// State shared by all methods.
struct Bench<'a> {
    prepared: &'a Prepared,
    settings: &'a Settings,
    origin: &'a Origin,
    judge: Judge,
    device: Device,
}

type GameOracle = AutodiffOracle<Adversarial, Remembered<Draws, Draw>>;

impl Bench<'_> {
    fn run(&self, method: &Chosen<Reference>, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let last = match method {
            Chosen::Baseline(Reference::Data) => {
                trial.report.baseline = true;
                trial.report.status = "drawn from the data".into();
                let rng = &mut stream(self.settings.common.seed, Purpose::Generated);
                let samples = self.origin.draw(self.settings.samples.get(), rng);
                let look = self.look(0, samples);
                looks::note(trial.folder(), &trial.report.name, look.clone())?;
                look
            }
            Chosen::Bilevel(method) => self.learn(method, trial)?,
        };
        let figures = &mut trial.report.figures;
        figures.insert("modes".into(), last.modes as f64);
        figures.insert("good %".into(), 100.0 * last.good);
        figures.insert("distance".into(), last.distance);
        Ok(())
    }

    /// The generator, by a method: its last evaluation.
    fn learn(&self, method: &Catalogued, trial: &mut Trial<'_>) -> Result<Look, BenchError> {
        let Settings { common, upper, .. } = self.settings;
        let seed = common.seed;
        let (generator, oracle) = game(self.prepared, &self.device)?;
        let counted = Counted::new(&oracle);
        let posed = Posed {
            oracle: &counted,
            module: &generator,
            x: oracle.upper_start(),
            y: oracle.lower_start(),
            adam: AdamConfig::new().with_beta_1(self.settings.momentum.get() as f32),
            start: Start::Warm,
            seed,
        };
        let mut solver = posed.solver(method, &self.settings.of_methods())?;
        let (steps, name) = (upper.upper_steps.get(), trial.report.name.clone());
        let (every, folder) = (steps.div_ceil(LOOKS), trial.folder().clone());
        trial.try_drive(&mut *solver, steps, (seed, self.device.clone()), |_, progress| {
            if progress.step % every == 0 || progress.step == steps {
                let samples = self.samples(&oracle.upper_module(progress.solver.x()));
                looks::note(&folder, &name, self.look(progress.step, samples))?;
            }
            Ok(StepRecord::default())
        })?;
        let samples = self.samples(&oracle.upper_module(solver.x()));
        Ok(self.look(steps, samples))
    }

    /// Samples of a generator, from the same noise at each evaluation.
    fn samples(&self, generator: &Mlp) -> Vec<f32> {
        let (n, each) = (self.settings.samples.get(), self.settings.noise.get());
        let noise = noise(n * each, &mut stream(self.settings.common.seed, Purpose::Noise));
        let samples = generator.forward(matrix(noise, each, &self.device)).into_data();
        samples.iter::<f32>().collect()
    }

    fn look(&self, step: usize, mut samples: Vec<f32>) -> Look {
        let features = self.origin.features();
        let modes = self.judge.modes(&samples, &self.device);
        let share = |of: &dyn Fn(&Option<usize>) -> bool| {
            modes.iter().filter(|mode| of(mode)).count() as f64 / modes.len() as f64
        };
        let covered = |mode: &usize| share(&|found| *found == Some(*mode)) >= COVERED;
        samples.truncate(KEPT * features);
        let rng = &mut stream(self.settings.common.seed, Purpose::Search);
        Look {
            step,
            modes: (0..self.origin.modes()).filter(covered).count(),
            good: share(&Option::is_some),
            distance: discrepancy(&samples, &self.origin.draw(KEPT, rng), features),
            samples,
        }
    }

    /// Curves over the steps, and samples: of the ring at each evaluation, of images at the last.
    fn draw(&self, reports: &[MethodReport], run: &Run) -> Result<(), BenchError> {
        let folder = run.folder();
        let looks = reports.iter().map(|report| {
            Ok::<_, BenchError>((&report.name[..], looks::all::<Look>(folder, &report.name)?))
        });
        let looks = looks.collect::<Result<Vec<_>, _>>()?;
        type Quantity = fn(&Look) -> f64;
        let quantities: [(&str, Quantity); 3] = [
            ("modes covered", |look| look.modes as f64),
            ("good samples, %", |look| 100.0 * look.good),
            ("distance from the data", |look| look.distance),
        ];
        let charts = quantities.map(|(name, of)| Chart {
            title: name.into(),
            axis: Axis::Linear("upper steps"),
            quantity: Axis::Linear(name),
            curves: looks
                .iter()
                .filter(|(_, looks)| looks.len() > 1)
                .map(|(method, looks)| Curve {
                    label: (*method).into(),
                    points: looks.iter().map(|look| (look.step as f64, of(look))).collect(),
                    band: Vec::new(),
                })
                .collect(),
        });
        folder.write_file("quality.svg", panels(&charts)?.as_bytes())?;
        let drawn: Vec<(&str, Vec<Vec<f32>>)> =
            looks.iter().map(|(name, looks)| (*name, self.images(looks))).collect();
        let rows: Vec<Row<'_>> = drawn
            .iter()
            .map(|(name, images)| Row { name, images: images.iter().map(|i| &i[..]).collect() })
            .collect();
        let shape = match self.origin {
            Origin::Ring => [1, SIDE, SIDE],
            Origin::Images(set) => set.shape(),
        };
        Ok(folder.write_file("samples.svg", pictures(&rows, shape).as_bytes())?)
    }

    fn images(&self, looks: &[Look]) -> Vec<Vec<f32>> {
        match (self.origin, looks.last()) {
            (Origin::Ring, _) => looks.iter().map(|look| points(&look.samples)).collect(),
            (Origin::Images(set), Some(last)) => {
                let images = last.samples.chunks(set.features()).take(SHOWN);
                images.map(|image| image.iter().map(|v| (v + 1.0) / 2.0).collect()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The generator at its start, and the problem.
fn game(prepared: &Prepared, device: &Device) -> Result<(Mlp, GameOracle), BenchError> {
    let (generator, discriminator) = networks(prepared, device);
    let data = Remembered::new(draws(prepared, device));
    let problem = Adversarial { game: prepared.settings.game };
    let oracle = AutodiffOracle::new(problem, &generator, &discriminator, data)?;
    Ok((generator, oracle))
}

/// Both networks at their start.
fn networks(prepared: &Prepared, device: &Device) -> (Mlp, Mlp) {
    let Prepared { settings, origin } = prepared;
    let (features, hidden) = (origin.features(), settings.hidden.get());
    device.seed(settings.common.seed);
    let generator = MlpConfig::new(vec![settings.noise.get(), hidden, hidden, features]);
    (generator.init(device), MlpConfig::new(vec![features, hidden, 1]).init(device))
}

/// Data and noise of a run.
fn draws(prepared: &Prepared, device: &Device) -> Draws {
    let Prepared { settings, origin } = prepared;
    Draws {
        origin: origin.clone(),
        batch: settings.batch.get(),
        noise: settings.noise.get(),
        seed: settings.common.seed,
        device: device.clone(),
    }
}

/// Points of the plane as an image.
fn points(samples: &[f32]) -> Vec<f32> {
    let mut image = vec![0.0; SIDE * SIDE];
    for point in samples.chunks(2) {
        let place = |v: f32| ((v / EDGE + 1.0) / 2.0 * SIDE as f32).floor();
        let (column, row) = (place(point[0]), place(-point[1]));
        let inside = 0.0..SIDE as f32;
        if inside.contains(&column) && inside.contains(&row) {
            image[row as usize * SIDE + column as usize] += 0.5;
        }
    }
    image
}
