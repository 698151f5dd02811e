//! Learning atoms, and classifying by their codes.

use bilevel_core::{
    AutodiffOracle, Batches, BurnOptimizer, Counted, Error, Executor, HypergradientSolver,
    LowerProblem, Oracle, Sample, Samples, Solver,
};
use bilevel_models::{
    ClassifierConfig, ImageClassifier, ImageClassifierConfig, SoftmaxRegressionConfig, accuracy,
};
use bilevel_program::Tolerances;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;

use super::method::{hypergradient, proximal};
use super::{Codes, Dictionary, Goal, Learned, Method, Settings, Signals};
use crate::backend::{Array, flex_in_f64};
use crate::error::BenchError;
use crate::experiments::derivatives::derivatives;
use crate::experiments::images::{Read, batches, divide, integers, read, share_right, train};
use crate::experiments::{Checked, Experiment, Run, Trial};
use crate::report::pictures::{Row, pictures};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Offered, refuse};
use bilevel_data::loader::ImageBatch;
use bilevel_data::split::Parts;
use bilevel_data::{Dataset, Digest, Purpose, stream};

/// Learning rate of softmax regression, by Adam.
const REGRESSION_RATE: f64 = 5e-3;
/// Atoms per row of the picture.
const COLUMNS: usize = 16;

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    parts: Parts,
}

impl Experiment for Prepared {
    const NAME: &'static str = "dictionary";
    const ABOUT: &'static str = "Learn a dictionary whose sparse codes tell classes apart";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/dictionary.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let Read { set, test, .. } = read(settings.common.data_dir.as_deref())?;
        let parts = divide((set, test), settings.train.get(), 1, settings.common.seed)?;
        let (train, atoms) = (parts.train.len(), settings.atoms.get());
        if atoms.max(settings.batch.get()) > train {
            let found = format!("{train}, for {atoms} atoms and batches of {}", settings.batch);
            let expected = "at least as many training images as atoms, and as a batch has";
            return Err(refuse("--train", found, expected, "ask for more of them"));
        }
        Ok(Self { settings, parts })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.parts.feed(to);
    }

    fn arrays(&self) -> Vec<Array> {
        let (features, atoms) = (self.parts.train.features(), self.settings.atoms.get());
        vec![Array::new(
            "the images and codes of a batch",
            [self.settings.batch.get(), features.max(atoms)],
        )]
    }

    fn check(&self) -> Result<Option<Checked>, BenchError> {
        let device = flex_in_f64()?;
        let Self { settings, parts } = self;
        let bench = |device: &Device| Bench {
            settings,
            train: &parts.train,
            test: &parts.test,
            device: device.clone(),
        };
        let (atoms, features) = (settings.atoms.get(), parts.train.features());
        let x = Learned::new(
            Tensor::ones([atoms, features], &device),
            bench(&device).regression(atoms),
        );
        let both = (x, Codes::zero(settings.batch.get(), atoms, &device));
        let batch = |_, device: &_| bench(device).batch(&parts.train, 0);
        let problem = problem(Goal::Classify, settings);
        let seed = settings.common.seed;
        Ok(Some(derivatives(&problem, both, batch, seed, &Tolerances::F64)?))
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let Self { settings, parts } = self;
        let mut order: Vec<usize> = (0..parts.train.len()).collect();
        order.shuffle(&mut stream(settings.common.seed, Purpose::Batches));
        let set = parts.train.select(&order)?;
        let bench = Bench { settings, train: &set, test: &parts.test, device };
        let methods = settings.method.iter();
        methods
            .map(|&method| run.method(&method.name(), |trial| bench.run(method, trial)))
            .collect()
    }
}

/// State shared by all methods.
struct Bench<'a> {
    settings: &'a Settings,
    train: &'a Dataset,
    test: &'a Dataset,
    device: Device,
}

type DictionaryOracle = AutodiffOracle<Dictionary, Batches<Signals>>;

