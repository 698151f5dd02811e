//! Thousands of calls of the oracles, of each kind and mixed, and of whole hypergradients, do not increase the memory
//! of the process.

#[path = "../../bilevel-program/tests/common/memory.rs"]
mod memory;

use std::cell::Cell;
use std::sync::Arc;

use bilevel_core::*;
use bilevel_program::{Layout, Vector};
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use memory::keeps_memory;

const CALLS: usize = 5_000;
const HYPERGRADIENTS: usize = 500;

type X = Param<Tensor<1>>;
/// A body and a head.
type Y = (Linear, Linear);

/// `f = mean((head(tanh(body(a))))^2) + exp(x) norm(head)^2`, `F = mean(.. - 1)^2`.
struct Penalised;

impl Penalised {
    fn fit(y: &Y, features: Tensor<2>, target: f64) -> Tensor<1> {
        (y.1.forward(features) - target).powi_scalar(2).mean()
    }
}

impl BilevelProblem for Penalised {
    type Upper = X;
    type Lower = Y;
    type Batch = Tensor<2>;

    fn upper_loss(&self, _: &X, y: &Y, batch: &Tensor<2>) -> Tensor<1> {
        Self::fit(y, self.features(y, batch), 1.0)
    }

    fn lower_loss(&self, x: &X, y: &Y, batch: &Tensor<2>) -> Tensor<1> {
        self.head_loss(x, y, self.features(y, batch), batch)
    }

    fn constraints(&self, level: Objective, x: &X, y: &Y, _: &Tensor<2>) -> Conditions {
        match level {
            Objective::Upper => Conditions::default(),
            Objective::Lower => Conditions::at_most_zero(y.1.weight.val().reshape([-1]) - x.val()),
        }
    }
}

impl SplitProblem for Penalised {
    fn features(&self, y: &Y, batch: &Tensor<2>) -> Tensor<2> {
        tanh(y.0.forward(batch.clone()))
    }

    fn head_loss(&self, x: &X, y: &Y, features: Tensor<2>, _: &Tensor<2>) -> Tensor<1> {
        Self::fit(y, features, 0.0) + x.val().exp() * y.1.weight.val().powi_scalar(2).sum()
    }
}

fn problem() -> (X, Y, FullBatch<Tensor<2>>) {
    let device = Device::flex();
    let batch = || Tensor::<2>::from_floats([[1.0, 2.0, 0.5], [3.0, -1.0, 0.1]], &device);
    let y = (LinearConfig::new(3, 8).init(&device), LinearConfig::new(8, 1).init(&device));
    (Param::from_data([0.0], &device), y, FullBatch { upper: batch(), lower: batch() })
}

/// One test, as memory belongs to the process.
#[test]
fn oracles_do_not_pile_up_memory() {
    let (x, y, data) = problem();
    let oracle = AutodiffOracle::new(Penalised, &x, &y, data.clone()).unwrap();
    calls("an oracle", &oracle);
    constraints(&oracle);
    calls("a split oracle", &SplitOracle::new(Penalised, &x, &y, data).unwrap());
}

/// Each call in turn.
fn mixed(kinds: &[&dyn Fn()]) {
    thread_local! {
        static TURN: Cell<usize> = const { Cell::new(0) };
    }
    TURN.set(TURN.get() + 1);
    kinds[TURN.get() % kinds.len()]();
}

