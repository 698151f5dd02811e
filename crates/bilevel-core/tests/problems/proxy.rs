//! Proxies of the best response: one step against its formulas, many steps against the solution, pull-backs
//! against finite differences.

use bilevel_core::joint::Iterate;
use bilevel_core::*;
use bilevel_problems::{Instance, Pair};
use bilevel_program::{Layout, Vector};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::common::*;
use crate::device;

const SEED: u64 = 11;
const STEPS: usize = 3;

fn rates(upper: f64, lower: f64) -> Rates {
    Rates::new(upper, lower).unwrap()
}

fn linear(at: &Instance) -> NetworkProxy<LinearHypernetwork> {
    NetworkProxy::new(LinearHypernetwork::new(&at.x, &at.y), &at.x, &at.y).unwrap()
}

/// x and y after `steps` steps of a method that is inspected afterwards.
fn follow(at: &Instance, method: &mut impl JointMethod, steps: usize) -> (V, V) {
    method.check(&at.oracle).unwrap();
    let mut iterate = Iterate::new(&at.oracle, at.x.clone(), at.y.clone());
    for k in 0..steps {
        method.step(k, &mut iterate).unwrap();
    }
    (V(iterate.x.to_vec()), V(iterate.y.to_vec()))
}

/// The standard normal numbers that a method with this seed draws.
struct Normals(ChaCha8Rng);

impl Normals {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn next(&mut self, n: usize) -> V {
        V((0..n).map(|_| self.0.sample(StandardNormal)).collect())
    }
}

/// Elementwise product.
fn times(a: &V, b: &V) -> V {
    V(a.0.iter().zip(&b.0).map(|(a, b)| a * b).collect())
}

/// An n x m matrix, stored by rows.
struct Matrix(Vec<V>);

impl Matrix {
    fn zeros() -> Self {
        Self(vec![V(vec![0.0; M]); N])
    }

    fn apply(&self, x: &V) -> V {
        V(self.0.iter().map(|row| row.dot(x)).collect())
    }

    fn transposed(&self, u: &V) -> V {
        let rows = self.0.iter().zip(&u.0);
        rows.fold(V(vec![0.0; M]), |sum, (row, u)| &sum + &(*u * row))
    }

    /// `self - a u x'`
    fn descend(&mut self, a: f64, u: &V, x: &V) {
        for (row, u) in self.0.iter_mut().zip(&u.0) {
            *row = &*row - &((a * u) * x);
        }
    }
}

#[test]
fn hypernetwork_is_its_formula() {
    let (q, a, b, sigma) = (problem().plain(), 0.1, 0.05, 0.7);
    let at = instance();
    let region = Region::local(Scale::fixed(sigma).unwrap());
    let method = Hypernetwork::new(linear(&at), rates(b, a), region, SEED);
    let (found_x, found_y) = run(&at, method, Sampler::full(), STEPS);

    let mut draws = Normals::new(SEED);
    let (mut x, mut y0, mut w) = (V::from(&X[..]), V::from(&Y[..]), Matrix::zeros());
    for _ in 0..STEPS {
        let near = &x + &(sigma * &draws.next(M));
        let slope = V(q.lower_y(&near.0, &(&y0 + &w.apply(&near)).0));
        y0 = &y0 - &(a * &slope);
        w.descend(a, &slope, &near);
        let y = &y0 + &w.apply(&x);
        x = &x - &(b * &(&V(q.upper_x(&x.0)) + &w.transposed(&V(q.upper_y(&y.0)))));
    }
    assert_near("x", &found_x, &x, 1e-10);
    assert_near("y", &found_y, &(&y0 + &w.apply(&x)), 1e-10);
}

