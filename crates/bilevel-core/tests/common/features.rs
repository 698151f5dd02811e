//! An extractor x and a head y: methods on the features give what they give on the whole, on the device of the binary that
//! includes this file.

use std::sync::atomic::{AtomicUsize, Ordering};

use bilevel_core::*;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};

use crate::common::*;
use crate::device;

/// `tanh(inputs w)`, and a learned rate that the head must not see.
#[derive(Module, Debug)]
struct Extractor {
    weight: Param<Tensor<2>>,
    rate: Param<Tensor<1>>,
}

/// Logistic regression on the features, penalised in f.
#[derive(Clone, Copy)]
struct Represented {
    /// Whether the head differs from that of the losses.
    wrong: bool,
}

impl BilevelProblem for Represented {
    type Upper = Extractor;
    type Lower = Values;
    type Batch = Points;

    fn upper_loss(&self, x: &Extractor, y: &Values, batch: &Points) -> Tensor<1> {
        let right = Self { wrong: false };
        right.head_loss(Objective::Upper, y, self.features(x, batch), batch)
    }

    fn lower_loss(&self, x: &Extractor, y: &Values, batch: &Points) -> Tensor<1> {
        let right = Self { wrong: false };
        right.head_loss(Objective::Lower, y, self.features(x, batch), batch)
    }
}

impl FeatureProblem for Represented {
    fn features(&self, x: &Extractor, batch: &Points) -> Tensor<2> {
        batch.inputs.clone().matmul(x.weight.val()).tanh()
    }

    fn head_loss(
        &self,
        objective: Objective,
        y: &Values,
        features: Tensor<2>,
        batch: &Points,
    ) -> Tensor<1> {
        let scores = features.matmul(y.values.val().unsqueeze_dim(1)).squeeze_dim::<1>(1);
        let fit = -activation::log_sigmoid(scores * batch.targets.clone()).mean();
        match objective {
            Objective::Upper if self.wrong => fit * 2,
            Objective::Upper => fit,
            Objective::Lower => fit + y.values.val().powi_scalar(2).sum() / 20,
        }
    }
}

const WIDTH: usize = 3;

type Found = FeatureOracle<Represented, FullBatch<Points>>;

fn oracle(wrong: bool) -> Result<Found, Error> {
    let device = device();
    let weight = vector(&numbers(3, FEATURES * WIDTH), &device).reshape([FEATURES, WIDTH]);
    let rate = Param::from_tensor(vector(&[-1.0], &device));
    let x = Extractor { weight: Param::from_tensor(weight), rate };
    let y = Values::new(&[0.1, -0.2, 0.3], &device);
    let fit = Fit::Logistic;
    let data = FullBatch {
        upper: batch(fit, Objective::Upper, &device),
        lower: batch(fit, Objective::Lower, &device),
    };
    FeatureOracle::new(Represented { wrong }, &x, &y, data)
}

fn steps() -> Descent {
    descent(Momentum::new(0.4, 0.7), 12)
}

const METHODS: [fn() -> Box<dyn HypergradientMethod>; 6] = [
    || Box::new(Unrolled::rad(steps())),
    || Box::new(Unrolled::rad(steps()).with_plan(Plan::Sqrt)),
    || Box::new(Unrolled::trad(steps(), 5).unwrap()),
    || Box::new(Unrolled::ia_gm(steps())),
    || Box::new(Implicit::new(steps(), Cg::new(20, 1e-13).unwrap())),
    || Box::new(FixedPoint::new(descent(Gd::new(0.5), 80), 60, 1e-10).unwrap()),
];

#[test]
fn a_method_on_features_is_the_method() {
    let oracle = Counted::new(oracle(false).unwrap());
    let (start, y) = (oracle.whole().upper_start(), oracle.whole().lower_start());
    for make in METHODS {
        // The second x differs from that at which the head was recorded.
        for x in [start.clone(), start.scale(0.7)] {
            let problem = LowerProblem::new(&oracle, &x, Samples::default());
            let before = oracle.cost();
            let expected = make().hypergradient(problem, &y).unwrap();
            let direct = oracle.cost() - before;
            let mut on_features = OnFeatures::new(make());
            let before = oracle.cost();
            let found = on_features.hypergradient(problem, &y).unwrap();
            let what = on_features.describe();
            assert_eq!(oracle.cost() - before, direct, "{what}");
            assert_close(&what, &found.gradient.to_vec(), &expected.gradient.to_vec(), 1e-11);
            assert_close(&what, &found.lower.to_vec(), &expected.lower.to_vec(), 1e-12);
            assert_eq!(found.start.is_some(), expected.start.is_some());
            let losses = [&found, &expected].map(|each| each.upper_loss.read());
            assert_close(&what, &losses[..1], &losses[1..], 1e-13);
        }
    }
}

/// Counts extractions of features and backward passes through the extractor; the losses of x and y are not to be evaluated.
struct Extracting<'o> {
    inner: &'o Found,
    extractions: AtomicUsize,
    backward: AtomicUsize,
}

