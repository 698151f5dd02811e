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

/// Units from the diagonals of second derivatives at a point, the inverse square roots of curvatures:
///
/// ```text
/// t_i = 1 / sqrt(abs(f_yy)_ii),   s_i = 1 / sqrt(abs(f_xx)_ii + abs(F_xx)_ii + norm(T f_yx e_i)^2)
/// ```
///
/// where the last term is how far y moves with x, over the y with a curvature. Variables that f, and F in x, are linear in get
/// the units that [equilibrate] the first derivatives, and those whose curvature is not known 1. All units are powers of 2, so
/// that scaling is exact.
///
/// The diagonal H_ii is exact for up to 64 variables; for more it is the mean of `z_i (H z)_i` over 32 random sign vectors z,
/// and sums of squares likewise.
///
/// Source: C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix", 2007.
pub(super) fn units(oracle: &dyn Oracle, x: &Vector, y: &Vector) -> Units {
    let problem = LowerProblem::new(oracle, x, Samples::default());
    let sizes = [x, y].map(|v| v.layout().size());
    let [mut x_linear, mut y_linear] = sizes.map(|size| vec![true; size]);
    let of_y = diagonal(y, |v| {
        let product = problem.product(Objective::Lower, y, Direction::in_y(v), Wrt::Y).into_y();
        exclude(&mut y_linear, &product);
        product
    });
    let mut in_x = |objective| {
        diagonal(x, |v| {
            let along = Direction { x: Some(v), y: None };
            let (product, mixed) = problem.product(objective, y, along, Wrt::Both).into_both();
            exclude(&mut x_linear, &product);
            if objective == Objective::Lower {
                exclude(&mut y_linear, &mixed);
            }
            product
        })
    };
    let (lower, upper) = (in_x(Objective::Lower), in_x(Objective::Upper));
    let t = inverse_roots(&of_y);
    // Without a curvature y does not respond.
    let responds: Vec<_> =
        of_y.iter().zip(&t).map(|(c, t)| if *c > 0.0 { *t } else { 0.0 }).collect();
    let responds = like(y, &responds);
    let mut rows = vec![0.0; sizes[0]];
    let Signs { all, repeated } = signs(sizes[1]);
    for z in all {
        let mixed =
            |v: &Vector| problem.product(Objective::Lower, y, Direction::in_y(v), Wrt::X).into_x();
        let z = like(y, &z);
        exclude(&mut x_linear, &mixed(&z));
        let row = mixed(&multiply(&z, &responds));
        rows.iter_mut().zip(row.to_vec()).for_each(|(sum, v)| *sum += v * v / repeated);
    }
    let of_x = lower.iter().zip(&upper).zip(&rows).map(|((lower, upper), row)| lower + upper + row);
    let s = inverse_roots(&of_x.collect::<Vec<_>>());
    let (mut all, linear) = ([s, t].concat(), [x_linear, y_linear].concat());
    if linear.contains(&true) {
        equilibrate(&slopes(&problem, y), &linear, &mut all);
    }
    let (s, t) = all.split_at(sizes[0]);
    Units { x: like(x, s), y: like(y, t) }
}

/// Variables with an entry in a second derivative are not linear.
fn exclude(linear: &mut [bool], product: &Vector) {
    linear.iter_mut().zip(product.to_vec()).for_each(|(linear, v)| *linear &= v == 0.0);
}

/// The most constraints that are looked at one by one.
const MOST: usize = 100;

/// The gradients in x and y of F and of each constraint with several variables (a bound on one says nothing of its unit), and
/// that of f in y.
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

/// Rounds over rows and columns.
const ROUNDS: usize = 100;

/// An entry of a row below this share of the largest is rounding.
const ROUNDING: f64 = 1e-12;

/// The largest unit of a linear variable, and the inverse of the least.
const LARGEST: f64 = 1e8;

