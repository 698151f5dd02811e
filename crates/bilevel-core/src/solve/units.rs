//! Units in which the variables are of the same size.

use bilevel_program::Vector;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::oracle::Units;
use crate::vector_ops::multiply;
use crate::{Direction, LowerProblem, Objective, Oracle, Samples, Wrt};

/// So many numbers are probed one by one, more by random signs.
const FEW: usize = 64;

/// Vectors of random signs.
const PROBES: usize = 32;

/// Units within this factor of 1 are 1: curvatures that differ by less are no trouble.
const NEAR_ONE: f64 = 100.0;

/// Units from the diagonals of second derivatives at a point, one over the root of the curvature:
///
/// ```text
/// t_i = 1 / sqrt(abs(f_yy)_ii),   s_i = 1 / sqrt(abs(f_xx)_ii + abs(F_xx)_ii + norm(T f_yx e_i)^2)
/// ```
///
/// the last term being how far y~ moves with x. Where there is no curvature, as in a linear problem, the units are those
/// that [make the first derivatives alike](equilibrate). All are powers of 2, so that nothing is rounded.
///
/// The diagonal H_ii is exact for up to 64 numbers, and for more the mean of `z_i (H z)_i` over 32 vectors z of random signs;
/// the sums of squares likewise.
///
/// Source: C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix", 2007.
pub(super) fn units(oracle: &dyn Oracle, x: &Vector, y: &Vector) -> Units {
    let problem = LowerProblem::new(oracle, x, Samples::default());
    let of_y =
        diagonal(y, |v| problem.product(Objective::Lower, y, Direction::in_y(v), Wrt::Y).into_y());
    let t = written(y, &of_y);
    let in_x = |objective| {
        let along = |v: &Vector| {
            let along = Direction { x: Some(v), y: None };
            problem.product(objective, y, along, Wrt::X).into_x()
        };
        diagonal(x, along)
    };
    let (lower, upper) = (in_x(Objective::Lower), in_x(Objective::Upper));
    let mut rows = vec![0.0; x.layout().size()];
    let Signs { all, repeated } = signs(y.layout().size());
    for z in all {
        let moved = multiply(&like(y, &z), &t);
        let row = problem.product(Objective::Lower, y, Direction::in_y(&moved), Wrt::X).into_x();
        rows.iter_mut().zip(row.to_vec()).for_each(|(sum, v)| *sum += v * v / repeated);
    }
    let of_x = lower.iter().zip(&upper).zip(&rows).map(|((lower, upper), row)| lower + upper + row);
    let mut curvatures: Vec<f64> = of_x.chain(of_y).collect();
    equilibrate(&slopes(&problem, y), &mut curvatures);
    let (of_x, of_y) = curvatures.split_at(x.layout().size());
    Units { x: written(x, of_x), y: written(y, of_y) }
}

/// The most constraints that are looked at one by one.
const MOST: usize = 100;

/// The gradients in x and y of F, of f, whose x is not for the lower level to choose, and of each constraint with several
/// variables: in whatever units, a bound on one has a single number.
fn slopes(problem: &LowerProblem<'_>, y: &Vector) -> Vec<Vec<f64>> {
    let (x, both) = (problem.x, |x: &Vector, y: &Vector| [x.to_vec(), y.to_vec()].concat());
    let slope = |objective, wrt| problem.gradient(objective, y, wrt).1;
    let (in_x, in_y) = slope(Objective::Upper, Wrt::Both).into_both();
    let of_lower = slope(Objective::Lower, Wrt::Y).into_y();
    let mut rows = vec![both(&in_x, &in_y), both(&x.zeros_like(), &of_lower)];
    for level in [Objective::Upper, Objective::Lower] {
        let Some(constraints) = problem.constraints(level) else { continue };
        let count = constraints.count();
        for j in (0..count).filter(|_| count <= MOST) {
            let mut weights = vec![0.0; count];
            weights[j] = 1.0;
            let row = constraints.weighted(x, y, &weights);
            let row = both(&row.x, &row.y);
            if row.iter().filter(|slope| **slope != 0.0).count() > 1 {
                rows.push(row);
            }
        }
    }
    rows.retain(|row| row.iter().all(|slope| slope.is_finite()));
    rows
}

