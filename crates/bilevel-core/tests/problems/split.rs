//! Lower losses in two stages: products in the head alone against products of the whole loss.

use bilevel_core::*;
use bilevel_models::{Mlp, MlpConfig};
use bilevel_problems::Values;
use bilevel_program::{Batch, Layout, Vector};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, TensorData, activation};

use crate::common::*;
use crate::device;

const SAMPLES: usize = 6;
const WIDTHS: [usize; 3] = [3, 4, 4];

/// How the loss deviates from a head on a body.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Not at all.
    Apart,
    /// The features are multiplied by the weight of the head.
    Tied,
    /// The lower loss is another function.
    Apostate,
}

/// A network whose body ends in a hyperbolic tangent.
#[derive(Module, Debug)]
struct Network {
    body: Mlp,
    fc: Linear,
}

#[derive(Clone, Debug, Batch)]
struct Points {
    inputs: Tensor<2>,
    targets: Tensor<2>,
}

/// `F = mean_i l_i + norm(x)^2 / 2`, `f = mean_i sigmoid(x_i) l_i`, where l_i is the squared error of a
/// sample.
#[derive(Clone, Copy, Debug)]
struct Weighted(Kind);

fn errors(y: &Network, features: Tensor<2>, batch: &Points) -> Tensor<1> {
    (y.fc.forward(features) - batch.targets.clone()).powi_scalar(2).mean_dim(1).squeeze_dim(1)
}

impl BilevelProblem for Weighted {
    type Upper = Values;
    type Lower = Network;
    type Batch = Points;

    fn upper_loss(&self, x: &Values, y: &Network, batch: &Points) -> Tensor<1> {
        let errors = errors(y, self.features(y, batch), batch);
        errors.mean() + x.val().powi_scalar(2).sum() * 0.5
    }

    fn lower_loss(&self, x: &Values, y: &Network, batch: &Points) -> Tensor<1> {
        let loss = self.head_loss(x, y, self.features(y, batch), batch);
        if self.0 == Kind::Apostate { loss + 1.0 } else { loss }
    }
}

impl SplitProblem for Weighted {
    fn features(&self, y: &Network, batch: &Points) -> Tensor<2> {
        let features = activation::tanh(y.body.forward(batch.inputs.clone()));
        match self.0 {
            Kind::Tied => features.matmul(y.fc.weight.val()),
            _ => features,
        }
    }

    fn head_loss(&self, x: &Values, y: &Network, features: Tensor<2>, batch: &Points) -> Tensor<1> {
        (activation::sigmoid(x.val()) * errors(y, features, batch)).mean()
    }
}

/// Numbers in [-1, 1].
fn numbers(seed: f64, n: usize) -> Vec<f64> {
    (0..n).map(|i| (seed + 1.7 * i as f64 + 0.3 * (i * i) as f64).sin()).collect()
}

fn modules() -> (Values, Network) {
    let device = device();
    let network = Network {
        body: MlpConfig::new(WIDTHS.to_vec()).init(&device),
        fc: LinearConfig::new(WIDTHS[2], WIDTHS[2]).init(&device),
    };
    (Values::new(&numbers(0.4, SAMPLES), &device), network)
}

fn points(seed: f64) -> Points {
    let tensor = |seed, width| {
        let data = TensorData::new(numbers(seed, SAMPLES * width), [SAMPLES, width]);
        Tensor::from_data(data, &device())
    };
    Points { inputs: tensor(seed, WIDTHS[0]), targets: tensor(seed + 0.5, WIDTHS[2]) }
}

type Staged = SplitOracle<Weighted, FullBatch<Points>>;

fn oracle(kind: Kind, x: &Values, y: &Network) -> Result<Staged, Error> {
    SplitOracle::new(Weighted(kind), x, y, FullBatch { upper: points(1.1), lower: points(2.3) })
}

/// x and y after three steps, and the cost of these steps.
fn steps(oracle: &dyn Oracle, start: &[Vector; 2], path: &str) -> (V, V, Cost) {
    let method = NsGame::new(Rates::new(0.05, 0.3).unwrap(), path);
    let [x, y] = start.clone();
    let mut solver = JointSolver::new(oracle, method, x, y).unwrap();
    for k in 0..3 {
        solver.step(k).unwrap();
    }
    (V(solver.x().to_vec()), V(solver.y().to_vec()), solver.cost())
}

/// A point at which no derivative is zero, and `network` with all hidden units inactive.
fn alive_and_dead(network: &Network) -> (Vector, Network) {
    let layout = Layout::of(network);
    let alive = Vector::from_slice(&layout, &numbers(0.2, layout.size()), &device());
    let biases = layout.under("body.layers.0.bias");
    assert_eq!(biases.len(), 1);
    let far = Vector::from_slice(&layout.part(&biases), &[-100.0; WIDTHS[1]], &device());
    let dead = alive.add_part(&biases, &far);
    (alive, dead.write_into(network.clone()))
}

