//! A run of a joint method that is saved and resumed gives the same result as an uninterrupted run, bit for
//! bit.

#[path = "../common/odd_states.rs"]
mod odd_states;

use bilevel_core::*;
use bilevel_problems::{Constrained, Instance};

use self::odd_states::assert_odd_states_end_nothing;
use crate::common::*;
use crate::{device, joint, stochastic};

const STEPS: usize = 6;
const BATCHES: usize = 4;

/// A problem and a method on it, created anew as in another process.
type Made = (Instance, Box<dyn JointMethod>);

fn made(at: Instance, method: impl JointMethod + 'static) -> Made {
    (at, Box::new(method))
}

/// Compares six steps in one run with a run that is saved, restored into a new solver and continued: saved
/// before the first step, soon after, and later.
fn assert_resumes(make: &dyn Fn() -> Made, sampler: &Sampler) {
    let steps = |solver: &mut JointSolver<'_>, from, to| -> Vec<Observation> {
        (from..to).map(|k| solver.step(k).unwrap()).collect()
    };
    for saved_after in [0, 1, 3, 4] {
        let [(a, method), (b, again), (c, fresh)] = [(); 3].map(|()| make());
        let name = format!("{}, saved after {saved_after}", method.describe());
        let mut whole = start(&a, method, sampler);
        let (mut first, mut second) = (start(&b, again, sampler), start(&c, fresh, sampler));
        let seen = steps(&mut whole, 0, STEPS);
        steps(&mut first, 0, saved_after);
        let file = serde_json::to_vec(&first.save()).unwrap();
        second.restore(serde_json::from_slice(&file).unwrap()).unwrap();
        assert_eq!(second.save(), first.save(), "{name}, at once");
        assert_eq!(steps(&mut second, saved_after, STEPS), seen[saved_after..], "{name}, seen");
        assert_eq!(second.x().to_data(), whole.x().to_data(), "{name}, x");
        assert_eq!(second.y().to_data(), whole.y().to_data(), "{name}, y");
        assert_eq!(second.save(), whole.save(), "{name}, at the end");
    }
    let [(a, method), (b, again)] = [(); 2].map(|()| make());
    let (mut first, mut second) = (start(&a, method, sampler), start(&b, again, sampler));
    steps(&mut first, 0, 3);
    assert_odd_states_end_nothing(&first.describe(), &first.save(), 3, &mut second);
}

fn start<'a>(at: &'a Instance, method: Box<dyn JointMethod>, sampler: &Sampler) -> JointSolver<'a> {
    let (x, y) = (at.x.clone(), at.y.clone());
    JointSolver::new(&at.oracle, method, x, y).unwrap().with_sampler(sampler.clone())
}

fn rates() -> Rates {
    Rates::new(0.05, 0.1).unwrap()
}

#[test]
fn every_method_of_gradients_and_products_resumes() {
    for which in 0..joint::written().len() {
        let method = || joint::written().swap_remove(which).1;
        assert_resumes(&|| (instance(), method()), &Sampler::full());
    }
    // Its tolerance is met at every step.
    let penalty = || {
        Penalty::new(rates(), PenaltySettings { steps: 2, gamma: 0.7, tolerance: 1e9 })
            .unwrap()
            .with_multipliers()
    };
    assert_resumes(&|| made(instance(), penalty()), &Sampler::full());
    let relaxation = Relaxation::geometric(1.0, 0.9).unwrap();
    let bvfim = || {
        Bvfim::new(
            rates(),
            BvfimSettings { lower_steps: 3, lower_rate: 0.3.into(), steps: 2, relaxation },
        )
        .unwrap()
    };
    assert_resumes(&|| made(instance(), bvfim()), &Sampler::full());
    let solved = || bvfim().solved_by(Lbfgs::new(20, 1e-9).unwrap());
    assert_resumes(&|| made(instance(), solved()), &Sampler::full());
}

#[test]
fn multipliers_of_constraints_resume() {
    // Infeasible, so that the constraint is active.
    let (outside, device) = ([0.9; 3], device());
    let penalty = || {
        let settings = PenaltySettings { steps: 2, gamma: 0.7, tolerance: 1e9 };
        Penalty::new(rates(), settings).unwrap().with_multipliers()
    };
    let (upper, lower) = (Constrained::UPPER, Constrained::LOWER);
    for problem in [upper, upper.equal(), lower, lower.equal()] {
        let at = || problem.at(&outside, &outside, &device).unwrap();
        assert_resumes(&|| made(at(), penalty()), &Sampler::full());
    }
    let gap = || {
        let method = Gap::new(rates(), 0.3, (2.0, 1.0), 0.8).unwrap();
        made(lower.at(&outside, &outside, &device).unwrap(), method)
    };
    assert_resumes(&gap, &Sampler::full());
}