#[test]
fn stn_is_its_formula() {
    let (q, a, b, sigma, c, tau) = (problem().plain(), 0.1, 0.05, 0.7, 0.2, 0.3);
    let at = instance();
    let response = RankOneAffine::new(&at.x, &at.y, 5);
    let mut h = V(response.parameters()[1].to_vec());
    let method = Stn::new(response, rates(b, a), Scale::learned(sigma, c, tau).unwrap(), SEED);
    let (found_x, found_y) = run(&at, method, Sampler::full(), STEPS);

    let mut draws = Normals::new(SEED);
    let (mut x, mut e, mut v) = (V::from(&X[..]), V::from(&Y[..]), Matrix::zeros());
    let mut s = V(vec![sigma.ln(); M]);
    for _ in 0..STEPS {
        let scale = V(s.0.iter().map(|s| s.exp()).collect());
        let near = &x + &times(&scale, &draws.next(M));
        let gains = v.apply(&near);
        let slope = V(q.lower_y(&near.0, &(&e + &times(&gains, &h)).0));
        e = &e - &(a * &slope);
        v.descend(a, &times(&slope, &h), &near);
        h = &h - &(a * &times(&gains, &slope));

        let eps = times(&scale, &draws.next(M));
        let near = &x + &eps;
        let y = &e + &times(&v.apply(&near), &h);
        let pulled = v.transposed(&times(&h, &V(q.upper_y(&y.0))));
        let along = &V(q.upper_x(&near.0)) + &pulled;
        s = &s - &(c * &(&times(&along, &eps) - &V(vec![tau; M])));
        x = &x - &(b * &along);
    }
    assert_near("x", &found_x, &x, 1e-10);
    assert_near("y", &found_y, &(&e + &times(&v.apply(&x), &h)), 1e-10);
}

#[test]
fn delta_stn_is_its_formula() {
    let (q, a, a_j, b, sigma) = (problem().plain(), 0.1, 0.4, 0.05, 0.7);
    let at = instance();
    let jacobian = RankOne::new(&at.x, &at.y, 5);
    let mut h = V(jacobian.parameters()[0].to_vec());
    let method = DeltaStn::new(jacobian, rates(b, a), Scale::fixed(sigma).unwrap(), SEED);
    let method = method.with_jacobian_rate(a_j).unwrap();
    let (found_x, found_y) = run(&at, method, Sampler::full(), STEPS);

    let mut draws = Normals::new(SEED);
    let (mut x, mut y, mut v) = (V::from(&X[..]), V::from(&Y[..]), Matrix::zeros());
    for _ in 0..STEPS {
        y = &y - &(a * &V(q.lower_y(&x.0, &y.0)));
        let eps = sigma * &draws.next(M);
        let gains = v.apply(&eps);
        let bend = V(q.hessian(&times(&gains, &h).0));
        let d = &V(q.lower_y(&(&x + &eps).0, &y.0)) + &bend;
        v.descend(a_j, &times(&d, &h), &eps);
        h = &h - &(a_j * &times(&gains, &d));

        let pulled = v.transposed(&times(&h, &V(q.upper_y(&y.0))));
        let moved = &x - &(b * &(&V(q.upper_x(&x.0)) + &pulled));
        y = &y + &times(&v.apply(&(&moved - &x)), &h);
        x = moved;
    }
    assert_near("x", &found_x, &x, 1e-10);
    assert_near("y", &found_y, &y, 1e-10);
}

/// Checks that x solves the problem, that y is `y*(x)`, and that the response equals `y*` elsewhere too.
#[track_caller]
fn assert_solved(at: &Instance, (x, y): (V, V), response: &dyn Response, tolerance: f64) {
    let q = problem();
    let gradient = V(q.hypergradient(&x.0)).norm();
    assert!(gradient < tolerance, "the hypergradient at the end is {gradient:e}");
    assert_near("y", &y, &V(q.lower_solution(&x.0)), tolerance);
    let elsewhere = Vector::from_slice(at.x.layout(), &X, &device());
    let answer = V(response.respond(&elsewhere).to_vec());
    assert_near("the response", &answer, &V(q.lower_solution(&X)), tolerance);
}

#[test]
fn a_linear_hypernetwork_solves_the_quadratic() {
    let at = instance();
    let local = Region::local(Scale::fixed(1.0).unwrap());
    let global = Region::uniform(vec![-2.0; M], vec![2.0; M]).unwrap();
    for region in [local, global] {
        let mut method = Hypernetwork::new(linear(&at), rates(0.05, 0.1), region, SEED);
        let end = follow(&at, &mut method, 3000);
        assert_solved(&at, end, method.proxy(), 1e-8);
    }
}

#[test]
fn stn_solves_the_quadratic() {
    let at = instance();
    let response = RankOneAffine::new(&at.x, &at.y, 5);
    let mut method = Stn::new(response, rates(0.05, 0.1), Scale::fixed(1.0).unwrap(), SEED);
    let end = follow(&at, &mut method, 3000);
    assert_solved(&at, end, method.response(), 1e-8);
}

