//! One poison that resembles its base and has the correct label, and causes the misclassification of one target.

use std::ops::ControlFlow;

use bilevel_core::{
    AutodiffOracle, Ball, Cost, Error, Executor, Frozen, FullBatch, Progress, Proximal, Snapshot,
};
use bilevel_models::{ImageClassifier, SoftmaxRegressionConfig};
use bilevel_program::Vector;
use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};

use super::means::{Means, figures};
use super::method::{Allowed, solver};
use super::run::{Prepared, retrained};
use super::{Goal, Method, PoisonBatch, Poisoning, Poisons, Representation, Settings};
use crate::error::BenchError;
use crate::experiments::images::{batches, integers, on_device, train};
use crate::experiments::run::ends_method;
use crate::experiments::{Run, Trial};
use crate::report::MethodReport;
use crate::report::convergence::{Axis, Chart, Curve, svg};
use crate::report::folder::RunFolder;
use crate::report::pictures::{Row, pictures};
use crate::settings::Offered;
use bilevel_data::Dataset;
use bilevel_data::loader::ImageBatch;

/// Steps of Adam of the network that gives the representation, and their learning rate.
const TRAINING: (usize, f64) = (500, 1e-3);
/// The samples of a batch of it.
const BATCH: usize = 50;

/// A target, and the nearest sample of the other class in the network's representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    target: usize,
    base: usize,
}

/// A successful poison.
struct Success {
    /// The index of the pair.
    at: usize,
    /// The smallest bound that suffices.
    bound: usize,
    pixels: Vec<f32>,
}

/// The data on a device, and state shared by all methods.
pub(super) struct CleanLabel<'a> {
    settings: &'a Settings,
    /// The representation of targets and bases.
    pool: &'a Dataset,
    /// Its centre is the mean of the features on the training set, its unit the root mean square norm of the centred
    /// features: so the lower level is solved in few steps, whatever the network.
    representation: Representation,
    /// The representation of the training set.
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    pairs: Vec<Pair>,
    device: Device,
}

impl<'a> CleanLabel<'a> {
    pub fn new(prepared: &'a Prepared, device: Device) -> Result<Self, BenchError> {
        let Prepared { settings, parts, others, .. } = prepared;
        let others = others.as_ref().expect("clean-label has other classes");
        device.seed(settings.common.seed);
        let network = settings.network.config(others).init(&device);
        let network = train(network, &batches(others, BATCH, &device)?, TRAINING, 0.0)?;
        let ImageBatch { images, labels } = on_device(&parts.train, &device);
        let features = network.features(images);
        let centre = features.clone().mean_dim(0);
        let features = features - centre.clone();
        let unit: f64 = features.clone().powi_scalar(2).sum_dim(1).mean().into_scalar();
        let unit = unit.sqrt();
        let mut attack = Self {
            settings,
            pool: &parts.validation,
            representation: Representation { network: Frozen(network), centre, unit },
            labels,
            features: features / unit,
            pairs: Vec::new(),
            device,
        };
        attack.pairs = attack.pairs()?;
        Ok(attack)
    }

    /// The first targets that the classifier classifies correctly, each with its base.
    fn pairs(&self) -> Result<Vec<Pair>, Error> {
        let features = self.representation.of(on_device(self.pool, &self.device).images);
        let width = features.dims()[1];
        let classifier = self.retrained(None)?;
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
        Ok(right.iter().filter_map(pair).take(self.settings.targets.get()).collect())
    }

    pub fn run(&self, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let methods = self.settings.method.iter();
        let reports: Vec<MethodReport> = methods
            .map(|&method| run.method(&method.name(), |trial| self.attack(method, trial)))
            .collect::<Result<_, _>>()?;
        draw_success(self.settings, self.pairs.len(), &reports, run.folder())?;
        Ok(reports)
    }

