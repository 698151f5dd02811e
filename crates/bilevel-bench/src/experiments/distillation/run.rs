//! Learning the images, and training networks on them.

use bilevel_core::{
    AutodiffOracle, Counted, Frozen, LowerProblem, Objective, Oracle, Samples, Start, catalogue,
};
use bilevel_models::ImageClassifier;
use bilevel_program::Vector;
use burn::optim::AdamConfig;
use burn::tensor::Device;
use rand::seq::SliceRandom;

use super::baselines::{centres, samples};
use super::problem::{Source, labelled};
use super::{Distillation, Distilled, Initialisation, Labels, Reference, Seen, Settings};
use crate::backend::{Array, flex_in_f64};
use crate::error::BenchError;
use crate::experiments::derivatives::{BETWEEN_KINKS, derivatives};
use crate::experiments::images::{Read, batches, divide, judging, read, share_right};
use crate::experiments::posed::Posed;
use crate::experiments::{Auto, Checked, Experiment, Run, Trial};
use crate::report::pictures::{Row, pictures};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Chosen, Offered};
use bilevel_data::loader::ImageBatch;
use bilevel_data::split::Parts;
use bilevel_data::{Digest, Purpose, stream};

/// How often a run evaluates the test set.
const LOOKS: usize = 20;
/// Random weights that upper steps use in turn.
const STARTS: usize = 200;
/// Step sizes tried for a baseline, in units of `--step-size`.
const FACTORS: [f64; 9] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    parts: Parts,
}

impl Experiment for Prepared {
    const NAME: &'static str = "distillation";
    const ABOUT: &'static str =
        "Learn a few images that are as good for training as the whole training set";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/distillation.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let Read { set, test, .. } = read(settings.common.data_dir.as_deref())?;
        settings.network.check(&set)?;
        // No sample is held out: the images are to represent the whole training set.
        let parts = divide((set, test), settings.train.get(), 1, settings.common.seed)?;
        Ok(Self { settings, parts })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.parts.feed(to);
    }

    fn arrays(&self) -> Vec<Array> {
        let train = &self.parts.train;
        let batch = self.settings.batch.get().min(train.len());
        let hidden = self.settings.network.hidden(train);
        vec![
            Array::new("the samples of a batch", [batch, train.features()]),
            Array::new("the hidden layers of a batch", [batch, hidden]),
        ]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let bench = Bench::new(self, device)?;
        let (pixels, given) = bench.centres();
        let learned = self.settings.labels == Labels::Learned;
        let (oracle, y) = bench.pose(&bench.distilled((pixels, &given), learned))?;
        let (x, way) = (oracle.upper_start(), (Start::Fixed, self.settings.common.seed));
        let of_run = self.settings.of_methods();
        Auto::among::<Chosen<Reference>>(&oracle, (&x, &y), way, &of_run).map(Some)
    }

    fn check(&self) -> Result<Option<Checked>, BenchError> {
        let device = flex_in_f64()?;
        let (set, settings) = (&self.parts.train, &self.settings);
        let rng = &mut stream(settings.common.seed, Purpose::Generated);
        let (pixels, labels) = samples(set, settings.images.get(), rng);
        let chosen = |device: &_| labelled(pixels.clone(), &labels, set.shape(), device);
        let learned = settings.labels == Labels::Learned;
        let x = Distilled::new(&chosen(&device), set.classes(), learned);
        let both = (x, settings.network.config(set).init(&device));
        let batch = |level, device: &_| Seen {
            samples: (level == Objective::Upper).then(|| chosen(device)),
            start: None,
        };
        let seed = settings.common.seed;
        Ok(Some(derivatives(&Distillation, both, batch, seed, &BETWEEN_KINKS)?))
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench::new(self, device)?;
        let methods = self.settings.method.iter();
        methods.map(|method| run.method(&method.name(), |trial| bench.run(method, trial))).collect()
    }
}

/// The data on a device, and state shared by all methods.
struct Bench<'a> {
    settings: &'a Settings,
    parts: &'a Parts,
    batches: Vec<ImageBatch>,
    test: Vec<ImageBatch>,
    device: Device,
}

type DistillationOracle = AutodiffOracle<Distillation, Source>;

