//! A run of a joint method that is saved and resumed is the run that was never interrupted, bit by bit.

use bilevel_core::*;
use bilevel_problems::{Constrained, Instance};
use burn::backend::Autodiff;

use crate::B;
use crate::common::*;
use crate::{joint, stochastic};

const STEPS: usize = 6;
const BATCHES: usize = 4;

type Make<'a> = &'a dyn Fn() -> Box<dyn JointMethod<B>>;

fn solver<'a>(at: &'a Instance<B>, make: Make<'_>, sampler: &Sampler) -> JointSolver<'a, B> {
    let (x, y) = (at.x.clone(), at.y.clone());
    JointSolver::new(at.oracle.as_ref(), make(), x, y).unwrap().with_sampler(sampler.clone())
}

/// Six steps at once, and some, a file, a fresh solver and the rest; saved where something has just begun,
/// and later.
fn assert_resumes(at: &Instance<B>, make: Make<'_>, sampler: &Sampler) {
    let name = make().describe();
    let steps = |solver: &mut JointSolver<'_, B>, from, to| -> Vec<Step> {
        (from..to).map(|k| solver.step(k).unwrap()).collect()
    };
    let new = || solver(at, make, sampler);
    let mut whole = new();
    let seen = steps(&mut whole, 0, STEPS);
    for made in [0, 1, 3, 4] {
        let (mut first, mut second) = (new(), new());
        steps(&mut first, 0, made);
        let file = serde_json::to_vec(&first.save()).unwrap();
        second.restore(serde_json::from_slice(&file).unwrap()).unwrap();
        assert_eq!(second.save(), first.save(), "{name}, as it was saved after {made}");
        let found = steps(&mut second, made, STEPS);
        assert_eq!(found, seen[made..], "{name}, what the steps after {made} saw");
        assert_eq!(second.x().to_data(), whole.x().to_data(), "x of {name}");
        assert_eq!(second.y().to_data(), whole.y().to_data(), "y of {name}");
        assert_eq!(second.save(), whole.save(), "{name}, at the end");
    }
}

#[test]
fn every_method_of_gradients_and_products_resumes() {
    let at = instance();
    for which in 0..joint::written().len() {
        let make = || joint::written().swap_remove(which).1;
        assert_resumes(&at, &make, &Sampler::full());
    }
    let rates = || Rates::new(0.05, 0.1).unwrap();
    let multipliers = || Penalty::new(rates(), 2, 0.7, 1e9).unwrap().with_multipliers();
    assert_resumes(&at, &|| Box::new(multipliers()), &Sampler::full());
    let relaxation = Relaxation::geometric(1.0, 0.9).unwrap();
    let bvfim = || Bvfim::new(rates(), 3, 0.3, 2, relaxation).unwrap();
    assert_resumes(&at, &|| Box::new(bvfim()), &Sampler::full());
}

#[test]
fn multipliers_of_constraints_resume() {
    let problem = Constrained::new(3, 4, 7).unwrap();
    let at = problem.instance(&crate::device()).unwrap();
    let rates = || Rates::new(0.05, 0.1).unwrap();
    let penalty = || Penalty::new(rates(), 2, 0.7, 1e9).unwrap().with_multipliers();
    assert_resumes(&at, &|| Box::new(penalty().with_inequalities(problem.constraints())), &Sampler::full());
}

#[test]
fn every_stochastic_method_resumes() {
    let at = stochastic(BATCHES, 0.2);
    let settings = stochastic::telling();
    let samplers = [
        Sampler::epochs(BATCHES, BATCHES, 3).unwrap(),
        Sampler::with_replacement(BATCHES, BATCHES, 3).unwrap(),
    ];
    for method in stochastic::methods() {
        for sampler in &samplers {
            assert_resumes(&at, &|| (method.build)(&settings), sampler);
        }
    }
}

#[test]
fn every_proxy_resumes() {
    let at = instance();
    let rates = || Rates::new(0.05, 0.1).unwrap();
    let learned = || Scale::learned(0.7, 0.2, 0.3).unwrap();
    let network = || {
        let network = MlpHypernetwork::<Autodiff<B>>::new(&at.x, &at.y, 4, 5).unwrap();
        NetworkProxy::new(network, &at.x, &at.y).unwrap()
    };
    let affine = || RankOneAffine::new(&at.x, &at.y, 5);
    let uniform = || Region::uniform(vec![-1.0; M], vec![1.0; M]).unwrap();
    let global = || Hypernetwork::new(network(), rates(), uniform(), 11);
    assert_resumes(&at, &|| Box::new(global().with_warm_up(2)), &Sampler::full());
    let local = || Hypernetwork::new(network(), rates(), Region::local(learned()), 11);
    assert_resumes(&at, &|| Box::new(local()), &Sampler::full());
    let stn = || Stn::new(affine(), rates(), learned(), 11);
    assert_resumes(&at, &|| Box::new(stn().with_training_steps(2).unwrap()), &Sampler::full());
    let delta = || DeltaStn::new(RankOne::new(&at.x, &at.y, 5), rates(), learned(), 11);
    assert_resumes(&at, &|| Box::new(delta()), &Sampler::full());
}

#[test]
fn a_state_of_another_method_or_sampler_is_refused() {
    let at = stochastic(BATCHES, 0.2);
    let sampler = Sampler::epochs(BATCHES, BATCHES, 3).unwrap();
    let soba: Make<'_> = &|| Box::new(Soba::new(Rates::new(0.05, 0.1).unwrap()));
    let saba: Make<'_> = &|| Box::new(Saba::new(Rates::new(0.05, 0.1).unwrap()));
    let mut first = solver(&at, soba, &sampler);
    first.step(0).unwrap();
    let refusal = |mut to: JointSolver<'_, B>| to.restore(first.save()).unwrap_err().to_string();
    let text = refusal(solver(&at, saba, &sampler));
    assert!(text.starts_with("`solver` of the saved state is the name `soba`, expected"), "{text}");
    let text = refusal(solver(&at, soba, &Sampler::full()));
    assert!(text.starts_with("`sampler/upper/batches` of the saved state is the count 4"), "{text}");
    let replacing = Sampler::with_replacement(BATCHES, BATCHES, 3).unwrap();
    let text = refusal(solver(&at, soba, &replacing));
    assert!(text.starts_with("`sampler/upper/left` of the saved state is U64 numbers"), "{text}");
}
