//! Poisons that make the classifier err everywhere.

use bilevel_core::{AutodiffOracle, Frozen, FullBatch};
use bilevel_models::{
    ClassifierConfig, ImageClassifier, ImageClassifierConfig, SoftmaxRegressionConfig,
};
use burn::tensor::{Device, Int, Tensor};
use rand::Rng;

use super::method::{Allowed, solver};
use super::run::{Prepared, retrained};
use super::{Goal, Method, PoisonBatch, Poisoning, Poisons, Representation, Settings};
use crate::error::BenchError;
use crate::experiments::images::{integers, judging, on_device, share_right};
use crate::experiments::{Run, Trial};
use crate::report::pictures::{Row, pictures};
use crate::report::{MethodReport, StepRecord};
use crate::settings::Offered;
use bilevel_data::loader::ImageBatch;
use bilevel_data::{Dataset, Purpose, stream};

/// Poisons that are drawn beside their bases.
const SHOWN: usize = 10;

/// The data on a device, and state shared by all methods.
pub(super) struct Untargeted<'a> {
    settings: &'a Settings,
    bases: &'a Dataset,
    given: Vec<usize>,
    /// Its features are the pixels.
    pixels: ImageClassifierConfig,
    train: ImageBatch,
    validation: ImageBatch,
    test: Vec<ImageBatch>,
    device: Device,
}

impl<'a> Untargeted<'a> {
    pub fn new(prepared: &'a Prepared, device: Device) -> Result<Self, BenchError> {
        let Prepared { settings, parts, bases, .. } = prepared;
        let bases = bases.as_ref().expect("untargeted poisons have bases");
        let mut rng = stream(settings.common.seed, Purpose::Noise);
        let classes = bases.classes();
        let mut wrong = |&label: &u32| (label as usize + rng.random_range(1..classes)) % classes;
        let config = SoftmaxRegressionConfig::new(bases.features(), classes);
        Ok(Self {
            settings,
            bases,
            given: bases.labels().iter().map(&mut wrong).collect(),
            pixels: ImageClassifierConfig::Flat(ClassifierConfig::Softmax(config)),
            train: on_device(&parts.train, &device),
            validation: on_device(&parts.validation, &device),
            test: judging(&parts.test, &device)?,
            device,
        })
    }

    pub fn run(&self, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let methods = self.settings.method.iter();
        methods
            .map(|&method| run.method(&method.name(), |trial| self.attack(method, trial)))
            .collect()
    }

    fn attack(&self, method: Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let poisons = match method {
            Method::Clean => None,
            Method::Flipped => Some(on_device(self.bases, &self.device).images),
            _ => Some(self.poisons(method, trial)?),
        };
        trial.report.baseline = matches!(method, Method::Clean | Method::Flipped);
        let accuracy = trial.timed(|| self.accuracy_after(poisons.clone()))?;
        let report = &mut trial.report;
        report.test_accuracy = Some(accuracy);
        if report.baseline {
            let poisons = poisons.map_or(0, |poisons| poisons.dims()[0]);
            report.status = format!("{poisons} poisons");
            return Ok(());
        }
        let Some(poisons) = poisons else { return Ok(()) };
        self.draw(method, poisons, trial)
    }

    /// The poisons that a bilevel method makes.
    fn poisons(&self, method: Method, trial: &mut Trial<'_>) -> Result<Tensor<4>, BenchError> {
        let bases = on_device(self.bases, &self.device).images;
        let features = self.bases.features();
        self.device.seed(self.settings.common.seed);
        let config = SoftmaxRegressionConfig::new(features, self.bases.classes());
        let (x, y) = (Poisons::new(bases.clone()), config.init(&self.device));
        let seen = |batch: &ImageBatch| PoisonBatch {
            representation: Representation {
                network: Frozen(self.pixels()),
                centre: Tensor::zeros([1, 1], &self.device),
                unit: 1.0,
            },
            bases: bases.zeros_like(),
            given: integers(self.given.iter().copied(), &self.device),
            features: batch.images.clone().flatten(1, 3),
            labels: batch.labels.clone(),
        };
        let data = FullBatch { upper: seen(&self.validation), lower: seen(&self.train) };
        let (goal, decay) = (Goal::Untargeted, self.settings.decay.get());
        let problem = Poisoning { goal, decay, bound: None };
        let oracle = AutodiffOracle::new(problem, &x, &y, data)?;
        // The lower loss is a mean: one poison contributes one part in the number of all samples.
        let samples = self.settings.split.train.get() + self.settings.poisons();
        let rate = self.settings.upper.learning_rate.get() * samples as f64;
        let mut solver = solver(method, &oracle, Allowed::Pixels, rate, self.settings)?;
        let seed = (self.settings.common.seed, self.device.clone());
        // The report is not about the y reached in a few steps.
        let steps = self.settings.upper.upper_steps.get();
        trial.drive(&mut *solver, steps, seed, |_, _| StepRecord::default())?;
        let report = &mut trial.report;
        if let Some(last) = report.series.last() {
            (report.upper_loss, report.lower_loss) = (last.upper_loss, last.lower_loss);
        }
        Ok(oracle.upper_module(solver.x()).shift())
    }

    fn pixels(&self) -> ImageClassifier {
        self.pixels.init(&self.device)
    }

    /// The test accuracy of a newly trained classifier, on the training set and the poisons.
    fn accuracy_after(&self, poisons: Option<Tensor<4>>) -> Result<f64, BenchError> {
        let (mut inputs, mut labels) = (self.train.images.clone(), self.train.labels.clone());
        if let Some(poisons) = poisons {
            let given: Tensor<1, Int> = integers(self.given.iter().copied(), &self.device);
            inputs = Tensor::cat(vec![inputs, poisons], 0);
            labels = Tensor::cat(vec![labels, given], 0);
        }
        let network = retrained(
            inputs.flatten(1, 3),
            labels,
            self.bases.classes(),
            self.settings.decay.get(),
        )?;
        Ok(share_right(&network, &self.test))
    }

    fn draw(
        &self,
        method: Method,
        poisons: Tensor<4>,
        trial: &Trial<'_>,
    ) -> Result<(), BenchError> {
        let shown = SHOWN.min(self.bases.len());
        let poisons: Vec<f32> = poisons.into_data().iter::<f32>().collect();
        let poisons = poisons.chunks(self.bases.features()).take(shown);
        let rows = [
            Row { name: "base", images: (0..shown).map(|at| self.bases.image(at)).collect() },
            Row { name: "poison", images: poisons.collect() },
        ];
        let svg = pictures(&rows, self.bases.shape());
        let name = format!("poisons-{}.svg", method.name());
        Ok(trial.folder().write_file(&name, svg.as_bytes())?)
    }
}
