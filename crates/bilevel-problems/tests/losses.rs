//! The losses of the problem families on data, compared with their formulas in plain loops.

use std::sync::Once;

use bilevel_core::*;
use bilevel_problems::*;
use bilevel_program::Vector;
use burn::tensor::{Device, FloatDType, IntDType, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TOLERANCE: f64 = 1e-12;

fn device() -> Device {
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

/// Rows `[n][p]` and their classes.
#[derive(Clone)]
struct Plain {
    inputs: Vec<Vec<f64>>,
    classes: Vec<usize>,
}

impl Plain {
    fn draw(n: usize, p: usize, k: usize, rng: &mut ChaCha8Rng) -> Self {
        Self {
            inputs: (0..n).map(|_| draw(p, rng)).collect(),
            classes: (0..n).map(|_| rng.random_range(0..k)).collect(),
        }
    }

    fn on_device(&self) -> LabelledRows {
        let (n, device) = (self.classes.len(), device());
        let inputs = TensorData::new(self.inputs.concat(), [n, self.inputs[0].len()]);
        let classes: Vec<i32> = self.classes.iter().map(|&class| class as i32).collect();
        LabelledRows {
            inputs: Tensor::from_data(inputs, &device),
            classes: Tensor::from_data(TensorData::new(classes, [n]), &device),
        }
    }
}

fn draw(n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..n).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(
            error <= tolerance * expected.abs().max(1.0),
            "{what}: {found}, expected {expected}"
        );
    }
}

/// The values of the library and of the formulas for one problem at one point.
struct Case<'a> {
    oracle: &'a dyn Oracle,
    x: &'a Vector,
    y: &'a Vector,
    /// F and f.
    values: [f64; 2],
    /// `F_y` and `f_y`.
    slopes: [Vec<f64>; 2],
    /// `f_x`.
    slope_in_x: Vec<f64>,
}

impl Case<'_> {
    fn check(&self) {
        let problem = LowerProblem::new(self.oracle, self.x, Samples::default());
        for (i, objective) in [Objective::Upper, Objective::Lower].into_iter().enumerate() {
            let value = problem.value(objective, self.y).read();
            close(&format!("{objective} loss"), &[value], &[self.values[i]], TOLERANCE);
            let slope = problem.gradient(objective, self.y, Wrt::Y).1.into_y().to_vec();
            close(&format!("{objective} slope in y"), &slope, &self.slopes[i], TOLERANCE);
        }
        let slope = problem.gradient(Objective::Lower, self.y, Wrt::X).1.into_x().to_vec();
        close("f_x", &slope, &self.slope_in_x, TOLERANCE);
    }
}

/// `mean_i log(1 + exp(-b_i a_i.w))` and its gradient, stable for any score.
fn logistic(rows: &Plain, w: &[f64]) -> (f64, Vec<f64>) {
    let n = rows.classes.len() as f64;
    let (mut value, mut slope) = (0.0, vec![0.0; w.len()]);
    for (a, &class) in rows.inputs.iter().zip(&rows.classes) {
        let b = if class == 0 { -1.0 } else { 1.0 };
        let z = -b * dot(a, w);
        value += (z.max(0.0) + (-z.abs()).exp().ln_1p()) / n;
        let sigmoid = 1.0 / (1.0 + (-z).exp());
        slope.iter_mut().zip(a).for_each(|(s, a)| *s -= b * a * sigmoid / n);
    }
    (value, slope)
}

fn check_features(x: &[f64], w: &[f64], train: &Plain, validation: &Plain) {
    let data = FullBatch { upper: validation.on_device(), lower: train.on_device() };
    let (at, start) = (Values::new(x, &device()), Values::new(w, &device()));
    let oracle = AutodiffOracle::new(FeaturePenalties, &at, &start, data).unwrap();
    let ((upper, upper_slope), (lower, mut lower_slope)) =
        (logistic(validation, w), logistic(train, w));
    let penalties: Vec<f64> = x.iter().map(|x| x.exp()).collect();
    let halves: Vec<f64> = penalties.iter().zip(w).map(|(e, w)| e * w * w / 2.0).collect();
    lower_slope.iter_mut().zip(w).zip(&penalties).for_each(|((s, w), e)| *s += e * w);
    Case {
        oracle: &oracle,
        x: &oracle.upper_start(),
        y: &oracle.lower_start(),
        values: [upper, lower + halves.iter().sum::<f64>()],
        slopes: [upper_slope, lower_slope],
        slope_in_x: halves,
    }
    .check();
}

#[test]
fn feature_penalties_are_their_formula() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    for p in [1, 2, 22] {
        let (train, validation) = (Plain::draw(17, p, 2, rng), Plain::draw(9, p, 2, rng));
        let (x, w) = (draw(p, rng), draw(p, rng));
        check_features(&x, &w, &train, &validation);
        // The usual start, where all scores are at the breakpoint of a piecewise loss.
        check_features(&x, &vec![0.0; p], &train, &validation);
        // Confident wrong scores: exp overflows there.
        let far: Vec<f64> = w.iter().map(|w| 1000.0 * w).collect();
        check_features(&x, &far, &train, &validation);
    }
}

