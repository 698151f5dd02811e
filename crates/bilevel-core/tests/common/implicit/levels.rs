//! Lower levels in closed form, whose solution is that of f or another one because of their steps.

use bilevel_core::*;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use crate::common::*;
use crate::device;

/// `f = sum a_i (y_i - x_i)^2 / 2` and `F = sum (y_i - 1)^2 / 2`, entry by entry.
pub struct Entrywise;

const A: [f64; 5] = [0.5, 0.8, 1.0, 1.5, 2.0];

#[derive(Module, Debug)]
pub struct Targets {
    pub values: Param<Tensor<1>>,
    /// u, where the weight `exp(u) = THRESHOLD` of a penalty or a rate is learned.
    pub weight: Param<Tensor<1>>,
}

impl BilevelProblem for Entrywise {
    type Upper = Targets;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, _: &Targets, y: &Values, _: &Tensor<1>) -> Tensor<1> {
        (y.values.val() - 1.0).powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, x: &Targets, y: &Values, a: &Tensor<1>) -> Tensor<1> {
        ((y.values.val() - x.values.val()).powi_scalar(2) * a.clone()).sum() / 2
    }
}

pub type EntrywiseOracle = AutodiffOracle<Entrywise, FullBatch<Tensor<1>>>;

/// With `scale` times the a_i.
pub fn entrywise(x: &[f64; 5], scale: f64) -> EntrywiseOracle {
    let a = || vector(&A, &device()) * scale;
    let [values, weight] =
        [&x[..], &[THRESHOLD.ln()]].map(|v| Param::from_tensor(vector(v, &device())));
    let (x, y) = (Targets { values, weight }, Values::new(&[0.0; 5], &device()));
    AutodiffOracle::new(Entrywise, &x, &y, FullBatch { upper: a(), lower: a() }).unwrap()
}

pub const LENGTH: f64 = 0.3;
const DECAY: f64 = 0.1;
const THRESHOLD: f64 = 0.5;
const MOMENTUM: f64 = 0.3;

pub fn bounds() -> Bounds {
    Bounds::new(-4.0, 4.0).unwrap()
}

fn gd() -> Gd {
    Gd::new(LENGTH).unwrap()
}

fn heavy() -> Momentum {
    Momentum::new(LENGTH, MOMENTUM).unwrap()
}

/// A lower level: its dynamics, and y, dy/dx and dy/du of an entry in closed form.
pub type Level = (fn() -> Box<dyn Dynamics>, fn(a: f64, x: f64) -> [f64; 3]);

/// Lower levels whose solution is that of f, or another one because of their steps.
pub const LEVELS: [Level; 6] = [
    (|| Box::new(gd()), free),
    (|| Box::new(Projected::new(gd(), bounds())), clamped),
    (|| Box::new(Projected::new(heavy(), bounds())), clamped),
    (|| Box::new(WeightDecay::new(gd(), DECAY).unwrap()), |a, x| decayed(a, x, DECAY)),
    (
        || {
            let map = SoftThreshold::new(THRESHOLD).unwrap().times(LENGTH).unwrap();
            Box::new(Projected::new(gd(), map))
        },
        |a, x| thresholded(a, x, THRESHOLD),
    ),
    // a s_u F + (1 - a) s_l f with a = 0.2 and s_u = s_l.
    (
        || Box::new(Aggregated::new(LENGTH, LENGTH, Weight::Constant(0.2)).unwrap()),
        |a, x| [(0.2 + 0.8 * a * x) / (0.2 + 0.8 * a), 0.8 * a / (0.2 + 0.8 * a), 0.0],
    ),
];

/// Weight decay as a user may write it, and another form of the ready-made one.
pub const DECAYS: [Level; 2] = [
    (
        || {
            let step = |_: &Nothing, at: Entries, g: Tensor<1>, _: Tensor<1, Int>| {
                let y = at.y.clone() - (g + at.y * DECAY) * LENGTH;
                Entries { y, memory: at.memory }
            };
            Box::new(Custom::new("decay", step))
        },
        LEVELS[3].1,
    ),
    (|| Box::new(decay_of(gd()).decoupled()), LEVELS[3].1),
];

pub fn decay_of<D: Dynamics>(inner: D) -> WeightDecay<D> {
    WeightDecay::new(inner, DECAY * LENGTH).unwrap()
}