/// y2 in the head, in the body, in both, and all of y; also a head that the body uses. The oracle is built at
/// a point where the gradient of the first layer is zero, which must not make that layer part of the head.
#[test]
fn steps_on_two_stages_are_those_on_the_whole_at_the_same_count() {
    let (x, network) = modules();
    let (alive, dead) = alive_and_dead(&network);
    for kind in [Kind::Apart, Kind::Tied] {
        let split = oracle(kind, &x, &dead).unwrap();
        let start = [split.whole().upper_start(), alive.clone()];
        for path in ["fc", "fc.bias", "body", "body.layers.0", ""] {
            let (x, y, cost) = steps(&split, &start, path);
            let (expected_x, expected_y, expected_cost) = steps(split.whole(), &start, path);
            assert_near(&format!("{kind:?}, {path}: x"), &x, &expected_x, 1e-12);
            assert_near(&format!("{kind:?}, {path}: y"), &y, &expected_y, 1e-12);
            assert_eq!(cost, expected_cost, "{kind:?}, {path}");
            let calls = [cost.upper_gradients, cost.lower_gradients, cost.lower_products];
            assert_eq!((calls, cost.total()), ([3; 3], 9), "{kind:?}, {path}");
        }
    }
}

/// `d/dx <f_y, v>` is the derivative of `f_x` along v.
#[test]
fn mixed_products_of_both_oracles_agree_with_differences() {
    let (x, network) = modules();
    let (y, _) = alive_and_dead(&network);
    let split = oracle(Kind::Apart, &x, &network).unwrap();
    let x = split.whole().upper_start();
    for oracle in [&split as &dyn Oracle, split.whole()] {
        let problem = LowerProblem::new(oracle, &x, Samples::default());
        for path in ["fc", "body", ""] {
            let part = y.layout().part(&y.layout().under(path));
            let v = Vector::from_slice(&part, &numbers(3.1, part.size()), &device());
            let (loss, slope, mixed) = problem.gradient_and_mixed(&y);
            let (expected_loss, expected) = problem.gradient(Objective::Lower, &y, Wrt::Y);
            assert_eq!(loss.read(), expected_loss.read());
            assert_eq!(slope.to_vec(), expected.into_y().to_vec());
            let f_x = |step: f64| {
                let moved = y.axpy_part(step, &v);
                V(problem.gradient(Objective::Lower, &moved, Wrt::X).1.into_x().to_vec())
            };
            let h = 1e-5;
            let expected = (0.5 / h) * &(&f_x(h) - &f_x(-h));
            assert_near(path, &V(mixed(&v).to_vec()), &expected, 1e-8);
        }
    }
}

#[test]
fn a_head_that_is_not_the_lower_loss_is_refused() {
    let (x, network) = modules();
    let refused = oracle(Kind::Apostate, &x, &network).err().unwrap();
    assert!(matches!(refused, Error::SplitLoss { found, expected } if expected == found + 1.0));
    assert!(refused.to_string().contains("write `lower_loss` as `head_loss("), "{refused}");
}

#[test]
fn a_path_that_leads_nowhere_is_refused() {
    let (x, network) = modules();
    let split = oracle(Kind::Apart, &x, &network).unwrap();
    let method = NsGame::new(Rates::new(0.05, 0.3).unwrap(), "fc.weights");
    let (x, y) = (split.whole().upper_start(), split.whole().lower_start());
    let refused = JointSolver::new(&split, method, x, y).err().unwrap();
    let setting = "path of y2";
    assert!(matches!(refused, Error::InvalidSetting { setting: found, .. } if found == setting));
    assert!(refused.to_string().contains("fc.weight, fc.bias"), "{refused}");
}

/// The messages of a step are a gradient of F in x and the part, one of f in y, and a product in the head alone.
#[test]
fn ranks_take_the_short_cut() {
    let (x, network) = modules();
    let (y, _) = alive_and_dead(&network);
    let run = |size: usize| {
        let parts = |own: std::ops::Range<usize>| own.map(|shard| points(shard as f64)).collect();
        let ranks = InProcess::ranks(size).into_iter();
        std::thread::scope(|scope| {
            let ranks = ranks.map(|group| {
                scope.spawn(|| {
                    let own = group.share(4);
                    let data = Batches::new(parts(own.clone()), parts(own)).unwrap();
                    let inner =
                        SplitOracle::new(Weighted(Kind::Apart), &x, &network, data).unwrap();
                    let group = parallel::Metered::new(group);
                    let oracle = DataParallel::new(inner, group, 4).unwrap();
                    let start = [oracle.whole().upper_start(), y.clone()];
                    let (x, y, _) = steps(&oracle, &start, "fc");
                    let parallel::Traffic { messages, numbers, .. } = oracle.group().traffic();
                    (x, y, messages, numbers)
                })
            });
            let ranks: Vec<_> = ranks.collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let alone = run(1).remove(0);
    let (ny, part, nx) = (y.layout().size(), WIDTHS[2] * (WIDTHS[2] + 1), SAMPLES);
    for (x, y, messages, numbers) in run(2) {
        assert_eq!((&x, &y), (&alone.0, &alone.1));
        assert_eq!(messages, 3 * 3);
        assert_eq!(numbers as usize, 3 * (ny + part + 2 * nx + 2));
    }
}
