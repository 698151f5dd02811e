//! What every dynamics must satisfy, on the device of the binary that includes this file.

#[path = "dynamics/formulas.rs"]
mod formulas;
#[path = "dynamics/proximal.rs"]
mod proximal;
#[path = "dynamics/reversible.rs"]
mod reversible;
#[path = "dynamics/special.rs"]
mod special;
#[path = "dynamics/tuning.rs"]
mod tuning;

use bilevel_core::lower::{State, Update, pull_back, push_forward};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::module::Param;
use burn::tensor::{Int, Tensor};

use crate::common::*;
use crate::device;
use tuning::*;

/// Every dynamics, with settings under which its terms matter. A new one is one line.
fn dynamics() -> Vec<(&'static str, Box<dyn Dynamics>)> {
    let gd = || Gd::new(0.3).unwrap();
    let heavy = || Momentum::new(0.2, 0.8).unwrap();
    let adam = |step: Coefficient| {
        Adam::new(step).unwrap().with_decay(0.7, 0.8).unwrap().with_epsilon(0.05).unwrap()
    };
    let rms_prop = |step: Coefficient| {
        RmsProp::new(step).unwrap().with_decay(0.8).unwrap().with_epsilon(0.05).unwrap()
    };
    let rate = || Coefficient::exp("rate");
    let fading = Weight::Decaying(0.9);
    vec![
        ("gd", Box::new(gd())),
        ("gd, learned", Box::new(Gd::new(rate()).unwrap())),
        ("momentum", Box::new(heavy())),
        ("momentum, learned", {
            Box::new(Momentum::new(rate(), Coefficient::sigmoid("momentum")).unwrap())
        }),
        ("nesterov", Box::new(Nesterov::new(0.2).unwrap())),
        ("nesterov, standard and learned", Box::new(Nesterov::standard(rate()).unwrap())),
        ("adam", Box::new(adam(0.1.into()))),
        ("adam, learned", Box::new(adam(rate()))),
        ("rms-prop", Box::new(rms_prop(0.1.into()))),
        ("rms-prop, learned", Box::new(rms_prop(rate()))),
        ("adam, eps outside", Box::new(adam(rate()).with_epsilon_outside(0.05).unwrap())),
        ("rms-prop, eps outside", Box::new(rms_prop(rate()).with_epsilon_outside(0.05).unwrap())),
        ("projected onto a box", {
            Box::new(Projected::new(heavy(), Bounds::new(-0.4, 0.3).unwrap()))
        }),
        ("projected onto a ball", {
            Box::new(Projected::new(Nesterov::new(rate()).unwrap(), Ball::new(0.8).unwrap()))
        }),
        ("projected onto no bound", Box::new(Projected::new(gd(), Ball::new(100.0).unwrap()))),
        ("projected onto simplices", {
            Box::new(Projected::new(gd(), Simplex::each(1.0).unwrap()))
        }),
        ("projected onto one simplex", {
            Box::new(Projected::new(gd(), Simplex::together(2.0).unwrap()))
        }),
        ("proximal", Box::new(Projected::new(gd(), SoftThreshold::new(0.05).unwrap()))),
        ("proximal, learned", {
            let map = SoftThreshold::new(rate()).unwrap().times(0.2).unwrap();
            Box::new(Projected::new(gd(), map))
        }),
        ("elastic net, learned", {
            let map = ElasticNet::new(rate(), Coefficient::sigmoid("momentum")).unwrap();
            Box::new(Projected::new(gd(), map.times(0.2).unwrap()))
        }),
        ("elastic net", { Box::new(Projected::new(heavy(), ElasticNet::new(0.05, 0.2).unwrap())) }),
        ("group lasso of rows, learned", {
            let map = GroupLasso::rows(rate()).unwrap().times(0.2).unwrap();
            Box::new(Projected::new(gd(), map))
        }),
        ("group lasso of variables", {
            Box::new(Projected::new(gd(), GroupLasso::variables(0.05).unwrap()))
        }),
        ("a learned ball", {
            let radius = Coefficient::sigmoid("momentum");
            Box::new(Projected::new(gd(), Scaled::new(Ball::new(1.0).unwrap(), radius).unwrap()))
        }),
        ("a learned box", {
            let set = Bounds::new(-1.0, 1.2).unwrap();
            Box::new(Projected::new(heavy(), Scaled::new(set, rate()).unwrap()))
        }),
        ("learned simplices", {
            let set = Simplex::each(1.0).unwrap();
            let sum = Coefficient::sigmoid("momentum");
            Box::new(Projected::new(gd(), Scaled::new(set, sum).unwrap()))
        }),
        ("proximal after learned momentum", {
            let map: Box<dyn Proximal> = Box::new(
                SoftThreshold::new(Coefficient::sigmoid("momentum")).unwrap().times(0.05).unwrap(),
            );
            Box::new(Projected::new(Momentum::new(rate(), 0.7).unwrap(), map))
        }),
        ("aggregated", Box::new(Aggregated::new(0.4, 0.3, fading).unwrap())),
        ("aggregated, constant", {
            Box::new(Aggregated::new(0.4, 0.3, Weight::Constant(0.6)).unwrap())
        }),
        ("pessimistic", Box::new(Aggregated::pessimistic(0.4, 0.3, fading).unwrap())),
        ("aggregated in a ball", {
            let rates = (Schedule::power(0.4, 0.5), Schedule::geometric(0.3, 0.9));
            let aggregated = Aggregated::new(rates.0, rates.1, fading).unwrap();
            Box::new(Projected::new(aggregated, Ball::new(0.8).unwrap()))
        }),
        ("gd, scheduled", Box::new(Gd::new(Schedule::power(0.4, 0.5)).unwrap())),
        ("momentum, a learned rate a step", {
            let rates = Coefficient::exp("rates").each_step();
            Box::new(Momentum::new(rates, Schedule::geometric(0.8, 0.7)).unwrap())
        }),
        ("adam, a rate for each part", Box::new(adam(two_rates()))),
        ("nesterov, a rate for each part", Box::new(Nesterov::new(two_rates()).unwrap())),
        ("clipped by value", Box::new(Clipped::by_value(heavy(), 0.07).unwrap())),
        ("clipped by norm", {
            Box::new(Clipped::by_norm(Nesterov::new(rate()).unwrap(), 0.15).unwrap())
        }),
        ("weight decay, learned", {
            let decay = Coefficient::sigmoid("momentum");
            Box::new(WeightDecay::new(Nesterov::standard(rate()).unwrap(), decay).unwrap())
        }),
        ("weight decay, decoupled and learned", {
            Box::new(WeightDecay::new(adam(rate()), two_rates()).unwrap().decoupled())
        }),
        ("custom", Box::new(Custom::new("bent momentum", bent_momentum).with_memory(1))),
        ("custom, learned", Box::new(learned_optimiser())),
        ("custom in a box", {
            let inner = Custom::new("bent momentum", bent_momentum).with_memory(1);
            Box::new(Projected::new(inner, Bounds::new(-0.4, 0.3).unwrap()))
        }),
        ("diagonal", Box::new(Preconditioned::new(gd(), Diagonal::new("factors")))),
        ("kronecker", Box::new(Preconditioned::new(gd(), Kronecker::new("curvature")))),
        ("kronecker, learned adam", {
            Box::new(Preconditioned::new(adam(rate()), Kronecker::new("curvature")))
        }),
        ("diagonal, boxed nesterov", {
            let inner: Box<dyn Dynamics> = Box::new(Nesterov::standard(0.2).unwrap());
            Box::new(Preconditioned::new(inner, Diagonal::new("factors")))
        }),
    ]
}

