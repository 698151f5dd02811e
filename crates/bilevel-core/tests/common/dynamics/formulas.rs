//! The steps compared with their formulas, on plain numbers: derivatives alone do not reveal a wrong formula that is
//! correctly differentiated.

use bilevel_core::*;
use bilevel_program::Vector;
use burn::module::Param;
use burn::tensor::{Int, Tensor};

use super::special::end;
use super::tuning::*;
use crate::common::*;
use crate::device;

const STEPS: usize = 4;

/// A gradient of F or f in y.
type Slope<'a> = &'a dyn Fn(Objective, &[f64]) -> Vec<f64>;

/// Compares `dynamics` with `step(t, y, slope)`, entry by entry.
fn check(
    name: &str,
    dynamics: &dyn Dynamics,
    mut step: impl FnMut(usize, &[f64], Slope<'_>) -> Vec<f64>,
) {
    let oracle = tuning(Fit::Logistic, false);
    let (x, start) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let slope = |objective, y: &[f64]| {
        let y = Vector::from_slice(start.layout(), y, &start.device());
        problem.gradient(objective, &y, Wrt::Y).1.into_y().to_vec()
    };
    let expected = (0..STEPS).fold(start.to_vec(), |y, t| step(t, &y, &slope));
    assert_close(name, &end(&oracle, &x, dynamics, STEPS), &expected, 1e-13);
}

fn zip(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
}

const LOWER: Objective = Objective::Lower;

#[test]
fn gd_and_momentum() {
    // x holds log(0.25), and 0.7 before its sigmoid.
    let (s, m) = (0.25, 1.0 / (1.0 + (-0.7_f64).exp()));
    let rate = || Coefficient::exp("rate");
    for gd in [Gd::new(s).unwrap(), Gd::new(rate()).unwrap()] {
        check("gd", &gd, |_, y, slope| zip(y, &slope(LOWER, y), |y, g| y - s * g));
    }
    for momentum in [
        Momentum::new(s, m).unwrap(),
        Momentum::new(rate(), Coefficient::sigmoid("momentum")).unwrap(),
    ] {
        let mut v = vec![0.0; FEATURES * FEATURES_OUT + FEATURES_OUT];
        check("momentum", &momentum, |_, y, slope| {
            v = zip(&v, &slope(LOWER, y), |v, g| m * v - s * g);
            zip(y, &v, |y, v| y + v)
        });
    }
}

#[test]
fn nesterov() {
    for (growth, nesterov) in
        [(1.0, Nesterov::new(0.3).unwrap()), (4.0, Nesterov::standard(0.3).unwrap())]
    {
        let (mut before, mut k, mut next) = (None, 1.0_f64, 1.0);
        check("nesterov", &nesterov, |_, y, slope| {
            let before = before.replace(y.to_vec()).unwrap_or_else(|| y.to_vec());
            let u = zip(y, &before, |y, b| y + (k - 1.0) / next * (y - b));
            (k, next) = (next, (1.0 + (1.0 + growth * next * next).sqrt()) / 2.0);
            // The first two steps extrapolate by (t_0 - 1): nothing.
            zip(&u, &slope(LOWER, &u), |u, g| u - 0.3 * g)
        });
    }
}

#[test]
fn adam() {
    let [s, b1, b2, eps] = [0.1, 0.7, 0.8, 0.05];
    let adam = Adam::new(s).unwrap().with_decay(b1, b2).unwrap().with_epsilon(eps).unwrap();
    let size = FEATURES * FEATURES_OUT + FEATURES_OUT;
    let (mut m, mut v) = (vec![0.0; size], vec![0.0; size]);
    check("adam", &adam, |t, y, slope| {
        let g = slope(LOWER, y);
        m = zip(&m, &g, |m, g| b1 * m + (1.0 - b1) * g);
        v = zip(&v, &g, |v, g| b2 * v + (1.0 - b2) * g * g);
        let k = t as i32 + 1;
        let moved =
            zip(&m, &v, |m, v| m / (1.0 - b1.powi(k)) / (v / (1.0 - b2.powi(k)) + eps).sqrt());
        zip(y, &moved, |y, d| y - s * d)
    });
}

/// Adam outside of a descent is the Adam of a descent.
#[test]
fn moments() {
    let s = 0.2;
    let adam = Adam::new(s).unwrap().with_epsilon_outside(1e-8).unwrap();
    let mut moments = Moments::default();
    let like = tuning(Fit::Logistic, false).lower_start();
    check("moments", &adam, |_, y, slope| {
        let g = Vector::from_slice(like.layout(), &slope(LOWER, y), &like.device());
        zip(y, &moments.rescale(&g).to_vec(), |y, d| y - s * d)
    });
}

#[test]
fn rms_prop() {
    let [s, b, eps] = [0.1, 0.8, 0.05];
    let rms_prop = RmsProp::new(s).unwrap().with_decay(b).unwrap().with_epsilon(eps).unwrap();
    let mut v = vec![0.0; FEATURES * FEATURES_OUT + FEATURES_OUT];
    check("rms-prop", &rms_prop, |_, y, slope| {
        let g = slope(LOWER, y);
        v = zip(&v, &g, |v, g| b * v + (1.0 - b) * g * g);
        let moved = zip(&g, &v, |g, v| g / (v + eps).sqrt());
        zip(y, &moved, |y, d| y - s * d)
    });
}

#[test]
fn eps_outside_the_root() {
    let [s, b1, b2, eps] = [0.1, 0.7, 0.8, 0.05];
    let adam = Adam::new(s).unwrap().with_decay(b1, b2).unwrap().with_epsilon_outside(eps).unwrap();
    let size = FEATURES * FEATURES_OUT + FEATURES_OUT;
    let (mut m, mut v) = (vec![0.0; size], vec![0.0; size]);
    check("adam", &adam, |t, y, slope| {
        let g = slope(LOWER, y);
        m = zip(&m, &g, |m, g| b1 * m + (1.0 - b1) * g);
        v = zip(&v, &g, |v, g| b2 * v + (1.0 - b2) * g * g);
        let k = t as i32 + 1;
        let moved =
            zip(&m, &v, |m, v| m / (1.0 - b1.powi(k)) / ((v / (1.0 - b2.powi(k))).sqrt() + eps));
        zip(y, &moved, |y, d| y - s * d)
    });
    let rms_prop =
        RmsProp::new(s).unwrap().with_decay(b2).unwrap().with_epsilon_outside(eps).unwrap();
    let mut v = vec![0.0; size];
    check("rms-prop", &rms_prop, |_, y, slope| {
        let g = slope(LOWER, y);
        v = zip(&v, &g, |v, g| b2 * v + (1.0 - b2) * g * g);
        let moved = zip(&g, &v, |g, v| g / (v.sqrt() + eps));
        zip(y, &moved, |y, d| y - s * d)
    });
}

#[test]
fn aggregated_and_pessimistic() {
    let weight = Weight::Decaying(0.9);
    let capped = Weight::Capped { c: 0.9, most: 0.4 };
    let (upper, lower) = (Schedule::power(0.4, 0.5), Schedule::geometric(0.3, 0.9));
    for (sign, most, dynamics) in [
        (1.0, 1.0, Aggregated::new(upper, lower, weight).unwrap()),
        (-1.0, 1.0, Aggregated::pessimistic(upper, lower, weight).unwrap()),
        (1.0, 0.4, Aggregated::new(upper, lower, capped).unwrap()),
    ] {
        check("aggregated", &dynamics, |t, y, slope| {
            let a = (0.9 / (t as f64 + 1.0)).min(most);
            let (s, r) = (0.4 / (t as f64 + 1.0).sqrt(), 0.3 * 0.9_f64.powi(t as i32));
            let both = zip(&slope(Objective::Upper, y), &slope(LOWER, y), |upper, lower| {
                sign * a * s * upper + (1.0 - a) * r * lower
            });
            zip(y, &both, |y, d| y - d)
        });
    }
}

#[test]
fn projected_and_preconditioned() {
    let gd = || Gd::new(0.3).unwrap();
    let bounds = Projected::new(gd(), Bounds::new(-0.2, 0.3).unwrap());
    check("bounds", &bounds, |_, y, slope| {
        zip(y, &slope(LOWER, y), |y, g| (y - 0.3 * g).clamp(-0.2, 0.3))
    });
    let soft = Projected::new(gd(), SoftThreshold::new(0.05).unwrap());
    check("soft threshold", &soft, |_, y, slope| {
        let soft = |v: f64| v.signum() * (v.abs() - 0.05).max(0.0);
        zip(y, &slope(LOWER, y), |y, g| soft(y - 0.3 * g))
    });
    let x = tuning(Fit::Logistic, false).upper_start();
    // The values of x at a path and below it.
    let under = |path: &str| -> Vec<f64> {
        let mut values = x.to_vec().into_iter();
        let leaves = x.layout().leaves().iter();
        let here = leaves.map(|leaf| (leaf.path.starts_with(path), leaf.shape.num_elements()));
        here.flat_map(|(is_it, size)| {
            let here: Vec<_> = values.by_ref().take(size).collect();
            if is_it { here } else { Vec::new() }
        })
        .collect()
    };
    let w = under("factors");
    let diagonal = Preconditioned::new(gd(), Diagonal::new("factors"));
    check("diagonal", &diagonal, |_, y, slope| {
        let turned = zip(&w, &slope(LOWER, y), |w, g| w * g);
        zip(y, &turned, |y, g| y - 0.3 * g)
    });
    let (left, right) = (under("curvature.0"), under("curvature.1"));
    let kronecker = Preconditioned::new(gd(), Kronecker::new("curvature"));
    check("kronecker", &kronecker, |_, y, slope| {
        let mut g = slope(LOWER, y);
        let weights = FEATURES * FEATURES_OUT;
        let matrix = multiply(&left, &g[..weights], FEATURES);
        g.splice(..weights, multiply(&matrix, &right, FEATURES_OUT));
        zip(y, &g, |y, g| y - 0.3 * g)
    });
}

/// The product of two matrices, the second with this many rows.
fn multiply(a: &[f64], b: &[f64], rows: usize) -> Vec<f64> {
    let columns = b.len() / rows;
    let entry = |row: &[f64], j: usize| (0..rows).map(|k| row[k] * b[k * columns + j]).sum();
    a.chunks(rows).flat_map(|row| (0..columns).map(move |j| entry(row, j))).collect()
}

#[test]
fn a_custom_step_is_the_one_that_is_written_by_hand() {
    let oracle = tuning(Fit::Logistic, false);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let rate = || Coefficient::exp("rate");
    let by_hand: [Box<dyn Dynamics>; 4] = [
        Box::new(Momentum::new(rate(), 0.8).unwrap()),
        Box::new(Adam::new(rate()).unwrap().with_epsilon(0.05).unwrap()),
        Box::new(RmsProp::new(rate()).unwrap().with_epsilon(0.05).unwrap()),
        Box::new(Clipped::by_norm(Gd::new(rate()).unwrap(), 0.05).unwrap()),
    ];
    type Step = fn(&Param<Tensor<1>>, Entries, Tensor<1>, Tensor<1, Int>) -> Entries;
    let steps: [(usize, Step); 4] = [
        (1, |rate, at, g, _| {
            let v = at.memory[0].clone() * 0.8 - g * rate.val().exp();
            Entries { y: at.y + v.clone(), memory: vec![v] }
        }),
        (2, |rate, at, g, t| {
            let k = t.float() + 1.0;
            let moment =
                |old: &Tensor<1>, b: f64, new: Tensor<1>| old.clone() * b + new * (1.0 - b);
            let unbiased =
                |m: &Tensor<1>, b: f64| m.clone() / ((k.clone() * b.ln()).exp() * -1.0 + 1.0);
            let m = moment(&at.memory[0], 0.9, g.clone());
            let v = moment(&at.memory[1], 0.999, g.powi_scalar(2));
            let step = unbiased(&m, 0.9) / (unbiased(&v, 0.999) + 0.05).sqrt();
            Entries { y: at.y - step * rate.val().exp(), memory: vec![m, v] }
        }),
        (1, |rate, at, g, _| {
            let v = at.memory[0].clone() * 0.9 + g.clone().powi_scalar(2) * 0.1;
            let y = at.y - g / (v.clone() + 0.05).sqrt() * rate.val().exp();
            Entries { y, memory: vec![v] }
        }),
        (0, |rate, at, g, _| {
            let norm = g.clone().powi_scalar(2).sum().sqrt();
            let y = at.y - g * (norm.recip() * 0.05).clamp_max(1.0) * rate.val().exp();
            Entries { y, memory: at.memory }
        }),
    ];
    let like = Param::from_tensor(Tensor::<1>::zeros([1], &device()));
    let methods = |descent: &Descent| -> [Box<dyn HypergradientMethod>; 2] {
        [Box::new(Unrolled::rad(descent.clone())), Box::new(Fad::new(descent.clone()))]
    };
    for (by_hand, (memories, step)) in by_hand.into_iter().zip(steps) {
        let name = by_hand.describe();
        let custom = Custom::learned("custom", "rate", &like, step).with_memory(memories);
        let [by_hand, custom] = [by_hand, Box::new(custom) as Box<dyn Dynamics>]
            .map(|dynamics| Descent::new(dynamics, 6).unwrap());
        for (mut by_hand, mut derived) in methods(&by_hand).into_iter().zip(methods(&custom)) {
            let expected = by_hand.hypergradient(problem, &y).unwrap();
            let found = derived.hypergradient(problem, &y).unwrap();
            assert_close(&name, &found.lower.to_vec(), &expected.lower.to_vec(), 1e-13);
            assert_close(&name, &found.gradient.to_vec(), &expected.gradient.to_vec(), 1e-11);
        }
    }
}

#[test]
fn schedules_parts_clipping_and_decay() {
    let s = |t: usize| 0.4 / (t as f64 + 1.0).sqrt();
    let scheduled = Gd::new(Schedule::power(0.4, 0.5)).unwrap();
    check("scheduled", &scheduled, |t, y, slope| zip(y, &slope(LOWER, y), |y, g| y - s(t) * g));

    // x holds these logarithms; the last holds for all later steps.
    let rates = [-1.2_f64, -1.6];
    let learned = Gd::new(Coefficient::exp("rates").each_step()).unwrap();
    check("a rate a step", &learned, |t, y, slope| {
        zip(y, &slope(LOWER, y), |y, g| y - rates[t.min(1)].exp() * g)
    });

    let parts = Coefficient::parts([("weight", Coefficient::exp("rate")), ("", 0.2.into())]);
    check("parts", &Gd::new(parts).unwrap(), |_, y, slope| {
        let g = slope(LOWER, y);
        let rate = |i: usize| if i < FEATURES * FEATURES_OUT { 0.25 } else { 0.2 };
        (0..y.len()).map(|i| y[i] - rate(i) * g[i]).collect()
    });

    let gd = || Gd::new(0.3).unwrap();
    check("by value", &Clipped::by_value(gd(), 0.02).unwrap(), |_, y, slope| {
        zip(y, &slope(LOWER, y), |y, g| y - 0.3 * g.clamp(-0.02, 0.02))
    });
    check("by norm", &Clipped::by_norm(gd(), 0.05).unwrap(), |_, y, slope| {
        let g = slope(LOWER, y);
        let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(norm > 0.05, "{norm}");
        zip(y, &g, |y, g| y - 0.3 * g * (0.05 / norm).min(1.0))
    });
    let decay = || WeightDecay::new(gd(), 0.1).unwrap();
    check("decay", &decay(), |_, y, slope| {
        zip(y, &slope(LOWER, y), |y, g| y - 0.3 * (g + 0.1 * y))
    });
    check("decoupled", &decay().decoupled(), |_, y, slope| {
        zip(y, &slope(LOWER, y), |y, g| y - 0.3 * g - 0.1 * y)
    });
}

#[test]
fn coefficients_and_functions_that_do_not_fit_are_refused() {
    let oracle = tuning(Fit::Squares, false);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let refusal = |dynamics: &dyn Dynamics| dynamics.check(&x, &y).unwrap_err().to_string();
    let weights = Gd::new(Coefficient::parts([("weight", 0.1.into())])).unwrap();
    assert!(refusal(&weights).contains("none for the variable `bias` of y"));
    let beginning = Coefficient::parts([("weigh", 0.1.into()), ("", 0.2.into())]);
    assert!(refusal(&Gd::new(beginning).unwrap()).contains("`weigh`, where y has no variable"));
    let matrix = Gd::new(Coefficient::exp("warp").each_step()).unwrap();
    assert!(refusal(&matrix).contains("`warp` of shape [2, 2]"), "{}", refusal(&matrix));
    let like = Param::from_tensor(Tensor::<1>::zeros([2], &device()));
    let step = |_: &Param<Tensor<1>>, at: Entries, g: Tensor<1>, _: Tensor<1, Int>| Entries {
        y: at.y - g,
        memory: at.memory,
    };
    let elsewhere = refusal(&Custom::learned("plain", "rate", &like, step));
    assert!(elsewhere.contains("`rate` [2] F64 for the step `plain`"), "{elsewhere}");
    let reads =
        Custom::new("reads", |_: &Nothing, at: Entries, g: Tensor<1>, _: Tensor<1, Int>| {
            let largest: f64 = g.clone().abs().max().into_data().iter().next().unwrap();
            Entries { y: at.y - g / largest, memory: at.memory }
        });
    assert!(refusal(&reads).starts_with("the step `reads`: "), "{}", refusal(&reads));
    let forgets = Custom::new("forgets", |_: &Nothing, at: Entries, g, _| Entries {
        y: at.y - g,
        memory: at.memory.into_iter().skip(1).collect(),
    });
    let forgets = refusal(&forgets.with_memory(2));
    assert!(forgets.contains("gave 2 lists, expected 3"), "{forgets}");
    assert!(Gd::new(Schedule::linear(0.0, 0.1)).is_err());
    assert!(Gd::new(Coefficient::from(0.1).each_step()).is_err());
    assert!(Momentum::new(0.1, Schedule::linear(0.9, 0.1)).is_err());
    assert!(SoftThreshold::new(Schedule::power(1.0, 1.0)).is_err());
}