/// Scales the units c of linear variables, and the rows by r, such that the sum of `log(r_j abs(a_ji) c_i)^2` over all entries
/// is least. Where all variables are linear, the mean of log c is 0.
///
/// Source: A. R. Curtis and J. K. Reid, "On the automatic scaling of matrices for Gaussian elimination", 1972.
fn equilibrate(rows: &[Vec<f64>], linear: &[bool], units: &mut [f64]) {
    let free: Vec<_> = (0..units.len()).filter(|i| linear[*i]).collect();
    let mut c: Vec<f64> = units.iter().map(|unit| unit.ln()).collect();
    let entries = |row: &Vec<f64>| -> Vec<(usize, f64)> {
        let largest = row.iter().fold(0.0, |largest: f64, a| largest.max(a.abs()));
        let sizes = row.iter().map(|a| a.abs()).enumerate();
        sizes.filter(|(_, a)| *a > ROUNDING * largest).map(|(i, a)| (i, a.ln())).collect()
    };
    let rows: Vec<_> = rows.iter().map(entries).filter(|row| !row.is_empty()).collect();
    for _ in 0..ROUNDS {
        let (mut sums, mut counts) = (vec![0.0; c.len()], vec![0.0; c.len()]);
        for row in &rows {
            let mean = row.iter().map(|(i, a)| a + c[*i]).sum::<f64>() / row.len() as f64;
            for (i, a) in row {
                sums[*i] += mean - a;
                counts[*i] += 1.0;
            }
        }
        free.iter().filter(|i| counts[**i] > 0.0).for_each(|i| c[*i] = sums[*i] / counts[*i]);
    }
    if free.len() == c.len() {
        let mean = c.iter().sum::<f64>() / c.len() as f64;
        c.iter_mut().for_each(|c| *c -= mean);
    }
    let near = |c: f64| c.abs() <= NEAR_ONE.ln();
    if free.iter().any(|i| !near(c[*i])) {
        free.iter().for_each(|i| units[*i] = power(c[*i].exp().clamp(1.0 / LARGEST, LARGEST)));
    }
}

/// The nearest power of 2, within 2^60.
fn power(unit: f64) -> f64 {
    unit.log2().round().clamp(-60.0, 60.0).exp2()
}

/// `abs(H_ii)` of a symmetric H; 0 where it is less than the estimate is off by.
fn diagonal(of: &Vector, mut product: impl FnMut(&Vector) -> Vector) -> Vec<f64> {
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

/// The inverse square roots of the curvatures as powers of 2, 1 where there is none; 1 where all are near 1.
fn inverse_roots(curvatures: &[f64]) -> Vec<f64> {
    let unit = |curvature: &f64| match curvature.is_finite() && *curvature > 0.0 {
        true => power(curvature.powf(-0.5)),
        false => 1.0,
    };
    let units: Vec<_> = curvatures.iter().map(unit).collect();
    let near = units.iter().all(|unit| (1.0 / NEAR_ONE..=NEAR_ONE).contains(unit));
    if near { vec![1.0; units.len()] } else { units }
}

#[cfg(test)]
mod tests {
    use super::equilibrate;

    #[test]
    fn units_of_linear_variables_undo_those_of_the_problem() {
        let rows = [[1.0, -2.0, 0.0], [0.5, 1.0, 1.0], [0.0, 3.0, -1.0]];
        let stretched = [1e4, 1e-4, 1e4];
        let scaled = rows.map(|row| (0..3).map(|i| row[i] * stretched[i]).collect::<Vec<f64>>());
        for linear in [[true, true, true], [true, true, false]] {
            let mut units = [1.0, 1.0, 1e-4];
            equilibrate(&scaled, &linear, &mut units);
            let sizes: Vec<_> = (0..3).map(|i| stretched[i] * units[i]).collect();
            assert!(
                sizes.iter().all(|size| size / sizes[2] < 10.0 && sizes[2] / size < 10.0),
                "{units:?}"
            );
        }
        // An entry of rounding says nothing.
        let mut units = [1.0, 1.0];
        equilibrate(&[vec![1.0, 1e-13]], &[false, true], &mut units);
        assert_eq!(units, [1.0, 1.0]);
        let mut units = [1.0, 1.0];
        equilibrate(&[vec![1.0, 1e3]], &[false, true], &mut units);
        assert_eq!(units, [1.0, 1.0 / 1024.0]);
    }
}