#[test]
fn delta_stn_solves_the_quadratic() {
    let at = instance();
    let jacobian = RankOne::new(&at.x, &at.y, 5);
    let method = DeltaStn::new(jacobian, rates(0.05, 0.5), Scale::fixed(0.5).unwrap(), SEED);
    let mut method = method.with_jacobian_rate(0.4).unwrap();
    let (x, y) = follow(&at, &mut method, 3000);
    struct Affine<'a>(&'a Vector, Vector, &'a RankOne);
    impl Response for Affine<'_> {
        fn respond(&self, x: &Vector) -> Vector {
            self.1.add(&self.2.respond(&x.sub(self.0)))
        }
        fn pull_to_x(&self, x: &Vector, cotangent: &Vector) -> Vector {
            self.2.pull_to_x(x, cotangent)
        }
    }
    let centre = Vector::from_slice(at.x.layout(), &x.0, &device());
    let answer = Vector::from_slice(at.y.layout(), &y.0, &device());
    assert_solved(&at, (x, y), &Affine(&centre, answer, method.jacobian()), 1e-8);
}

#[test]
fn an_mlp_learns_the_response_of_a_box_before_x_moves() {
    let at = instance();
    let network = MlpHypernetwork::new(&at.x, &at.y, 16, 3).unwrap();
    let proxy = NetworkProxy::new(network, &at.x, &at.y).unwrap();
    let region = Region::uniform(vec![-1.5; M], vec![1.5; M]).unwrap();
    let method = Hypernetwork::new(proxy, rates(0.05, 0.1), region, SEED);
    let mut method = method.with_warm_up(2000);
    let (x, y) = follow(&at, &mut method, 2000);
    assert_eq!(x, V::from(&X[..]), "x stays in the warm-up");
    assert_near("y", &y, &V(problem().lower_solution(&X)), 0.1);
}

#[test]
fn batches_and_training_steps_are_drawn_and_counted() {
    let at = stochastic(4, 0.1);
    let jacobian = RankOne::new(&at.x, &at.y, 5);
    let method = DeltaStn::new(jacobian, rates(0.05, 0.1), Scale::fixed(0.5).unwrap(), SEED);
    let method = method.with_training_steps(3).unwrap().with_warm_up(1);
    run(&at, method, Sampler::epochs(4, 4, 1).unwrap(), 2);
    let cost = at.oracle.cost();
    assert_eq!((cost.lower_gradients, cost.lower_products), (12, 6));
    assert_eq!((cost.upper_gradients, cost.upper_values), (1, 1));
}

/// A small network: a matrix whose units are on the last axis, a kernel whose units are on the first axis,
/// and vectors.
#[derive(Module, Debug)]
struct Net {
    linear: Linear,
    conv: Conv2d,
}

