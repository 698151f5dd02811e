//! What every proximal map must satisfy.

use bilevel_core::*;
use bilevel_program::{Vector, float};
use burn::tensor::Tensor;

use super::tuning::*;
use crate::common::*;
use crate::device;

/// The projection onto the simplex, by trying every set of positive entries.
fn simplex_by_force(y: &[f64], sum: f64) -> Vec<f64> {
    let nearest = |set: usize| {
        let inside = |i: usize| set >> i & 1 == 1;
        let chosen = (0..y.len()).filter(|i| inside(*i));
        let theta = (chosen.clone().map(|i| y[i]).sum::<f64>() - sum) / chosen.count() as f64;
        let point: Vec<_> =
            (0..y.len()).map(|i| if inside(i) { y[i] - theta } else { 0.0 }).collect();
        let distance: f64 = point.iter().zip(y).map(|(p, y)| (p - y).powi(2)).sum();
        point.iter().all(|p| *p >= 0.0).then_some((distance, point))
    };
    let candidates = (1..1 << y.len()).filter_map(nearest);
    candidates.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
}

#[test]
fn the_simplex_projection_is_the_nearest_point() {
    let y = tuning(Fit::Squares, false).lower_start();
    let weights = FEATURES * FEATURES_OUT;
    for seed in 0..20 {
        let at = random(&y, seed).scale(1.0 + seed as f64 / 3.0);
        let values = at.to_vec();
        let together = Simplex::together(1.5).unwrap().apply(&at).to_vec();
        assert_close("together", &together, &simplex_by_force(&values, 1.5), 1e-12);
        let each = Simplex::each(0.5).unwrap().apply(&at).to_vec();
        let (first, second) = values.split_at(weights);
        let expected = [simplex_by_force(first, 0.5), simplex_by_force(second, 0.5)].concat();
        assert_close("each", &each, &expected, 1e-12);
    }
}

#[test]
fn proximal_maps_are_firmly_nonexpansive_and_their_derivatives_symmetric() {
    let y = tuning(Fit::Squares, false).lower_start();
    let maps: [(f64, Box<dyn Proximal>); 10] = [
        (0.0, Box::new(Bounds::new(-0.3, 0.5).unwrap())),
        (0.0, Box::new(Ball::new(1.1).unwrap())),
        (0.0, Box::new(Simplex::each(1.0).unwrap())),
        (0.0, Box::new(Simplex::together(1.0).unwrap())),
        (0.1, Box::new(SoftThreshold::new(0.2).unwrap())),
        (0.1, Box::new(ElasticNet::new(0.2, 0.3).unwrap())),
        (0.1, Box::new(GroupLasso::rows(0.2).unwrap())),
        (0.1, Box::new(GroupLasso::variables(0.2).unwrap())),
        (0.0, Box::new(Scaled::new(Ball::new(2.0).unwrap(), 0.4).unwrap())),
        (0.0, Box::new(Scaled::new(Simplex::each(0.5).unwrap(), 1.7).unwrap())),
    ];
    for (moves, map) in &maps {
        let name = map.describe();
        for seed in 0..10 {
            let [a, b, u, v] = [0, 1, 2, 3].map(|i| random(&y, 50 + 4 * seed + i));
            let image = map.apply(&a).sub(&map.apply(&b));
            assert!(image.dot(&image) <= image.dot(&a.sub(&b)) + 1e-12, "{name}");
            let turned = [map.derivative(&a, &u).dot(&v), map.derivative(&a, &v).dot(&u)];
            assert_close(&name, &turned[..1], &turned[1..], 1e-12);
            // A projection is idempotent; another proximal map is not.
            let again = map.apply(&map.apply(&a)).sub(&map.apply(&a)).norm();
            assert!(if *moves > 0.0 { again > *moves } else { again < 1e-12 }, "{name}: {again}");
        }
    }
}

/// A custom projection.
#[derive(Debug)]
struct Positive;

impl Proximal for Positive {
    fn describe(&self) -> String {
        "positive".into()
    }