impl<'a> Bench<'a> {
    fn new(of: &'a Prepared, device: Device) -> Result<Self, BenchError> {
        let Prepared { settings, parts } = of;
        let (rng, set) = (&mut stream(settings.common.seed, Purpose::Batches), &parts.train);
        let mut order: Vec<usize> = (0..set.len()).collect();
        order.shuffle(rng);
        Ok(Self {
            settings,
            parts,
            batches: batches(&set.select(&order)?, settings.batch.get(), &device)?,
            test: judging(&parts.test, &device)?,
            device,
        })
    }

    fn run(&self, method: &Chosen<Reference>, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let (pixels, given) = match method {
            Chosen::Baseline(Reference::Samples) => {
                let rng = &mut stream(self.settings.common.seed, Purpose::Generated);
                samples(&self.parts.train, self.settings.images.get(), rng)
            }
            _ => trial.timed(|| self.centres()),
        };
        let of_run = self.settings.of_methods();
        let (x, training) = match method {
            Chosen::Baseline(_) => {
                trial.report.baseline = true;
                trial.report.status = format!("{} images", given.len());
                let x = self.distilled((pixels, &given), false);
                (self.best_step(x, &of_run, trial)?, of_run)
            }
            Chosen::Bilevel(method) => {
                let learned = self.settings.labels == Labels::Learned;
                let x = self.distilled((pixels, &given), learned);
                (self.learn(method, x, trial)?, method.of(&of_run)?)
            }
        };
        self.judge(&x, &training, trial)?;
        self.draw(&x, &given, trial)
    }

    /// The images that learning starts from, and their labels.
    fn centres(&self) -> (Vec<f32>, Vec<u32>) {
        let rng = &mut stream(self.settings.common.seed, Purpose::Generated);
        centres(&self.parts.train, self.settings.images.get(), rng)
    }

    /// x of images and their labels.
    fn distilled(&self, (pixels, given): (Vec<f32>, &[u32]), learned: bool) -> Distilled {
        let set = &self.parts.train;
        Distilled::new(&labelled(pixels, given, set.shape(), &self.device), set.classes(), learned)
    }

