//! Running the methods and measuring them.

use std::sync::Arc;

use bilevel_core::{Descent, side_by_side};
use bilevel_data::{Digest, ImageClasses};
use bilevel_program::Vector;
use burn::tensor::Device;

use super::data::{Tasks, read};
use super::learner::{Learner, test_descent};
use super::{Configured, Method, Settings};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::{Auto, Experiment, Run, Trial};
use crate::report::{MethodReport, StepRecord};
use crate::settings::Offered;

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    classes: [ImageClasses; 2],
}

impl Experiment for Prepared {
    const NAME: &'static str = "few-shot";
    const ABOUT: &'static str =
        "Few-shot classification: features under a head, or the start of a network, for many tasks";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/few-shot.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let classes = read(&settings)?;
        settings.check_images(classes[0].shape())?;
        // Whether there are enough classes and images is checked before the folder is created.
        Tasks::new(classes.clone(), &settings, &Device::flex())?;
        Ok(Self { settings, classes })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.classes.iter().for_each(|part| part.feed(to));
    }

    fn arrays(&self) -> Vec<Array> {
        let Settings { way, shot, query, width, .. } = &self.settings;
        let [channels, height, side] = self.classes[0].shape();
        let images = way.get() * shot.get().max(query.get());
        vec![
            Array::new("the images of a task", [images, channels * height * side]),
            Array::new("the hidden layers of a task", [images, width.get() * height * side]),
        ]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let Self { settings, classes } = self;
        let tasks = Arc::new(Tasks::new(classes.clone(), settings, &device)?);
        let learner = Learner::new(Method::Rad, settings, tasks, classes[0].shape(), &device)?;
        learner.auto(settings)
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let tasks = Arc::new(Tasks::new(self.classes.clone(), &self.settings, &device)?);
        let methods = self.settings.method.iter();
        methods
            .map(|method| {
                run.method(&method.name(), |trial| self.method(method, &tasks, &device, trial))
            })
            .collect()
    }
}

impl Prepared {
    fn method(
        &self,
        method: &Configured,
        tasks: &Arc<Tasks>,
        device: &Device,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let settings = &method.of(&self.settings)?;
        let method = method.method;
        let shape = self.classes[0].shape();
        let learner = Learner::new(method, settings, tasks.clone(), shape, device)?;
        let mut solver = learner.solver(method, settings, trial.ranks())?;
        let descent = test_descent(method, settings)?;
        let judge = |solver: &dyn bilevel_core::Solver, tasks: usize| {
            let start = start_of(solver);
            judge(&learner, method, (solver.x(), &start), &descent, tasks)
        };
        let steps = settings.upper.upper_steps.get();
        let every = steps.div_ceil(settings.looks.get());
        let target = settings.target.get();
        let looked = settings.look_tasks.get();
        trial.drive(
            &mut *solver,
            steps,
            (settings.common.seed, device.clone()),
            |_, progress| {
                if progress.step % every > 0 || progress.step == steps {
                    return StepRecord::default();
                }
                let test_accuracy = judge(progress.solver, looked).ok().map(|judged| judged.mean);
                StepRecord { test_accuracy, ..StepRecord::default() }
            },
        )?;
        let judged = judge(&*solver, settings.test_tasks.get())?;
        let report = &mut trial.report;
        report.test_accuracy = Some(judged.mean);
        let reaches = |look: &&StepRecord| look.test_accuracy.is_some_and(|share| share >= target);
        // The evaluations of an earlier process are included.
        if let Some(first) = report.series.iter().find(reaches).map(|look| look.step + 1) {
            report.figures.insert(format!("steps to {:.0} %", 100.0 * target), first as f64);
        }
        report.figures.insert("95 % interval +-%".into(), 100.0 * judged.interval);
        report.figures.insert("s/iteration".into(), report.seconds / steps as f64);
        if let Some(last) = report.series.last_mut() {
            last.test_accuracy = Some(judged.mean);
            (report.upper_loss, report.lower_loss) = (last.upper_loss, last.lower_loss);
        }
        Ok(())
    }
}

/// The start of the lower level of a solver, which may be learned.
fn start_of(solver: &dyn bilevel_core::Solver) -> Vector {
    solver.save().take_vector("start", solver.y()).unwrap_or_else(|_| solver.y().clone())
}

/// The accuracy over tasks.
struct Judged {
    mean: f64,
    /// Half of the 95 % confidence interval of the mean over all tasks.
    interval: f64,
}

/// The accuracy on the first `n` test tasks, in parallel on the threads of rayon's pool.
fn judge(
    learner: &Learner,
    method: Method,
    at: (&Vector, &Vector),
    descent: &Descent,
    n: usize,
) -> Result<Judged, BenchError> {
    let one = |task: usize| learner.accuracy(method, at, descent, Tasks::TEST + task as u64);
    let all = side_by_side((0..n).collect(), one).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mean = all.iter().sum::<f64>() / n as f64;
    let squares = all.iter().map(|accuracy| (accuracy - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (n as f64 - 1.0).max(1.0)).sqrt();
    Ok(Judged { mean, interval: 1.96 * deviation / (n as f64).sqrt() })
}