    /// Attacks one target after the other, with each bound until one suffices.
    fn attack(&self, method: Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let epsilons = &self.settings.bounds();
        let bar = trial.bar(self.pairs.len());
        let (done, mut state) = trial.kept(self.pairs.len())?;
        let mut means = if done > 0 { Means::restore(&mut state)? } else { Means::default() };
        let mut successes = taken(state, done, self.pool.features())?;
        bar.set_position(done as u64);
        let mut cost = Cost::default();
        for (at, &pair) in self.pairs.iter().enumerate().skip(done) {
            let attack = |epsilon| {
                let poison =
                    trial.timed(|| self.poison(method, pair, epsilon, (&mut cost, &mut means)))?;
                let pixels = || poison.clone().into_data().iter::<f32>().collect();
                Ok(self.deceived(pair, poison.clone())?.then(pixels))
            };
            let found = smallest(epsilons, attack)?;
            if let Some((bound, pixels)) = found.success {
                successes.push(Success { at, bound, pixels });
            }
            if let Some(why) = found.why {
                trial.report.warnings += found.diverged;
                trial.report.status = why;
            }
            trial.count(cost);
            let mut state = kept(&successes);
            means.save(&mut state);
            trial.keep(at + 1, state)?;
            bar.inc(1);
        }
        bar.finish();
        trial.report.series = means.series();
        self.report(&successes, &mut trial.report);
        self.draw(method, &successes, trial)
    }

    /// The results for the table and the summary.
    fn report(&self, successes: &[Success], report: &mut MethodReport) {
        let (epsilons, attacked) = (&self.settings.bounds(), self.pairs.len());
        let of_success: usize = successes.iter().map(|success| success.bound + 1).sum();
        let attacks = of_success + (attacked - successes.len()) * epsilons.len();
        let status = format!("{} of {attacked} targets", successes.len());
        report.ok = report.warnings < attacks as u64;
        report.status = match report.warnings {
            0 => status,
            n => {
                format!("{status}, {n} of {attacks} attacks diverged; the last: {}", report.status)
            }
        };
        for (bound, epsilon) in epsilons.iter().enumerate() {
            let within = successes.iter().filter(|success| success.bound <= bound).count();
            let rate = 100.0 * within as f64 / attacked.max(1) as f64;
            report.figures.insert(figure(*epsilon), rate);
        }
    }