    fn apply(&self, y: &Vector) -> Vector {
        y.map(|leaf| float::clamp_min(leaf, 0.0))
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        Bounds::new(0.0, f64::INFINITY).unwrap().derivative(at, direction)
    }
}

impl Projection for Positive {}

#[test]
fn a_projection_of_ones_own_serves_both_levels_behind_a_box() {
    let device = device();
    let x = upper_module(&device);
    let oracle = penalties_at(Fit::Squares, &x, &device);
    let run = |lower: Box<dyn Projection>, upper: Box<dyn Projection>| {
        let dynamics = Projected::new(Gd::new(0.5).unwrap(), lower);
        let rad = Unrolled::rad(Descent::new(dynamics, 5).unwrap());
        let sgd = BurnOptimizer::new(burn::optim::SgdConfig::new().build(), &x, 0.5).unwrap();
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let mut solver = HypergradientSolver::new(&oracle, rad, sgd, x, y).with_projection(upper);
        Executor::new(3).unwrap().run(&mut solver).unwrap();
        (solver.x().to_vec(), solver.y().to_vec())
    };
    let bounds = || Box::new(Bounds::new(0.0, f64::INFINITY).unwrap());
    let (x_end, y_end) = run(Box::new(Positive), Box::new(Positive));
    assert!(x_end.contains(&0.0) && y_end.contains(&0.0), "{x_end:?} {y_end:?}");
    assert_eq!((x_end, y_end), run(bounds(), bounds()));
}

/// `f = norm(y - b)^2 / 2` with the penalty `exp(u) sum |y_i|`, u being x: `y_i = sign(b_i) max(|b_i| - exp(u), 0)`; and
/// `F = norm(y - c)^2 / 2`.
struct Lasso;

const B: [f64; 4] = [2.0, -1.5, 0.2, -0.1];
const C: [f64; 4] = [1.0, -0.2, 0.3, 0.7];

impl BilevelProblem for Lasso {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, _: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        (y.values.val() - c.clone()).powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, _: &Values, y: &Values, b: &Tensor<1>) -> Tensor<1> {
        (y.values.val() - b.clone()).powi_scalar(2).sum() / 2
    }
}

#[test]
fn the_weight_of_a_lasso_is_learned() {
    let (device, weight, s) = (device(), 0.4_f64, 0.3);
    let data = FullBatch { upper: vector(&C, &device), lower: vector(&B, &device) };
    let (x, y) = (Values::new(&[weight.ln()], &device), Values::new(&[0.0; 4], &device));
    let oracle = AutodiffOracle::new(Lasso, &x, &y, data).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let steps = || {
        let map = SoftThreshold::new(Coefficient::exp("values")).unwrap().times(s).unwrap();
        descent(Gd::new(s).map(|gd| Projected::new(gd, map)), 200)
    };
    let solution = B.map(|b| b.signum() * (b.abs() - weight).max(0.0));
    // dF/du = (y - c)' dy/du, dy_i/du = -sign(b_i) exp(u) where y_i is not 0.
    let expected: f64 = (0..4)
        .filter(|&i| solution[i] != 0.0)
        .map(|i| -(solution[i] - C[i]) * B[i].signum() * weight)
        .sum();
    let methods: [Box<dyn HypergradientMethod>; 4] = [
        Box::new(Unrolled::rad(steps())),
        Box::new(Fad::new(steps())),
        Box::new(Unrolled::trad(steps(), 120).unwrap()),
        Box::new(FixedPoint::new(steps(), 300, 1e-12).unwrap()),
    ];
    for mut method in methods {
        let found = method.hypergradient(problem, &y).unwrap();
        assert_close("y", &found.lower.to_vec(), &solution, 1e-12);
        assert!(found.status.is_ok(), "{}", found.status);
        assert_close(&method.describe(), &found.gradient.to_vec(), &[expected], 1e-9);
    }
    let value = |x: &[f64]| {
        let x = Vector::from_slice(oracle.upper_layout(), x, &device);
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let end = steps().run(&problem, &y).unwrap().state.y;
        problem.value(Objective::Upper, &end).read()
    };
    assert_close("differences", &five_point(&[weight.ln()], value), &[expected], 1e-9);
}

