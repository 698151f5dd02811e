//! The steps as their formulas say, on plain numbers: derivatives alone do not see a wrong formula that is
//! rightly differentiated.

use bilevel_core::*;
use bilevel_program::Vector;

use super::special::end;
use super::tuning::*;
use crate::common::*;

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
    check("moments", &adam, |_, y, slope| {
        let layout = tuning(Fit::Logistic, false).lower_start();
        let g = Vector::from_slice(layout.layout(), &slope(LOWER, y), &layout.device());
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
    for (sign, dynamics) in [
        (1.0, Aggregated::new(0.4, 0.3, weight).unwrap()),
        (-1.0, Aggregated::pessimistic(0.4, 0.3, weight).unwrap()),
    ] {
        check("aggregated", &dynamics, |t, y, slope| {
            let a = 0.9 / (t as f64 + 1.0);
            let both = zip(&slope(Objective::Upper, y), &slope(LOWER, y), |upper, lower| {
                sign * a * 0.4 * upper + (1.0 - a) * 0.3 * lower
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

/// The product of two matrices, the second with so many rows.
fn multiply(a: &[f64], b: &[f64], rows: usize) -> Vec<f64> {
    let columns = b.len() / rows;
    let entry = |row: &[f64], j: usize| (0..rows).map(|k| row[k] * b[k * columns + j]).sum();
    a.chunks(rows).flat_map(|row| (0..columns).map(move |j| entry(row, j))).collect()
}