    /// A network with random weights: those of the start, or others.
    fn network(&self, number: u64) -> ImageClassifier {
        self.device.seed(self.settings.common.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9)));
        self.settings.network.config(&self.parts.train).init(&self.device)
    }

    /// The problem, from the fixed start or from random ones, and y there.
    fn pose(&self, x: &Distilled) -> Result<(DistillationOracle, Vector), BenchError> {
        let initialisation = self.settings.initialisation;
        let starts = match initialisation {
            Initialisation::Fixed => 0..0,
            Initialisation::Random => 1..STARTS as u64 + 1,
        };
        let starts = starts.map(|number| Frozen(self.network(number))).collect();
        let data = Source { batches: self.batches.clone(), starts };
        let oracle = AutodiffOracle::new(Distillation, x, &self.network(0), data)?;
        let y = match initialisation {
            Initialisation::Fixed => oracle.lower_start(),
            Initialisation::Random => oracle.lower_start().zeros_like(),
        };
        Ok((oracle, y))
    }

    /// Images that a method learns.
    fn learn(
        &self,
        method: &Catalogued,
        x: Distilled,
        trial: &mut Trial<'_>,
    ) -> Result<Distilled, BenchError> {
        let Settings { initialisation, common, upper, .. } = self.settings;
        let (oracle, y) = self.pose(&x)?;
        let counted = Counted::new(&oracle);
        let posed = Posed {
            oracle: &counted,
            module: &x,
            x: oracle.upper_start(),
            y,
            adam: AdamConfig::new(),
            start: Start::Fixed,
            seed: common.seed,
        };
        let mut solver = posed.solver(method, &self.settings.of_methods())?;
        let (steps, seed) = (upper.upper_steps.get(), (common.seed, self.device.clone()));
        let every = steps.div_ceil(LOOKS);
        let fixed = *initialisation == Initialisation::Fixed;
        trial.drive(&mut *solver, steps, seed, |_, progress| {
            // With a random start y is not a network.
            if !fixed || (progress.step % every > 0 && progress.step < steps) {
                return StepRecord::default();
            }
            let network = oracle.lower_module(progress.solver.y());
            StepRecord {
                test_accuracy: Some(share_right(&network, &self.test)),
                ..StepRecord::default()
            }
        })?;
        Ok(oracle.upper_module(solver.x()))
    }

    /// The same images with the step size that is best on a batch of training samples, from the fixed start.
    fn best_step(
        &self,
        x: Distilled,
        training: &catalogue::Settings,
        trial: &mut Trial<'_>,
    ) -> Result<Distilled, BenchError> {
        let tried = trial.timed(|| {
            let accuracy = |factor: f64| {
                let x = x.clone().with_log_step(factor.ln());
                // A step size that is too large for the network diverges: it is no candidate.
                let network = self.trained(&x, &self.network(0), training).ok();
                network.map(|network| (share_right(&network, &self.batches[..1]), factor))
            };
            FACTORS.into_iter().filter_map(accuracy).max_by(|a, b| a.0.total_cmp(&b.0))
        });
        let factor = tried.map_or(1.0, |(_, factor)| factor);
        Ok(x.with_log_step(factor.ln()))
    }

    /// A network trained on images, as a method trains it.
    fn trained(
        &self,
        x: &Distilled,
        from: &ImageClassifier,
        training: &catalogue::Settings,
    ) -> Result<ImageClassifier, BenchError> {
        let data = Source { batches: self.batches[..1].to_vec(), starts: Vec::new() };
        let oracle = AutodiffOracle::new(Distillation, x, from, data)?;
        let (x, start): (Vector, Vector) = (oracle.upper_start(), oracle.lower_start());
        let samples = Samples::default();
        let end = training
            .descent()?
            .run(&LowerProblem::new(&oracle as &dyn Oracle, &x, samples), &start)?;
        Ok(oracle.lower_module(&end.state.y))
    }

    /// The test accuracy from the fixed start and from random ones.
    fn judge(
        &self,
        x: &Distilled,
        training: &catalogue::Settings,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let accuracy = |number: u64| {
            let network = self.trained(x, &self.network(number), training)?;
            Ok::<_, BenchError>(share_right(&network, &self.test))
        };
        trial.report.test_accuracy = Some(accuracy(0)?);
        let trials = self.settings.trials.get();
        let unseen = (0..trials).map(|at| accuracy((STARTS + 1 + at) as u64));
        let unseen = unseen.collect::<Result<Vec<f64>, _>>()?;
        let mean = unseen.iter().sum::<f64>() / trials as f64;
        let spread = unseen.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / trials as f64;
        let figures = &mut trial.report.figures;
        figures.insert("random start %".into(), 100.0 * mean);
        figures.insert("random start, deviation".into(), 100.0 * spread.sqrt());
        figures.insert("step size".into(), training.step_size * x.step());
        Ok(())
    }

    /// The images, one column per class, each scaled from its minimum to its maximum.
    fn draw(&self, x: &Distilled, labels: &[u32], trial: &Trial<'_>) -> Result<(), BenchError> {
        let set = &self.parts.train;
        let pixels: Vec<f32> = x.images().into_data().iter::<f32>().collect();
        let stretched = |image: &[f32]| -> Vec<f32> {
            let least = image.iter().copied().fold(f32::INFINITY, f32::min);
            let most = image.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let range = (most - least).max(f32::MIN_POSITIVE);
            image.iter().map(|pixel| (pixel - least) / range).collect()
        };
        let images: Vec<Vec<f32>> = pixels.chunks(set.features()).map(stretched).collect();
        let of_class = |class: u32| images.iter().zip(labels).filter(move |at| *at.1 == class);
        let rows = (0..self.settings.images.get()).map(|row| Row {
            name: if row == 0 { trial.report.name.as_str() } else { "" },
            images: (0..set.classes() as u32)
                .filter_map(|class| of_class(class).nth(row).map(|(image, _)| &image[..]))
                .collect(),
        });
        let svg = pictures(&rows.collect::<Vec<_>>(), set.shape());
        let name = format!("images-{}.svg", trial.report.name);
        Ok(trial.folder().write_file(&name, svg.as_bytes())?)
    }
}