#[test]
fn momentum_resumes() {
    let at = instance();
    let make = || {
        let (x, y) = (at.x.clone(), at.y.clone());
        let ball = || HeavyBall::new(0.7, 0.1).unwrap();
        let method = Alternating::new(rates());
        let solver = JointSolver::new(&at.oracle, method, x, y).unwrap();
        solver.with_momentum(Variable::X, ball()).with_momentum(Variable::Y, ball())
    };
    let (mut whole, mut first, mut second) = (make(), make(), make());
    let steps = |solver: &mut JointSolver<'_>, from, to| {
        for k in from..to {
            solver.step(k).unwrap();
        }
    };
    steps(&mut whole, 0, STEPS);
    steps(&mut first, 0, 3);
    second.restore(first.save()).unwrap();
    steps(&mut second, 3, STEPS);
    assert_eq!(second.save(), whole.save());
}

#[test]
fn every_stochastic_method_resumes() {
    let settings = stochastic::telling();
    let samplers = [
        Sampler::epochs(BATCHES, BATCHES, 3).unwrap(),
        Sampler::with_replacement(BATCHES, BATCHES, 3).unwrap(),
    ];
    for method in stochastic::methods() {
        for sampler in &samplers {
            let make = || (stochastic(BATCHES, 0.2), (method.build)(&settings));
            assert_resumes(&make, sampler);
        }
    }
    for sampler in &samplers {
        let method = || stochastic::on_batches(&settings, true);
        assert_resumes(&|| made(stochastic(BATCHES, 0.2), method()), sampler);
    }
}

#[test]
fn every_proxy_resumes() {
    let learned = || Scale::learned(0.7, 0.2, 0.3).unwrap();
    let network = |at: &Instance| {
        let network = MlpHypernetwork::new(&at.x, &at.y, 4, 5).unwrap();
        NetworkProxy::new(network, &at.x, &at.y).unwrap()
    };
    let global = || {
        let (at, region) = (instance(), Region::uniform(vec![-1.0; M], vec![1.0; M]).unwrap());
        let method = Hypernetwork::new(network(&at), rates(), region, 11).with_warm_up(2);
        made(at, method)
    };
    let local = || {
        let (at, region) = (instance(), Region::local(learned()));
        let method = Hypernetwork::new(network(&at), rates(), region, 11);
        made(at, method)
    };
    let stn = || {
        let at = instance();
        let response = RankOneAffine::new(&at.x, &at.y, 5);
        made(at, Stn::new(response, rates(), learned(), 11).with_training_steps(2).unwrap())
    };
    let delta_stn = || {
        let at = instance();
        let jacobian = RankOne::new(&at.x, &at.y, 5);
        made(at, DeltaStn::new(jacobian, rates(), learned(), 11))
    };
    let all: [&dyn Fn() -> Made; 4] = [&global, &local, &stn, &delta_stn];
    for make in all {
        assert_resumes(make, &Sampler::full());
    }
}

#[test]
fn a_state_of_another_method_or_sampler_is_refused() {
    let at = stochastic(BATCHES, 0.2);
    let epochs = Sampler::epochs(BATCHES, BATCHES, 3).unwrap();
    let soba = || Box::new(Soba::new(rates()));
    let mut first = start(&at, soba(), &epochs);
    first.step(0).unwrap();
    let refusal = |mut to: JointSolver<'_>| to.restore(first.save()).unwrap_err().to_string();
    let text = refusal(start(&at, Box::new(Saba::new(rates())), &epochs));
    assert!(text.starts_with("`solver` of the saved state is the name `soba`, expected"), "{text}");
    let text = refusal(start(&at, soba(), &Sampler::full()));
    assert!(
        text.starts_with("`sampler/upper/batches` of the saved state is the count 4"),
        "{text}"
    );
    let replacing = Sampler::with_replacement(BATCHES, BATCHES, 3).unwrap();
    let text = refusal(start(&at, soba(), &replacing));
    assert!(
        text.starts_with("`sampler/upper/order` of the saved state is the name `epochs`"),
        "{text}"
    );
}
