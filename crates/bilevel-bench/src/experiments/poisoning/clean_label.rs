//! One poison that is like its base and has the right label, after which one target is taken for its class.

use bilevel_autodiff::Vector;
use bilevel_core::{AutodiffOracle, Ball, Cost, Executor, FullBatch, Oracle, Proximal};
use bilevel_models::{ImageClassifier, SoftmaxRegressionConfig};
use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

use super::method::{Allowed, Modules, solver};
use super::run::{Prepared, retrained};
use super::{Goal, Method, PoisonBatch, Poisoning, Poisons, Settings};
use crate::data::Dataset;
use crate::data::loader::ImageBatch;
use crate::error::BenchError;
use crate::experiments::images::{batches, integers, on_device, train};
use crate::experiments::{Run, Trial};
use crate::report::MethodReport;
use crate::report::pictures::{Row, pictures};

/// Steps of Adam of the network whose representation is seen, their learning rate, and the samples of a batch.
const TRAINING: (usize, f64, usize) = (500, 1e-3, 50);

/// A target, and the sample of the other class that is nearest to it as the network sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    target: usize,
    base: usize,
}

/// A poison that did what it is for.
struct Success {
    pair: Pair,
    /// Which of the bounds it keeps.
    bound: usize,
    pixels: Vec<f32>,
}

/// The data on a device, and what all methods share.
pub(super) struct CleanLabel<'a, B: Backend> {
    settings: &'a Settings,
    /// What targets and bases are of.
    pool: &'a Dataset,
    network: ImageClassifier<B>,
    /// The representation of the training set.
    features: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    pairs: Vec<Pair>,
    device: B::Device,
}

impl<'a, B: Backend> CleanLabel<'a, B> {
    pub fn new(prepared: &'a Prepared, device: B::Device) -> Result<Self, BenchError> {
        let Prepared { settings, parts, .. } = prepared;
        B::seed(&device, settings.seed);
        let network = settings.model.config(&parts.train).init::<Autodiff<B>>(&device);
        let (steps, rate, batch) = TRAINING;
        let batches = batches(&parts.train, batch, &device)?;
        let network = train(network, &batches, steps, rate).valid();
        let images: ImageBatch<B> = on_device(&parts.train, &device);
        let features = network.features(images.images.clone());
        let mut attack = Self {
            settings,
            pool: &parts.validation,
            network,
            labels: images.labels,
            features,
            pairs: Vec::new(),
            device,
        };
        attack.pairs = attack.pairs();
        Ok(attack)
    }