/// Rounds in which the units of linear variables are found; each takes the root of what is wrong.
const ROUNDS: usize = 30;

/// In place of curvatures of 0, what gives the units c with which each column of the rows, and each row, has a largest entry
/// of the same size. Where no variable has a curvature, the mean of log c is 0.
///
/// Source: D. Ruiz, "A scaling algorithm to equilibrate both rows and columns norms in matrices", 2001.
fn equilibrate(rows: &[Vec<f64>], curvatures: &mut [f64]) {
    let linear: Vec<_> = (0..curvatures.len()).filter(|i| curvatures[*i] == 0.0).collect();
    let unit = |curvature: f64| if curvature == 0.0 { 1.0 } else { curvature.powf(-0.5) };
    let mut c: Vec<f64> = curvatures.iter().map(|curvature| unit(*curvature)).collect();
    let largest = |all: &mut dyn Iterator<Item = f64>| all.map(f64::abs).fold(0.0, f64::max);
    for _ in 0..ROUNDS {
        let sizes: Vec<_> =
            rows.iter().map(|row| largest(&mut row.iter().zip(&c).map(|(a, c)| a * c))).collect();
        for i in &linear {
            let column = rows.iter().zip(&sizes).filter(|(_, size)| **size > 0.0);
            let found = largest(&mut column.map(|(row, size)| row[*i] * c[*i] / size));
            if found > 0.0 {
                c[*i] /= found.sqrt();
            }
        }
    }
    if linear.len() == curvatures.len() {
        let mean = c.iter().map(|c| c.ln()).sum::<f64>() / c.len() as f64;
        c.iter_mut().for_each(|c| *c /= mean.exp());
    }
    for i in linear {
        curvatures[i] = c[i].powi(-2);
    }
}

/// `abs(H_ii)` of a symmetric H; 0 where it is less than the estimate is off by.
fn diagonal(of: &Vector, product: impl Fn(&Vector) -> Vector) -> Vec<f64> {
    let n = of.layout().size();
    let (mut sum, mut square) = (vec![0.0; n], vec![0.0; n]);
    let Signs { all, repeated } = signs(n);
    for z in all {
        let z = like(of, &z);
        for (i, v) in multiply(&z, &product(&z)).to_vec().into_iter().enumerate() {
            sum[i] += v;
            square[i] += v * v;
        }
    }
    let estimate = |(sum, square): (&f64, &f64)| {
        let mean = sum / repeated;
        // Of single numbers there is one product each, and no error.
        let variance = if n <= FEW { 0.0 } else { (square / repeated - mean * mean).max(0.0) };
        let error = (variance / repeated).sqrt();
        if mean.abs() > 2.0 * error { mean.abs() } else { 0.0 }
    };
    sum.iter().zip(&square).map(estimate).collect()
}

/// Vectors z with `sum z z' = repeated I`, or nearly so.
struct Signs {
    all: Vec<Vec<f64>>,
    repeated: f64,
}

/// The columns of the identity for few numbers, random signs for many.
fn signs(n: usize) -> Signs {
    if n <= FEW {
        let column = |i| (0..n).map(|k| f64::from(k == i)).collect();
        return Signs { all: (0..n).map(column).collect(), repeated: 1.0 };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut sign = || if rng.random() { 1.0 } else { -1.0 };
    let all = (0..PROBES).map(|_| (0..n).map(|_| sign()).collect());
    Signs { all: all.collect(), repeated: PROBES as f64 }
}

fn like(of: &Vector, numbers: &[f64]) -> Vector {
    Vector::from_slice(of.layout(), numbers, &of.device())
}

/// One over the roots of the curvatures as powers of 2, 1 where there is none; 1 where all are near 1.
fn written(of: &Vector, curvatures: &[f64]) -> Vector {
    let unit = |curvature: &f64| match curvature.is_finite() && *curvature > 0.0 {
        true => (-0.5 * curvature.log2()).round().clamp(-60.0, 60.0).exp2(),
        false => 1.0,
    };
    let units: Vec<_> = curvatures.iter().map(unit).collect();
    let near = units.iter().all(|unit| (1.0 / NEAR_ONE..=NEAR_ONE).contains(unit));
    like(of, &if near { vec![1.0; units.len()] } else { units })
}