/// A vector with a module's layout and entries from [-1, 1).
fn random(layout: &std::sync::Arc<Layout>, rng: &mut ChaCha8Rng) -> Vector {
    let values: Vec<f64> = (0..layout.size()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Vector::from_slice(layout, &values, &device())
}

fn variables(rng: &mut ChaCha8Rng) -> (Vector, Vector) {
    let x = Pair::new(&[0.0; 2], &[0.0; 3], &device());
    let net = Net {
        linear: LinearConfig::new(3, 4).init(&device()),
        conv: Conv2dConfig::new([2, 3], [2, 2]).init(&device()),
    };
    let y = Vector::from_module(&Layout::of(&net), &net);
    (random(&Layout::of(&x), rng), random(y.layout(), rng))
}

/// The derivative at 0, to fourth order.
fn derivative(f: impl Fn(f64) -> f64) -> f64 {
    let h = 5e-4;
    (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
}

#[track_caller]
fn assert_adjoint(mut proxy: impl Proxy + Clone, x: &Vector, y: &Vector, seed: u64) {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut like = |vectors: &[Vector]| -> Vec<Vector> {
        vectors.iter().map(|v| random(v.layout(), rng)).collect()
    };
    let theta = like(&proxy.parameters());
    let moved = like(&theta);
    let (along, u) =
        (like(std::slice::from_ref(x)).remove(0), like(std::slice::from_ref(y)).remove(0));
    proxy.set_parameters(theta.clone());

    let pulled = proxy.pull_to_x(x, &u).dot(&along);
    let expected = derivative(|h| proxy.respond(&x.axpy(h, &along)).dot(&u));
    let name = proxy.describe();
    assert!((pulled - expected).abs() < 1e-10, "{name} in x: {pulled} and {expected}");

    let pulled: f64 =
        proxy.pull_to_parameters(x, &u).iter().zip(&moved).map(|(p, d)| p.dot(d)).sum();
    let expected = derivative(|h| {
        let mut proxy = proxy.clone();
        proxy.set_parameters(theta.iter().zip(&moved).map(|(t, d)| t.axpy(h, d)).collect());
        proxy.respond(x).dot(&u)
    });
    assert!((pulled - expected).abs() < 1e-10, "{name} in theta: {pulled} and {expected}");
}

#[test]
fn pull_backs_are_adjoint_to_the_response() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let (x, y) = variables(rng);
    for seed in 0..3 {
        assert_adjoint(RankOne::new(&x, &y, 2), &x, &y, seed);
        assert_adjoint(RankOneAffine::new(&x, &y, 2), &x, &y, seed);
        let axes = [0, 0, 1, 0];
        assert_adjoint(RankOne::with_axes(&x, &y, &axes, 2).unwrap(), &x, &y, seed);
        let network = LinearHypernetwork::new(&x, &y);
        assert_adjoint(NetworkProxy::new(network, &x, &y).unwrap(), &x, &y, seed);
        let network = MlpHypernetwork::new(&x, &y, 7, 3).unwrap();
        assert_adjoint(NetworkProxy::new(network, &x, &y).unwrap(), &x, &y, seed);
    }
}

#[test]
fn each_unit_answers_along_one_direction() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let (x, y) = variables(rng);
    let mut proxy = RankOne::new(&x, &y, 2);
    assert_eq!(proxy.respond(&x).norm(), 0.0, "V is 0 at first");
    let shapes: Vec<_> = y.layout().leaves().iter().map(|leaf| leaf.shape.to_vec()).collect();
    assert_eq!(shapes, [vec![3, 4], vec![4], vec![3, 2, 2, 2], vec![3]]);
    let units: usize = [4, 4, 3, 3].iter().sum();
    let h = proxy.parameters()[0].to_vec();
    let norm = V(h.clone()).norm();
    assert!((norm.powi(2) - units as f64).abs() < 1e-12, "each unit's w_h has the norm 1");

    let theta: Vec<_> = proxy.parameters().iter().map(|p| random(p.layout(), rng)).collect();
    let (h, v) = (theta[0].to_vec(), theta[1].to_vec());
    proxy.set_parameters(theta);
    let found = proxy.respond(&x).to_vec();
    let x = V(x.to_vec());
    let gain = |unit: usize| V(v[unit * 5..][..5].to_vec()).dot(&x);
    // The position of an entry of y, and the index of its unit.
    let unit = |at: usize| match at {
        0..12 => at % 4,
        12..16 => 4 + at - 12,
        16..40 => 8 + (at - 16) / 8,
        _ => 11 + at - 40,
    };
    let expected = V((0..h.len()).map(|at| h[at] * gain(unit(at))).collect());
    assert_near("J x", &V(found), &expected, 1e-12);
}

#[test]
fn without_perturbations_nothing_is_learned_of_the_jacobian() {
    let (at, q) = (instance(), problem());
    let still = Scale::fixed(0.0).unwrap();
    let mut delta = DeltaStn::new(RankOne::new(&at.x, &at.y, 5), rates(0.1, 0.5), still, SEED);
    let (x, y) = follow(&at, &mut delta, 300);
    assert_eq!(delta.jacobian().parameters()[1].norm(), 0.0, "V stays 0");
    // y is right, and x converged to the minimum of F in x alone: 0.
    assert_near("y", &y, &V(q.lower_solution(&x.0)), 1e-6);
    assert!(x.norm() < 1e-5 && V(q.hypergradient(&x.0)).norm() > 0.1);

    let response = RankOneAffine::new(&at.x, &at.y, 5);
    let mut stn = Stn::new(response, rates(0.05, 0.1), still, SEED);
    let (x, y) = follow(&at, &mut stn, 2000);
    assert_near("y", &y, &V(q.lower_solution(&x.0)), 1e-3);
    assert!(V(q.hypergradient(&x.0)).norm() > 0.1, "the Jacobian is not known from one point");
}