/// A learned rate for the weight, a fixed one for the rest.
fn two_rates() -> Coefficient {
    Coefficient::parts([("weight", Coefficient::exp("rate")), ("", 0.2.into())])
}

/// `v' = 0.8 v + g / sqrt(1 + norm(g)^2)`, `y' = y - 0.3 / (t + 1) tanh(v')`: nonlinear everywhere, and not
/// elementwise.
fn bent_momentum(
    _: &Nothing,
    Entries { y, mut memory }: Entries,
    g: Tensor<1>,
    t: Tensor<1, Int>,
) -> Entries {
    let length = (g.clone().powi_scalar(2).sum() + 1.0).sqrt();
    let v = memory.remove(0) * 0.8 + g / length;
    let y = y - v.clone().tanh() * (t.float() + 1.0).recip() * 0.3;
    Entries { y, memory: vec![v] }
}

/// A network on the gradient and the entry itself, for each entry: `factors` of x.
fn learned_optimiser() -> impl Dynamics {
    let (weight, bias) =
        (Tensor::zeros([FEATURES, FEATURES_OUT], &device()), Tensor::zeros([2], &device()));
    let like = Layer { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) };
    Custom::learned("network", "factors", &like, |network: &Layer, at: Entries, g: Tensor<1>, _| {
        let features = Tensor::stack::<2>(vec![g.clone(), at.y.clone() * 0.1, g.clone().sin()], 1);
        let hidden =
            features.matmul(network.weight.val().narrow(0, 0, 3)) + network.bias.val().unsqueeze();
        Entries { y: at.y - hidden.tanh().sum_dim(1).squeeze_dim(1) * g * 0.2, memory: at.memory }
    })
}

/// Where the derivatives of a few steps are tested: memories are positive, like second moments.
fn middle(oracle: &TuningOracle, dynamics: &dyn Dynamics) -> Place {
    let state = dynamics.start(&oracle.lower_start());
    let positive = |(m, seed): (&Vector, u64)| {
        let values: Vec<_> = random(m, seed).to_vec().iter().map(|v| 0.3 + 0.2 * v).collect();
        Vector::from_slice(m.layout(), &values, &m.device())
    };
    let memory = state.memory.iter().zip(90..).map(positive).collect();
    (oracle.upper_start(), State { y: state.y, memory })
}