impl Bench<'_> {
    fn run(&self, method: Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        if method == Method::Softmax {
            return self.on_pixels(trial);
        }
        trial.report.baseline = method == Method::Unsupervised;
        let start = trial.timed(|| self.unsupervised())?;
        let x = match method {
            Method::FixedPoint | Method::Rad => self.learn(method, start, trial)?,
            _ => start,
        };
        if trial.report.baseline {
            trial.report.status = format!("{} steps", self.settings.unsupervised_steps);
        }
        let (mut right, mut zero, mut all) = (0.0, 0.0, 0.0);
        for (codes, labels) in self.codes(&x, self.test)? {
            let [n, atoms] = codes.dims();
            zero += codes.clone().equal_elem(0.0).float().sum().into_scalar::<f64>() / atoms as f64;
            right += accuracy(x.logits(codes), labels) * n as f64;
            all += n as f64;
        }
        trial.report.test_accuracy = Some(right / all);
        trial.report.figures.insert("test error %".into(), 100.0 * (1.0 - right / all));
        trial.report.figures.insert("codes not 0 %".into(), 100.0 * (1.0 - zero / all));
        self.draw(&x, trial)
    }

    fn regression(&self, features: usize) -> ImageClassifier {
        let config = SoftmaxRegressionConfig::new(features, self.train.classes());
        ImageClassifierConfig::Flat(ClassifierConfig::Softmax(config)).init(&self.device)
    }

    /// Softmax regression on pixels.
    fn on_pixels(&self, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let size = self.settings.batch.get();
        let (of_train, of_test) =
            (batches(self.train, size, &self.device)?, batches(self.test, size, &self.device)?);
        let network = self.regression(self.train.features());
        let decay = self.settings.decay.get();
        let steps = (self.settings.regression_steps.get(), REGRESSION_RATE);
        let network = trial.timed(|| train(network, &of_train, steps, decay))?;
        let right = share_right(&network, &of_test);
        trial.report.baseline = true;
        trial.report.status = format!("{} steps", steps.0);
        trial.report.test_accuracy = Some(right);
        trial.report.figures.insert("test error %".into(), 100.0 * (1.0 - right));
        Ok(())
    }

    /// Batches of images of norm 1, all of one size: the last one is filled up with the first images.
    fn signals(&self, set: &Dataset) -> Vec<Signals> {
        (0..set.len()).step_by(self.settings.batch.get()).map(|at| self.batch(set, at)).collect()
    }

    /// The batch that begins with an image.
    fn batch(&self, set: &Dataset, from: usize) -> Signals {
        let size = self.settings.batch.get();
        let chosen: Vec<usize> = (from..from + size).map(|at| at % set.len()).collect();
        let pixels: Vec<f32> = chosen.iter().flat_map(|&at| unit(set.image(at))).collect();
        let labels = chosen.iter().map(|&at| set.labels()[at] as usize);
        let shape = [size, set.features()];
        let wanted = self.settings.laplacian.get() > 0.0;
        Signals {
            images: Tensor::from_data(TensorData::new(pixels.clone(), shape), &self.device),
            labels: integers(labels, &self.device),
            laplacian: wanted.then(|| self.laplacian(&pixels, size)),
        }
    }

    /// The Laplacian of the graph that joins each image of a batch with its nearest neighbours.
    fn laplacian(&self, pixels: &[f32], n: usize) -> Tensor<2> {
        let features = pixels.len() / n;
        let image = |at: usize| &pixels[at * features..(at + 1) * features];
        let mut entries = vec![0.0_f32; n * n];
        for i in 0..n {
            let likeness =
                |j: usize| -> f32 { image(i).iter().zip(image(j)).map(|(a, b)| a * b).sum() };
            let mut others: Vec<(f32, usize)> =
                (0..n).filter(|&j| j != i).map(|j| (likeness(j), j)).collect();
            others.sort_by(|a, b| b.0.total_cmp(&a.0));
            for &(_, j) in others.iter().take(self.settings.neighbours.get()) {
                (entries[i * n + j], entries[j * n + i]) = (-1.0, -1.0);
            }
        }
        for i in 0..n {
            entries[i * n + i] = -entries[i * n..(i + 1) * n].iter().sum::<f32>();
        }
        Tensor::from_data(TensorData::new(entries, [n, n]), &self.device)
    }

    fn oracle(&self, goal: Goal, x: &Learned, set: &Dataset) -> Result<DictionaryOracle, Error> {
        let Settings { batch, atoms, .. } = self.settings;
        let problem = problem(goal, self.settings);
        let signals = self.signals(set);
        let codes = Codes::zero(batch.get(), atoms.get(), &self.device);
        AutodiffOracle::new(problem, x, &codes, Batches::new(signals.clone(), signals)?)
    }

    /// Atoms that reconstruct, from random images, and softmax regression on their codes.
    fn unsupervised(&self) -> Result<Learned, BenchError> {
        let (atoms, features) = (self.settings.atoms.get(), self.train.features());
        let pixels: Vec<f32> = (0..atoms).flat_map(|at| unit(self.train.image(at))).collect();
        let pixels = Tensor::from_data(TensorData::new(pixels, [atoms, features]), &self.device);
        let x = Learned::new(pixels, self.regression(atoms));
        let oracle = self.oracle(Goal::Reconstruct, &x, self.train)?;
        let mut solver = self.solver(Method::Unsupervised, &oracle, &x)?;
        let seed = self.settings.common.seed;
        Executor::new(self.settings.unsupervised_steps.get())?
            .with_seed(seed, self.device.clone())
            .run(&mut solver)?;
        let x = oracle.upper_module(solver.x());
        let as_images = self.codes(&x, self.train)?.into_iter().map(|(codes, labels)| {
            let n = codes.dims()[0];
            ImageBatch { images: codes.reshape([n, 1, 1, atoms]), labels }
        });
        let as_images: Vec<ImageBatch> = as_images.collect();
        let decay = self.settings.decay.get();
        let steps = (self.settings.regression_steps.get(), REGRESSION_RATE);
        let classifier = train(self.regression(atoms), &as_images, steps, decay)?;
        Ok(x.with_classifier(classifier))
    }

    fn solver<'o>(
        &self,
        method: Method,
        oracle: &'o DictionaryOracle,
        x: &Learned,
    ) -> Result<HypergradientSolver<'o>, BenchError> {
        let rate = self.settings.upper.learning_rate.get();
        let adam = BurnOptimizer::new(AdamConfig::new().build(), x, rate)?;
        let (start, codes) = (oracle.upper_start(), oracle.lower_start());
        let method = hypergradient(method, self.settings)?;
        Ok(HypergradientSolver::new(oracle, method, adam, start, codes))
    }

    /// Atoms and classifier together, by a bilevel method.
    fn learn(
        &self,
        method: Method,
        start: Learned,
        trial: &mut Trial<'_>,
    ) -> Result<Learned, BenchError> {
        let oracle = self.oracle(Goal::Classify, &start, self.train)?;
        let mut solver = self.solver(method, &oracle, &start)?;
        let seed = (self.settings.common.seed, self.device.clone());
        let steps = self.settings.upper.upper_steps.get();
        trial.drive(&mut solver, steps, seed, |_, _| StepRecord::default())?;
        Ok(oracle.upper_module(solver.x()))
    }

    /// The codes of a set, and its labels.
    fn codes(
        &self,
        x: &Learned,
        set: &Dataset,
    ) -> Result<Vec<(Tensor<2>, Tensor<1, burn::tensor::Int>)>, BenchError> {
        let oracle = self.oracle(Goal::Classify, x, set)?;
        let counted = Counted::new(&oracle as &dyn Oracle);
        let (at, start, descent) =
            (oracle.upper_start(), oracle.lower_start(), proximal(self.settings)?);
        let size = self.settings.batch.get();
        let signals = self.signals(set).into_iter().enumerate().map(|(number, signals)| {
            let sample = Sample(number as u64);
            let samples = Samples { upper: sample, lower: sample, index: 0 };
            let end = descent.run(&LowerProblem::new(&counted, &at, samples), &start)?;
            let left = size.min(set.len() - number * size);
            let codes = oracle.lower_module(&end.state.y).values();
            Ok((codes.narrow(0, 0, left), signals.labels.narrow(0, 0, left)))
        });
        signals.collect()
    }

    fn draw(&self, x: &Learned, trial: &Trial<'_>) -> Result<(), BenchError> {
        let pixels: Vec<f32> = x.atoms().into_data().iter::<f32>().collect();
        let grey = |atom: &[f32]| -> Vec<f32> {
            let most = atom.iter().fold(f32::MIN_POSITIVE, |most, pixel| most.max(pixel.abs()));
            atom.iter().map(|pixel| 0.5 + 0.5 * pixel / most).collect()
        };
        let atoms: Vec<Vec<f32>> = pixels.chunks(self.train.features()).map(grey).collect();
        let rows: Vec<Row<'_>> = atoms
            .chunks(COLUMNS)
            .map(|row| Row { name: "", images: row.iter().map(|atom| &atom[..]).collect() })
            .collect();
        let name = format!("atoms-{}.svg", trial.report.name);
        Ok(trial.folder().write_file(&name, pictures(&rows, self.train.shape()).as_bytes())?)
    }
}

/// The losses under these settings.
fn problem(goal: Goal, settings: &Settings) -> Dictionary {
    Dictionary {
        goal,
        ridge: settings.ridge.get(),
        laplacian: settings.laplacian.get(),
        decay: settings.decay.get(),
    }
}

/// An image of norm 1.
fn unit(image: &[f32]) -> Vec<f32> {
    let norm = image.iter().map(|pixel| pixel * pixel).sum::<f32>().sqrt().max(1e-6);
    image.iter().map(|pixel| pixel / norm).collect()
}