impl Oracle for Extracting<'_> {
    forward_oracle!(inner: upper_layout, lower_layout);

    fn value(&self, _: Objective, _: Point<'_>) -> Loss {
        unreachable!("a method on features evaluates the head")
    }

    fn gradient(&self, _: Objective, _: Point<'_>, _: Wrt) -> (Loss, Partials) {
        unreachable!("a method on features differentiates the head")
    }

    fn product(&self, _: Objective, _: Point<'_>, _: Direction<'_>, _: Wrt) -> Partials {
        unreachable!("a method on features differentiates the head")
    }

    fn reduced<'a>(&'a self, x: &Vector, samples: Samples) -> Option<Result<Reduced<'a>, Error>> {
        self.extractions.fetch_add(1, Ordering::Relaxed);
        let reduced = self.inner.reduced(x, samples)?;
        Some(reduced.map(|Reduced { oracle, u, pull_back }| {
            let counted = move |w: &Vector| {
                self.backward.fetch_add(1, Ordering::Relaxed);
                pull_back(w)
            };
            Reduced { oracle, u, pull_back: Box::new(counted) }
        }))
    }
}

#[test]
fn features_are_extracted_once_and_differentiated_once() {
    let inner = &oracle(false).unwrap();
    let (x, y) = (inner.whole().upper_start(), inner.whole().lower_start());
    for make in METHODS {
        let [extractions, backward] = [0; 2].map(AtomicUsize::new);
        let oracle = Extracting { inner, extractions, backward };
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let mut method = OnFeatures::new(make());
        method.hypergradient(problem, &y).unwrap();
        let passes = [oracle.extractions, oracle.backward].map(AtomicUsize::into_inner);
        assert_eq!(passes, [1, 1], "{}", method.describe());
    }
}

/// Methods whose state is like y, and like x, which are the features here.
#[test]
fn it_trains_from_warm_starts_and_resumes() {
    let cg = || {
        let cg = Implicit::new(descent(Gd::new(0.5), 10), Cg::new(20, 1e-12).unwrap());
        Box::new(cg.with_warm_start()) as Box<dyn HypergradientMethod>
    };
    let fsla = || {
        let fsla = Fsla::new(Rates::new(0.1, 0.1).unwrap(), 0.5).unwrap();
        Box::new(JointStep::new(fsla)) as Box<dyn HypergradientMethod>
    };
    for (make_method, is_joint) in [(cg as fn() -> _, false), (fsla, true)] {
        let oracle = oracle(false).unwrap();
        let make = |on_features| {
            let (x, y) = (oracle.whole().upper_start(), oracle.whole().lower_start());
            let method: Box<dyn HypergradientMethod> = match on_features {
                true => Box::new(OnFeatures::new(make_method())),
                false => make_method(),
            };
            let step = GradientStep::new(0.5).unwrap();
            HypergradientSolver::new(&oracle, method, step, x, y).with_start(Start::Warm).unwrap()
        };
        let (mut whole, mut first, mut second) = (make(true), make(true), make(true));
        for k in 0..6 {
            whole.step(k).unwrap();
            if k < 3 {
                first.step(k).unwrap();
            }
        }
        second.restore(first.save()).unwrap();
        assert_eq!(second.save(), first.save(), "before its first step");
        for k in 3..6 {
            second.step(k).unwrap();
        }
        assert_eq!(second.save(), whole.save());
        if !is_joint {
            let mut direct = make(false);
            for k in 0..6 {
                direct.step(k).unwrap();
            }
            assert_close("x", &whole.x().to_vec(), &direct.x().to_vec(), 1e-9);
        }
    }
}

#[test]
fn what_the_features_do_not_have_is_refused() {
    let found = oracle(false).unwrap();
    let (x, y) = (found.whole().upper_start(), found.whole().lower_start());
    let gradient = |oracle: &dyn Oracle, descent: Descent| {
        let problem = LowerProblem::new(oracle, &x, Samples::default());
        OnFeatures::new(Unrolled::rad(descent)).hypergradient(problem, &y).map(drop)
    };
    let plain = || descent(Gd::new(0.4), 3);
    gradient(&found, plain()).unwrap();
    let learned = gradient(&found, descent(Gd::new(Coefficient::exp("rate")), 3)).unwrap_err();
    assert!(matches!(learned, Error::UpperVariable { .. }), "{learned}");
    let sampled = plain().with_sampler(Sampler::full());
    let sampled = gradient(&found, sampled).unwrap_err();
    assert!(matches!(sampled, Error::Sampler { .. }), "{sampled}");
    let unknown = gradient(found.whole(), plain()).unwrap_err();
    assert!(unknown.to_string().contains("`FeatureOracle`"), "{unknown}");
    let wrong = oracle(true).err().unwrap();
    assert!(matches!(wrong, Error::SplitLoss { .. }), "{wrong}");
}