/// Steps with a memory, a schedule or something learned, of f alone and not.
pub const COMPOSED: [Level; 12] = [
    (|| Box::new(Nesterov::standard(LENGTH).unwrap()), free),
    (|| Box::new(Clipped::by_norm(heavy(), 0.5).unwrap()), free),
    // Steps that keep the last y, by hand.
    (
        || {
            let step = |_: &Nothing, at: Entries, g: Tensor<1>, _: Tensor<1, Int>| {
                let y =
                    at.y.clone() + (at.y.clone() - at.memory[0].clone()) * MOMENTUM - g * LENGTH;
                Entries { y, memory: vec![at.y] }
            };
            Box::new(Custom::new("extrapolated", step).with_memory(1))
        },
        free,
    ),
    // A bound at y = 1, where F_y = 0: what it holds has no part in the hypergradient.
    (
        || Box::new(Projected::new(gd(), Bounds::new(-4.0, 1.0).unwrap())),
        |_, x| [x.clamp(-4.0, 1.0), f64::from(u8::from(x > -4.0 && x < 1.0)), 0.0],
    ),
    (|| Box::new(Projected::new(Gd::new(Coefficient::exp("weight")).unwrap(), bounds())), clamped),
    (
        || {
            let weight = SoftThreshold::new(Coefficient::exp("weight")).unwrap();
            Box::new(Projected::new(gd(), weight.times(LENGTH).unwrap()))
        },
        |a, x| {
            let [y, slope, _] = thresholded(a, x, THRESHOLD);
            [y, slope, -THRESHOLD / a * if y == 0.0 { 0.0 } else { y.signum() }]
        },
    ),
    // A velocity is `-s g / (1 - m)` where it is at rest.
    (|| Box::new(decay_of(heavy()).decoupled()), |a, x| decayed(a, x, DECAY * (1.0 - MOMENTUM))),
    (
        || {
            let map = SoftThreshold::new(THRESHOLD).unwrap().times(LENGTH).unwrap();
            Box::new(Projected::new(heavy(), map))
        },
        |a, x| thresholded(a, x, THRESHOLD * (1.0 - MOMENTUM)),
    ),
    // 0.8 s f with the decay 0.1 s, and 0.2 s F.
    (
        || {
            let aggregated = Aggregated::new(LENGTH, LENGTH, Weight::Constant(0.2)).unwrap();
            Box::new(decay_of(aggregated))
        },
        |a, x| [(0.2 + 0.8 * a * x) / (0.3 + 0.8 * a), 0.8 * a / (0.3 + 0.8 * a), 0.0],
    ),
    // The bound is reached by the decay too.
    (
        || Box::new(Projected::new(WeightDecay::new(gd(), DECAY).unwrap(), bounds())),
        |a, x| {
            let [y, slope, _] = decayed(a, x, DECAY);
            [y.clamp(-4.0, 4.0), if y.abs() < 4.0 { slope } else { 0.0 }, 0.0]
        },
    ),
    // A decay that vanishes, and one that does not.
    (
        || {
            let weight = Schedule::geometric(DECAY, 0.5);
            Box::new(WeightDecay::new(gd(), weight).unwrap())
        },
        free,
    ),
    (
        || {
            let weight = Schedule::milestones(10.0 * DECAY, 0.1, [20, 1000]);
            Box::new(WeightDecay::new(gd(), weight).unwrap())
        },
        |a, x| decayed(a, x, DECAY),
    ),
];

fn free(_: f64, x: f64) -> [f64; 3] {
    [x, 1.0, 0.0]
}

fn decayed(a: f64, x: f64, decay: f64) -> [f64; 3] {
    [a * x / (a + decay), a / (a + decay), 0.0]
}

fn thresholded(a: f64, x: f64, threshold: f64) -> [f64; 3] {
    match x.abs() - threshold / a {
        above if above > 0.0 => [x.signum() * above, 1.0, 0.0],
        _ => [0.0; 3],
    }
}

fn clamped(_: f64, x: f64) -> [f64; 3] {
    [x.clamp(-4.0, 4.0), f64::from(u8::from(x.abs() < 4.0)), 0.0]
}

/// No bound is active, one is by a little, one by much, and all but one are; one entry is below the threshold. All are
/// above it. All are 0, where a decay has no gradient.
pub const POINTS: [[f64; 5]; 6] = [
    [3.0, -2.0, 0.1, 3.9, -1.0],
    [3.0, -2.0, 0.1, 4.02, -1.0],
    [3.0, -9.0, 0.1, 3.5, -1.0],
    [5.0, -6.0, 0.1, -8.0, 9.0],
    [3.0, -2.0, 1.5, 3.9, -1.2],
    [0.0; 5],
];

/// Methods at the end of a descent that reaches the solution.
pub fn at_the_solution(
    dynamics: impl Fn() -> Box<dyn Dynamics>,
) -> Vec<Box<dyn HypergradientMethod>> {
    let lower = || Descent::new(dynamics(), 400).unwrap();
    vec![
        Box::new(Implicit::new(lower(), Cg::new(20, 1e-12).unwrap())),
        Box::new(Implicit::new(lower(), Gmres::new(20, 1e-12).unwrap())),
        Box::new(Implicit::new(lower(), Neumann::new(LENGTH, 400, 1e-12).unwrap())),
        Box::new(Implicit::new(lower(), Dense::new())),
        Box::new(
            Implicit::new(lower(), Cg::new(20, 1e-12).unwrap()).with_tolerances(1e-8).unwrap(),
        ),
        Box::new(FixedPoint::new(lower(), 400, 1e-12).unwrap()),
        Box::new(Unrolled::rad(lower())),
    ]
}

/// Whether y and the hypergradient are those of the closed form.
pub fn is_right(x: &[f64; 5], level: &Level, found: &Hypergradient) -> bool {
    let of_entries = A.iter().zip(x).map(|(a, x)| level.1(*a, *x));
    let (mut y, mut slopes, mut in_weight) = (vec![], vec![], 0.0);
    for [value, in_x, in_u] in of_entries {
        y.push(value);
        slopes.push((value - 1.0) * in_x);
        in_weight += (value - 1.0) * in_u;
    }
    slopes.push(in_weight);
    let near = |found: Vec<f64>, expected: Vec<f64>| {
        found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-6)
    };
    near(found.lower.to_vec(), y) && near(found.gradient.to_vec(), slopes)
}