fn calls(what: &str, oracle: &dyn Oracle) {
    let vector = |layout: &Arc<Layout>| {
        Vector::from_slice(layout, &vec![0.2; layout.size()], &Device::flex())
    };
    let (x, y) = (vector(oracle.upper_layout()), vector(oracle.lower_layout()));
    let at = Point { x: &x, y: &y, sample: Sample::default() };
    // The head alone, as for methods with a part of y.
    let head = oracle.lower_layout().part(&oracle.lower_layout().under("1"));
    let of_head = y.only(&head);
    let problem = LowerProblem::new(oracle, &x, Samples::default());
    let value = || {
        oracle.value(Objective::Upper, at).read();
    };
    let gradient = || drop(oracle.gradient(Objective::Lower, at, Wrt::Both));
    let in_part = || drop(oracle.gradient(Objective::Lower, at, Wrt::Part(&head)));
    let product = || drop(oracle.product(Objective::Lower, at, Direction::in_y(&y), Wrt::Both));
    let linearize = || {
        let (gradient, along) = (Some(Wrt::Y), Wrt::Y);
        let found = oracle.linearize(Objective::Lower, at, gradient, along, Wrt::Both);
        drop(found.hessian.product(Direction::in_y(&y), Wrt::Y));
        drop(found.hessian.product(Direction::in_y(&y), Wrt::X));
    };
    let mixed_product = || drop(oracle.gradient_and_mixed(at).2(&y));
    let mixed_of_head = || drop(oracle.gradient_and_mixed(at).2(&of_head));
    let program = || drop(oracle.program(Objective::Lower, Derivative::Product, at));
    let curvature = || {
        let objective = WeightedSum { upper: 0.5, lower: 1.0 };
        let (_, _, curvature) = problem.slope_and_curvature(objective, &y);
        drop(curvature.product(Direction::in_y(&y), Wrt::Both));
    };
    let kinds: [(&str, &dyn Fn()); 9] = [
        ("value", &value),
        ("gradient", &gradient),
        ("gradient in a part", &in_part),
        ("product", &product),
        ("linearisation", &linearize),
        ("mixed product", &mixed_product),
        ("mixed product of a part", &mixed_of_head),
        ("program", &program),
        ("curvature", &curvature),
    ];
    for (name, call) in kinds {
        keeps_memory(&format!("a {name} of {what}"), CALLS, call);
    }
    let all = kinds.map(|(_, call)| call);
    keeps_memory(&format!("each call of {what}"), CALLS, &|| mixed(&all));

    let gd = || Descent::new(Gd::new(0.1).unwrap(), 3).unwrap();
    let hypergradient = |method: &dyn Fn() -> Box<dyn HypergradientMethod>| {
        drop(method().hypergradient(problem, &y).unwrap());
    };
    let methods: [&dyn Fn() -> Box<dyn HypergradientMethod>; 4] = [
        &|| Box::new(Unrolled::rad(gd())),
        &|| Box::new(Unrolled::rad(gd()).with_plan(Plan::Results(1 << 20))),
        &|| Box::new(Fad::new(gd())),
        &|| Box::new(Implicit::new(gd(), Cg::new(3, 1e-9).unwrap().with_damping(1.0).unwrap())),
    ];
    let hypergradients = || methods.iter().for_each(|method| hypergradient(method));
    keeps_memory(&format!("a hypergradient on {what}"), HYPERGRADIENTS, &hypergradients);
}

fn constraints(oracle: &dyn Oracle) {
    let vector = |layout: &Arc<Layout>| {
        Vector::from_slice(layout, &vec![0.2; layout.size()], &Device::flex())
    };
    let (x, y) = (vector(oracle.upper_layout()), vector(oracle.lower_layout()));
    let constraints = oracle.constraints(Objective::Lower, Sample::default()).unwrap();
    let ones = vec![1.0; constraints.count()];
    let values = || drop(constraints.values(&x, &y));
    let pull_back = || drop(constraints.pull_back(&x, &y, &mut |h| h.to_vec()));
    let along = (&ones[..], Direction::in_y(&y));
    let product = || drop(constraints.product(&x, &y, &ones, along));
    keeps_memory("the values of constraints", CALLS, &values);
    keeps_memory("a pull-back of constraints", CALLS, &pull_back);
    keeps_memory("a product of constraints", CALLS, &product);
    keeps_memory("each call of constraints", CALLS, &|| mixed(&[&values, &pull_back, &product]));
}