    /// The poison of a method, within the bound and with pixels in `[0, 1]`.
    fn poison(
        &self,
        method: Method,
        pair: Pair,
        epsilon: f64,
        (cost, means): (&mut Cost, &mut Means),
    ) -> Result<Tensor<4>, BenchError> {
        let [base, target] = [pair.base, pair.target].map(|at| self.image(at));
        let wanted = self.pool.labels()[pair.base] as usize;
        let given = integers(std::iter::once(wanted), &self.device);
        let seen = |features, labels| PoisonBatch {
            representation: self.representation.clone(),
            bases: base.clone(),
            given: given.clone(),
            features,
            labels,
        };
        let data = FullBatch {
            upper: seen(self.representation.of(target), given.clone()),
            lower: seen(self.features.clone(), self.labels.clone()),
        };
        let config = SoftmaxRegressionConfig::new(self.features.dims()[1], 2);
        let (x, y) = (Poisons::new(base.zeros_like()), config.init(&self.device));
        let (weight, rate) = match method {
            Method::Collision => (1.0, self.settings.collision_rate.get()),
            _ => (self.settings.collision.get(), self.settings.upper.learning_rate.get()),
        };
        let (goal, decay) = (Goal::Targeted(weight), self.settings.decay.get());
        // The other methods are projected.
        let bound = Some(epsilon).filter(|_| method == Method::Penalty);
        let oracle = AutodiffOracle::new(Poisoning { goal, decay, bound }, &x, &y, data)?;
        let near = Allowed::Near(epsilon);
        let mut solver = solver(method, &oracle, near, rate, self.settings)?;
        let seed = (self.settings.common.seed, self.device.clone());
        let executor =
            Executor::new(self.settings.upper.upper_steps.get())?.with_seed(seed.0, seed.1);
        let mut steps = Vec::new();
        let outcome = executor
            .observe(|progress: &Progress<'_>| {
                steps.push(figures(progress));
                ControlFlow::Continue(())
            })
            .run(&mut *solver);
        *cost = *cost + solver.cost();
        outcome?;
        means.add(&steps);
        // With a penalty alone the result may slightly exceed the bound.
        let within: Vector = Ball::new(epsilon)?.apply(solver.x());
        Ok((base + oracle.upper_module(&within).shift()).clamp(0.0, 1.0))
    }

    /// Whether a newly trained classifier, with the poison, assigns the target to the base's class.
    fn deceived(&self, pair: Pair, poison: Tensor<4>) -> Result<bool, Error> {
        let wanted = self.pool.labels()[pair.base];
        let classifier = self.retrained(Some((poison, wanted)))?;
        Ok(classes(&classifier, self.representation.of(self.image(pair.target))) == [wanted])
    }

    /// A newly trained classifier, on the training set and a poison with its label.
    fn retrained(&self, poison: Option<(Tensor<4>, u32)>) -> Result<ImageClassifier, Error> {
        let (mut features, mut labels) = (self.features.clone(), self.labels.clone());
        if let Some((poison, label)) = poison {
            let given = integers(std::iter::once(label as usize), &self.device);
            features = Tensor::cat(vec![features, self.representation.of(poison)], 0);
            labels = Tensor::cat(vec![labels, given], 0);
        }
        retrained(features, labels, 2, self.settings.decay.get())
    }

    /// A sample of the pool, `[1, channels, height, width]`.
    fn image(&self, at: usize) -> Tensor<4> {
        let [channels, height, width] = self.pool.shape();
        let pixels = Tensor::<1>::from_floats(self.pool.image(at), &self.device);
        pixels.reshape([1, channels, height, width])
    }

    fn draw(
        &self,
        method: Method,
        successes: &[Success],
        trial: &Trial<'_>,
    ) -> Result<(), BenchError> {
        let Some(svg) = picture(self.pool, &self.pairs, successes) else { return Ok(()) };
        let name = format!("poisons-{}.svg", method.name());
        Ok(trial.folder().write_file(&name, svg.as_bytes())?)
    }
}

/// Bases, poisons and targets; none without a success.
fn picture(pool: &Dataset, pairs: &[Pair], successes: &[Success]) -> Option<String> {
    let of_pairs = |of: fn(Pair) -> usize| {
        successes.iter().map(|success| pool.image(of(pairs[success.at]))).collect()
    };
    let rows = [
        Row { name: "base", images: of_pairs(|pair| pair.base) },
        Row { name: "poison", images: successes.iter().map(|s| &s.pixels[..]).collect() },
        Row { name: "target", images: of_pairs(|pair| pair.target) },
    ];
    (!successes.is_empty()).then(|| pictures(&rows, pool.shape()))
}

/// The class of each of these features, `[n, features]`.
fn classes(classifier: &ImageClassifier, features: Tensor<2>) -> Vec<u32> {
    let n = features.dims()[0];
    let classes = classifier.head(features).argmax(1).reshape([n]);
    classes.into_data().iter::<u32>().collect()
}

/// The results of attacks with increasing bounds.
#[derive(Debug, PartialEq)]
struct Found<T> {
    /// The first of the bounds with a success, and its poison.
    success: Option<(usize, T)>,
    /// Attacks that diverged.
    diverged: u64,
    /// The error of the last of these.
    why: Option<String>,
}