const STEPS: usize = 3;

/// The states before each of a few steps, and the last.
fn trajectory(problem: &LowerProblem<'_>, dynamics: &dyn Dynamics, start: &State) -> Vec<State> {
    let mut states = vec![start.clone()];
    for t in 0..STEPS {
        states.push(advance(problem, dynamics, t, &states[t]));
    }
    states
}

#[test]
fn the_adjoint_of_a_few_steps_is_that_of_differences_and_of_the_tangent() {
    for (name, dynamics) in dynamics() {
        for fit in BOTH {
            let oracle = tuning(fit, false);
            let at = middle(&oracle, dynamics.as_ref());
            let end = |(x, start): &Place| {
                let problem = LowerProblem::new(&oracle, x, Samples::default());
                trajectory(&problem, dynamics.as_ref(), start).pop().unwrap()
            };
            // F depends only on y, a later step also on the memory.
            let weight = random_place(&at, 80);
            let value = |place: &Place| {
                let end = (weight.0.zeros_like(), end(place));
                inner(&end, &weight)
            };

            let problem = LowerProblem::new(&oracle, &at.0, Samples::default());
            let states = trajectory(&problem, dynamics.as_ref(), &at.1);
            let mut back = (at.0.zeros_like(), weight.1.clone());
            for t in (0..STEPS).rev() {
                let pulled =
                    pull_back(&problem, dynamics.as_ref(), t, &states[t], back.1, Wrt::Both);
                back = (back.0.add(pulled.x.as_ref().unwrap()), pulled.into_state());
            }
            for (which, along) in directions(&at).iter().enumerate() {
                let what = format!("{name}, {fit:?}, direction {which}");
                let found = inner(&back, along);
                let expected = slope(|h| value(&shifted(&at, h, along)));
                assert_close(&what, &[found], &[expected], 1e-7);

                let mut tangent = along.1.clone();
                for (t, state) in states[..STEPS].iter().enumerate() {
                    let x = Some(&along.0);
                    tangent = push_forward(&problem, dynamics.as_ref(), t, state, &tangent, x);
                }
                let tangent = inner(&(along.0.zeros_like(), tangent), &weight);
                assert_close(&what, &[tangent], &[found], 1e-12);
            }
        }
    }
}

#[test]
fn rad_is_the_derivative_of_a_few_steps() {
    for fit in BOTH {
        let oracle = tuning(fit, false);
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        for steps in [1, 2, 7] {
            for ((name, plain), (_, through)) in dynamics().into_iter().zip(dynamics()) {
                let descent = Descent::new(plain, steps).unwrap();
                let value = |x: Vector| {
                    let problem = LowerProblem::new(&oracle, &x, Samples::default());
                    let end = descent.run(&problem, &y).unwrap().state.y;
                    problem.value(Objective::Upper, &end).read()
                };
                let mut rad = Unrolled::rad(Descent::new(through, steps).unwrap());
                let problem = LowerProblem::new(&oracle, &x, Samples::default());
                let found = rad.hypergradient(problem, &y).unwrap().gradient;
                // The test above checks the variables of x one by one.
                let along = random(&x, 60);
                let expected = slope(|h| value(x.axpy(h, &along)));
                let what = format!("{name}, {fit:?}, {steps} steps");
                assert_close(&what, &[found.dot(&along)], &[expected], 1e-8);
            }
        }
    }
}

#[test]
fn differences_in_one_stage_go_through_every_dynamics() {
    for fit in BOTH {
        let oracle = tuning(fit, false);
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        for ((name, exact), (_, differences)) in dynamics().into_iter().zip(dynamics()) {
            let expected = OneStage::new(exact).hypergradient(problem, &y).unwrap().gradient;
            let mut differences = OneStageFd::new(differences).with_distance(1e-3).unwrap();
            let found = differences.hypergradient(problem, &y).unwrap().gradient;
            let what = format!("{name}, {fit:?}");
            assert_close(&what, &found.to_vec(), &expected.to_vec(), 1e-5);
        }
    }
}

#[test]
fn a_constant_gradient_leads_to_the_steady_memory() {
    let oracle = tuning(Fit::Squares, false);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let (slope, last) = (random(&y, 7), 80);
    for (name, dynamics) in dynamics() {
        let given = || slope.clone();
        let step = |t, state: &State| dynamics.step(&Update::new(t, &x, state, &given));
        let held = |state: State| State { y: y.clone(), memory: state.memory };
        let led = (0..last).fold(dynamics.start(&y), |state, t| held(step(t, &state)));
        let (found, expected) =
            (step(last, &dynamics.steady(last, &x, &y, &slope)), step(last, &led));
        if !name.starts_with("custom") {
            assert_close(name, &found.y.sub(&y).to_vec(), &expected.y.sub(&y).to_vec(), 1e-6);
        }
    }
}