    /// The first targets that the classifier has right, each with its base.
    fn pairs(&self) -> Vec<Pair> {
        let features = self.network.features(on_device(self.pool, &self.device).images);
        let width = features.dims()[1];
        let classifier = retrained(self.features.clone(), self.labels.clone(), 2);
        let found = classes(&classifier, features.clone());
        let features: Vec<f32> = features.into_data().iter::<f32>().collect();
        let of = |at: usize| &features[at * width..][..width];
        let labels = self.pool.labels();
        let right: Vec<usize> = (0..labels.len()).filter(|&at| found[at] == labels[at]).collect();
        let apart = |a: usize, b: usize| -> f32 {
            of(a).iter().zip(of(b)).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let pair = |&target: &usize| {
            let others = right.iter().copied().filter(|&at| labels[at] != labels[target]);
            let base = others.min_by(|&a, &b| apart(a, target).total_cmp(&apart(b, target)))?;
            Some(Pair { target, base })
        };
        right.iter().filter_map(pair).take(self.settings.targets).collect()
    }

    pub fn run(&self, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let methods = self.settings.methods.iter();
        methods
            .map(|&method| run.method(method.name(), |trial| self.attack(method, trial)))
            .collect()
    }

    /// Attacks one target after the other, under each bound until one is enough.
    fn attack(&self, method: Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let bar = trial.bar(self.pairs.len());
        let mut successes = Vec::new();
        let mut cost = Cost::default();
        for &pair in &self.pairs {
            for (bound, &epsilon) in self.settings.epsilons.iter().enumerate() {
                let poison = trial.timed(|| self.poison(method, pair, epsilon, &mut cost))?;
                if self.deceived(pair, poison.clone()) {
                    let pixels = poison.into_data().iter::<f32>().collect();
                    successes.push(Success { pair, bound, pixels });
                    break;
                }
            }
            bar.inc(1);
        }
        bar.finish();
        trial.count(cost);
        let attacked = self.pairs.len();
        trial.report.status = format!("{} of {attacked} targets", successes.len());
        for (bound, epsilon) in self.settings.epsilons.iter().enumerate() {
            let within = successes.iter().filter(|success| success.bound <= bound).count();
            let rate = 100.0 * within as f64 / attacked.max(1) as f64;
            trial.report.figures.insert(format!("% at {epsilon}"), rate);
        }
        self.draw(method, &successes, trial)
    }

    /// The poison of a method, within the bound and with pixels in `[0, 1]`.
    fn poison(
        &self,
        method: Method,
        pair: Pair,
        epsilon: f64,
        cost: &mut Cost,
    ) -> Result<Tensor<B, 4>, BenchError> {
        let [base, target] = [pair.base, pair.target].map(|at| self.image(at));
        let wanted = self.pool.labels()[pair.base] as usize;
        let given = integers(std::iter::once(wanted), &self.device);
        let seen = |features, labels| PoisonBatch {
            network: self.network.clone(),
            bases: base.clone(),
            given: given.clone(),
            features,
            labels,
        };
        let data = FullBatch {
            upper: seen(self.network.features(target), given.clone()),
            lower: seen(self.features.clone(), self.labels.clone()),
        };
        let config = SoftmaxRegressionConfig::new(self.features.dims()[1], 2);
        let modules = Modules {
            x: Poisons::new(Tensor::<Autodiff<B>, 4>::from_inner(base.zeros_like())),
            y: config.init(&self.device),
        };
        let problem = Poisoning { goal: Goal::Targeted(self.settings.collision) };
        let oracle = AutodiffOracle::new(problem, &modules.x, &modules.y, data)?;
        let (allowed, rate) = (Allowed::Near(epsilon), self.settings.learning_rate);
        let mut solver = solver(method, &oracle, &modules, allowed, rate, self.settings)?;
        let seed = (self.settings.seed, self.device.clone());
        Executor::new(self.settings.upper_steps)?.with_seed(seed.0, seed.1).run(&mut *solver)?;
        *cost = *cost + oracle.cost();
        // A penalty alone may end a little beyond the bound.
        let within: Vector<B> = Ball::new(epsilon)?.apply(solver.x());
        Ok((base + oracle.upper_module(&within).shift()).clamp(0.0, 1.0))
    }

    /// Whether a classifier that is trained anew, with the poison, takes the target for the base's class.
    fn deceived(&self, pair: Pair, poison: Tensor<B, 4>) -> bool {
        let wanted = self.pool.labels()[pair.base];
        let given = integers(std::iter::once(wanted as usize), &self.device);
        let features = Tensor::cat(vec![self.features.clone(), self.network.features(poison)], 0);
        let labels = Tensor::cat(vec![self.labels.clone(), given], 0);
        let classifier = retrained(features, labels, 2);
        let target = self.network.features(self.image(pair.target));
        classes(&classifier, target) == [wanted]
    }

    /// A sample of the pool, `[1, channels, height, width]`.
    fn image(&self, at: usize) -> Tensor<B, 4> {
        let [channels, height, width] = self.pool.shape();
        let pixels = Tensor::<B, 1>::from_floats(self.pool.image(at), &self.device);
        pixels.reshape([1, channels, height, width])
    }

    fn draw(
        &self,
        method: Method,
        successes: &[Success],
        trial: &Trial<'_>,
    ) -> Result<(), BenchError> {
        let image = |at: usize| self.pool.image(at);
        let rows = [
            Row { name: "base", images: successes.iter().map(|s| image(s.pair.base)).collect() },
            Row { name: "poison", images: successes.iter().map(|s| &s.pixels[..]).collect() },
            Row {
                name: "target",
                images: successes.iter().map(|s| image(s.pair.target)).collect(),
            },
        ];
        let svg = pictures(&rows, self.pool.shape())?;
        let name = format!("poisons-{}.svg", method.name());
        Ok(trial.folder().write_file(&name, svg.as_bytes())?)
    }
}

/// The class of each of these features, `[n, features]`.
fn classes<B: Backend>(classifier: &ImageClassifier<B>, features: Tensor<B, 2>) -> Vec<u32> {
    let n = features.dims()[0];
    let classes = classifier.head(features).argmax(1).reshape([n]);
    classes.into_data().iter::<u32>().collect()
}