/// Attacks with one bound after the other until one succeeds. One that diverges has failed, like one that does not
/// succeed: the next bound follows.
fn smallest<T>(
    epsilons: &[f64],
    mut attack: impl FnMut(f64) -> Result<Option<T>, BenchError>,
) -> Result<Found<T>, BenchError> {
    let mut found = Found { success: None, diverged: 0, why: None };
    for (bound, &epsilon) in epsilons.iter().enumerate() {
        match attack(epsilon) {
            Ok(Some(made)) => {
                found.success = Some((bound, made));
                break;
            }
            Ok(None) => {}
            Err(error) if ends_method(&error) => {
                found.diverged += 1;
                found.why = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The successes as stored in the checkpoint.
fn kept(successes: &[Success]) -> Snapshot {
    let mut to = Snapshot::default();
    for Success { at, bound, pixels } in successes {
        to.put_count(&format!("bound/{at}"), *bound);
        to.put_data(&format!("poison/{at}"), TensorData::new(pixels.clone(), [pixels.len()]));
    }
    to
}

/// Those of the first `done` pairs, for images of `features` pixels.
fn taken(mut from: Snapshot, done: usize, features: usize) -> Result<Vec<Success>, Error> {
    let mut successes = Vec::new();
    for at in 0..done {
        if !from.has(&format!("bound/{at}")) {
            continue;
        }
        let bound = from.take_count(&format!("bound/{at}"))?;
        let shape = Shape::new([features]);
        let pixels = from.take_data(&format!("poison/{at}"), &shape, DType::F32)?;
        successes.push(Success { at, bound, pixels: pixels.iter::<f32>().collect() });
    }
    from.finish()?;
    Ok(successes)
}

/// The name of the share of successes within a bound.
fn figure(epsilon: f64) -> String {
    format!("% at {epsilon}")
}

/// The share of successes over the bound, one curve per method.
fn draw_success(
    settings: &Settings,
    targets: usize,
    reports: &[MethodReport],
    folder: &RunFolder,
) -> Result<(), BenchError> {
    let curve = |report: &MethodReport| {
        let points = settings.epsilon.iter().map(|bound| bound.get());
        let points = points.filter_map(|at| Some((at, *report.figures.get(&figure(at))?)));
        Curve { label: report.name.clone(), points: points.collect(), band: Vec::new() }
    };
    let chart = Chart {
        title: format!("clean-label poisoning of {targets} targets, seed {}", settings.common.seed),
        axis: Axis::Linear("bound of the poison's distance from its base"),
        quantity: Axis::Linear("targets misclassified, %"),
        curves: reports.iter().map(curve).collect(),
    };
    Ok(folder.write_file("success.svg", svg(&chart)?.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diverged() -> BenchError {
        Error::NotFinite { what: "upper loss", step: 1, cure: "step sizes" }.into()
    }

    #[test]
    fn an_attack_that_diverges_has_failed_and_the_next_bound_has_its_turn() {
        let attack = |epsilon: f64| if epsilon < 2.0 { Err(diverged()) } else { Ok(Some(epsilon)) };
        let found = smallest(&[1.0, 2.0, 3.0], attack).unwrap();
        assert_eq!((found.success, found.diverged), (Some((1, 2.0)), 1));

        let found = smallest::<()>(&[1.0, 2.0], |_| Err(diverged())).unwrap();
        assert_eq!((found.success, found.diverged), (None, 2));
        assert!(found.why.unwrap().contains("upper loss"));
    }

    #[test]
    fn a_setting_that_is_refused_ends_the_whole() {
        let refused = |_| Ball::new(-1.0).map(|_| None::<()>).map_err(BenchError::from);
        assert!(smallest(&[1.0], refused).is_err());
    }

    #[test]
    fn there_is_a_picture_of_successes_only() {
        let pool = Dataset::new("pool", vec![0.5; 8], vec![0, 1], [1, 2, 2], 2).unwrap();
        let pairs = [Pair { target: 0, base: 1 }];
        assert_eq!(picture(&pool, &pairs, &[]), None);
        let success = Success { at: 0, bound: 0, pixels: vec![0.2; 4] };
        let drawn = picture(&pool, &pairs, &[success]).unwrap();
        assert_eq!(drawn.matches("<image").count(), 3);
    }

    #[test]
    fn successes_are_kept_to_the_bit() {
        let pixels = vec![0.1_f32, f32::MIN_POSITIVE, 1.0 / 3.0];
        let successes = [Success { at: 1, bound: 4, pixels: pixels.clone() }];
        let again = taken(kept(&successes), 3, 3).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].at, again[0].bound, &again[0].pixels), (1, 4, &pixels));
        assert!(taken(kept(&successes), 3, 2).is_err(), "other images");
    }
}