/// P minimises `h(u) + norm(u - y)^2 / 2`: no nearby point is better.
#[test]
fn proximal_maps_minimise_what_they_are_for() {
    let y = tuning(Fit::Squares, false).lower_start();
    let sum = |v: &Vector, f: fn(f64) -> f64| v.to_vec().into_iter().map(f).sum::<f64>();
    let groups = |v: &Vector| {
        let (values, weights) = (v.to_vec(), FEATURES * FEATURES_OUT);
        let norm = |group: &[f64]| group.iter().map(|v| v * v).sum::<f64>().sqrt();
        values[..weights].chunks(FEATURES_OUT).map(norm).sum::<f64>()
            + values[weights..].iter().map(|v| v.abs()).sum::<f64>()
    };
    let of_variables = |v: &Vector| {
        let squares = v
            .leaves()
            .iter()
            .map(|leaf| float::read(leaf.clone()).iter::<f64>().map(|v| v * v).sum::<f64>());
        squares.map(f64::sqrt).sum::<f64>()
    };
    let scaled_net = ElasticNet::new(0.4, 0.6).and_then(|net| net.times(0.5)).unwrap();
    type Penalised<'a> = (Box<dyn Proximal>, &'a dyn Fn(&Vector) -> f64);
    let maps: [Penalised<'_>; 4] = [
        (Box::new(GroupLasso::variables(0.2).unwrap()), &|v| 0.2 * of_variables(v)),
        (Box::new(scaled_net), &|v| 0.2 * sum(v, f64::abs) + 0.15 * sum(v, |v| v * v)),
        (Box::new(ElasticNet::new(0.2, 0.3).unwrap()), &|v| {
            0.2 * sum(v, f64::abs) + 0.15 * sum(v, |v| v * v)
        }),
        (Box::new(GroupLasso::rows(0.2).unwrap()), &|v| 0.2 * groups(v)),
    ];
    for (map, h) in &maps {
        for seed in 0..10 {
            let at = random(&y, seed);
            let value = |u: &Vector| h(u) + 0.5 * u.sub(&at).dot(&u.sub(&at));
            let least = map.apply(&at);
            for other in 0..10 {
                let near = least.axpy(10f64.powi(-1 - other % 5), &random(&y, 100 + other as u64));
                assert!(value(&near) >= value(&least) - 1e-14, "{}", map.describe());
            }
        }
    }
}

#[test]
fn a_scaled_set_is_that_of_another_size() {
    let y = tuning(Fit::Squares, false).lower_start();
    let pairs: [(Box<dyn Proximal>, Box<dyn Proximal>); 3] = [
        (
            Box::new(Scaled::new(Ball::new(1.0).unwrap(), 0.7).unwrap()),
            Box::new(Ball::new(0.7).unwrap()),
        ),
        (
            Box::new(Scaled::new(Bounds::new(-1.0, 2.0).unwrap(), 0.2).unwrap()),
            Box::new(Bounds::new(-0.2, 0.4).unwrap()),
        ),
        (
            Box::new(Scaled::new(Simplex::together(1.0).unwrap(), 2.5).unwrap()),
            Box::new(Simplex::together(2.5).unwrap()),
        ),
    ];
    for (scaled, set) in &pairs {
        for seed in 0..5 {
            let (at, d) = (random(&y, seed), random(&y, seed + 50));
            let what = scaled.describe();
            assert_close(&what, &scaled.apply(&at).to_vec(), &set.apply(&at).to_vec(), 1e-12);
            let [found, expected] = [scaled, set].map(|map| map.derivative(&at, &d).to_vec());
            assert_close(&what, &found, &expected, 1e-12);
        }
    }
}

#[test]
#[should_panic(expected = "put it into `Projected`")]
fn a_learned_threshold_has_no_value_without_x() {
    let y = tuning(Fit::Squares, false).lower_start();
    SoftThreshold::new(Coefficient::exp("rate")).unwrap().apply(&y);
}