#[test]
fn a_learned_scale_stays_positive_and_balances_loss_and_entropy() {
    let (at, q, tau) = (instance(), problem(), 0.2);
    let scale = Scale::learned(1.0, Schedule::power(0.1, 0.6), tau).unwrap();
    let response = RankOneAffine::new(&at.x, &at.y, 5);
    let rates = Rates::new(Schedule::power(0.05, 0.3), 0.1).unwrap();
    let mut method = Stn::new(response, rates, scale, SEED);
    assert!(method.scales().is_none(), "not used yet");
    follow(&at, &mut method, 4000);
    let found = method.scales().unwrap().to_vec();
    // h_i is the derivative of a hypergradient that is linear in x.
    let second = |i: usize| {
        let unit: Vec<f64> = (0..M).map(|j| f64::from(u8::from(i == j))).collect();
        q.hypergradient(&unit)[i] - q.hypergradient(&[0.0; M])[i]
    };
    for (i, sigma) in found.iter().enumerate() {
        let expected = (tau / second(i)).sqrt();
        assert!(*sigma > 0.0 && (sigma / expected).ln().abs() < 0.2, "{i}: {sigma}, {expected}");
    }

    // Without the entropy term it shrinks, but it stays positive.
    let scale = Scale::learned(0.5, 0.5, 0.0).unwrap();
    let jacobian = RankOne::new(&at.x, &at.y, 5);
    let mut method = DeltaStn::new(jacobian, self::rates(0.01, 0.5), scale, SEED);
    follow(&at, &mut method, 300);
    let found = method.scales().unwrap().to_vec();
    assert!(found.iter().all(|sigma| *sigma > 0.0 && *sigma < 0.5), "{found:?}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let at = instance();
    let other: Instance = bilevel_problems::Quadratic::new(2, 4, 0.3, 7)
        .unwrap()
        .at(&[0.0; 2], &[0.0; 4], &device())
        .unwrap();
    let (local, pace) = (Scale::fixed(0.1).unwrap(), rates(0.1, 0.1));
    #[track_caller]
    fn refused<T>(found: Result<T, Error>, words: &[&str]) {
        let error = found.err().expect("an error").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    fn start(at: &Instance, method: impl JointMethod + 'static) -> Result<(), Error> {
        let (x, y) = (at.x.clone(), at.y.clone());
        JointSolver::new(&at.oracle, method, x, y).map(drop)
    }
    let affine = |at: &Instance| RankOneAffine::new(&at.x, &at.y, 5);

    // Built for other variables.
    let words = ["a map of 3 numbers to 5", "2 of x and 4 of y", "build it from"];
    refused(start(&other, Stn::new(affine(&at), pace, local, 1)), &words);
    refused(start(&other, DeltaStn::new(RankOne::new(&at.x, &at.y, 5), pace, local, 1)), &words);
    let region = Region::local(local);
    refused(start(&other, Hypernetwork::new(linear(&at), pace, region, 1)), &words);

    let network = LinearHypernetwork::new(&other.x, &other.y);
    let words = ["a map of 2 numbers to 4, for x of 3 and y of 5", "build it for the sizes"];
    refused(NetworkProxy::new(network, &at.x, &at.y), &words);
    let network = LinearHypernetwork::new(&at.x, &at.y).no_grad();
    refused(NetworkProxy::new(network, &at.x, &at.y), &["without trainable parameters"]);
    refused(MlpHypernetwork::new(&at.x, &at.y, 0, 1), &["hidden units is 0"]);

    let region = Region::normal(vec![0.0; 2], 1.0).unwrap();
    let method = Hypernetwork::new(linear(&at), pace, region, 1);
    refused(start(&at, method), &["one of 2 numbers, for x of 3"]);
    refused(Region::uniform(vec![1.0], vec![0.0]), &["[1.0] to [0.0]", "bounded"]);
    refused(Region::normal(vec![f64::NAN], 1.0), &["centre", "finite"]);
    refused(Region::normal(vec![0.0], -1.0), &["perturbation scale is -1"]);
    refused(Scale::learned(0.0, 0.1, 0.1), &["perturbation scale is 0"]);
    refused(Scale::learned(0.1, 0.1, -0.1), &["entropy is -0.1"]);
    refused(RankOne::with_axes(&at.x, &at.y, &[1], 5), &["[1]", "ranks [1]"]);
    refused(Stn::new(affine(&at), pace, local, 1).with_training_steps(0), &["training steps is 0"]);

    let (x, y) = (at.x.clone(), at.y.clone());
    let method = Stn::new(affine(&at), pace, local, 1);
    let solver = JointSolver::new(&at.oracle, method, x, y).unwrap();
    let mut solver = solver.with_lower_projection(Ball::new(1.0).unwrap());
    refused(solver.step(0), &["lower projection", "free variable"]);
}