/// `mean_i -log softmax(a_i W)[b_i]` and its gradient; W by rows `[p][k]`.
fn softmax(rows: &Plain, w: &[f64], k: usize) -> (f64, Vec<f64>) {
    let n = rows.classes.len() as f64;
    let (mut value, mut slope) = (0.0, vec![0.0; w.len()]);
    for (a, &class) in rows.inputs.iter().zip(&rows.classes) {
        let score = |c: usize| a.iter().enumerate().map(|(j, a)| a * w[j * k + c]).sum::<f64>();
        let scores: Vec<f64> = (0..k).map(score).collect();
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let total = scores.iter().map(|s| (s - most).exp()).sum::<f64>();
        value += (most + total.ln() - scores[class]) / n;
        for c in 0..k {
            let pull = (scores[c] - most).exp() / total - f64::from(u8::from(c == class));
            a.iter().enumerate().for_each(|(j, a)| slope[j * k + c] += a * pull / n);
        }
    }
    (value, slope)
}

fn check_classes(x: &[f64], w: &[f64], train: &Plain, validation: &Plain) {
    let k = x.len();
    let p = w.len() / k;
    let data = FullBatch { upper: validation.on_device(), lower: train.on_device() };
    let weights = Tensor::from_data(TensorData::new(w.to_vec(), [p, k]), &device());
    let (at, start) = (Values::new(x, &device()), ClassWeights::new(weights));
    let oracle = AutodiffOracle::new(ClassPenalties, &at, &start, data).unwrap();
    let ((upper, upper_slope), (lower, mut lower_slope)) =
        (softmax(validation, w, k), softmax(train, w, k));
    let mut halves = vec![0.0; k];
    for (i, w) in w.iter().enumerate() {
        halves[i % k] += x[i % k].exp() * w * w / 2.0;
        lower_slope[i] += x[i % k].exp() * w;
    }
    Case {
        oracle: &oracle,
        x: &oracle.upper_start(),
        y: &oracle.lower_start(),
        values: [upper, lower + halves.iter().sum::<f64>()],
        slopes: [upper_slope, lower_slope],
        slope_in_x: halves,
    }
    .check();
}

#[test]
fn class_penalties_are_their_formula() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    for (p, k) in [(1, 2), (7, 3), (5, 20)] {
        let (train, validation) = (Plain::draw(17, p, k, rng), Plain::draw(9, p, k, rng));
        let (x, w) = (draw(k, rng), draw(p * k, rng));
        check_classes(&x, &w, &train, &validation);
        check_classes(&x, &vec![0.0; p * k], &train, &validation);
        let far: Vec<f64> = w.iter().map(|w| 1000.0 * w).collect();
        check_classes(&x, &far, &train, &validation);
    }
}

#[test]
fn zeros_are_all_classes_alike() {
    let weights = ClassWeights::zeros(4, 3, &device());
    let rows = Plain::draw(5, 4, 3, &mut ChaCha8Rng::seed_from_u64(3)).on_device();
    let logits = weights.forward(rows.inputs.clone());
    assert_eq!(logits.dims(), [5, 3]);
    assert!(logits.into_data().iter::<f64>().all(|logit| logit == 0.0));
}

/// Second derivatives and differentiation through the lower solution: implicit and unrolled hypergradients
/// agree with each other and with finite differences.
#[test]
fn hypergradients_of_both_families_agree_with_differences() {
    let rng = &mut ChaCha8Rng::seed_from_u64(4);
    let (p, k) = (3, 3);
    let (train, validation) = (Plain::draw(20, p, k, rng), Plain::draw(20, p, k, rng));
    let data = FullBatch { upper: validation.on_device(), lower: train.on_device() };
    let weights = ClassWeights::zeros(p, k, &device());
    let at = Values::new(&[-1.0, -0.5, 0.0], &device());
    let oracle = AutodiffOracle::new(ClassPenalties, &at, &weights, data).unwrap();
    agrees_with_differences(&oracle, &oracle.upper_start(), &oracle.lower_start());

    let two = |rows: &Plain| Plain {
        classes: rows.classes.iter().map(|class| class % 2).collect(),
        ..rows.clone()
    };
    let data = FullBatch { upper: two(&validation).on_device(), lower: two(&train).on_device() };
    let w = Values::new(&[0.0; 3], &device());
    let oracle = AutodiffOracle::new(FeaturePenalties, &at, &w, data).unwrap();
    agrees_with_differences(&oracle, &oracle.upper_start(), &oracle.lower_start());
}

fn agrees_with_differences(oracle: &dyn Oracle, x: &Vector, y: &Vector) {
    let descent = || Descent::new(Gd::new(0.4).unwrap(), 400).unwrap();
    let solved = |x: &Vector| {
        let problem = LowerProblem::new(oracle, x, Samples::default());
        let end = descent().run(&problem, y).unwrap();
        problem.value(Objective::Upper, &end.state.y).read()
    };
    let problem = || LowerProblem::new(oracle, x, Samples::default());
    let unrolled = Unrolled::rad(descent()).hypergradient(problem(), y).unwrap().gradient.to_vec();
    let cg = Cg::new(50, 1e-14).unwrap();
    let implicit = Implicit::new(descent(), cg).hypergradient(problem(), y).unwrap();
    close("implicit", &implicit.gradient.to_vec(), &unrolled, 1e-9);
    let (values, h) = (x.to_vec(), 1e-4);
    for j in 0..values.len() {
        let moved = |step: f64| {
            let mut values = values.clone();
            values[j] += step;
            solved(&Vector::from_slice(x.layout(), &values, &device()))
        };
        let slope = (moved(h) - moved(-h)) / (2.0 * h);
        assert!((slope - unrolled[j]).abs() < 1e-7, "x_{j}: {slope}, found {}", unrolled[j]);
    }
}
