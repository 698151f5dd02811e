//! Hypergradients on batches.

use super::*;

/// `neumann` after one step on the batch of the series; a warm start does not change its result.
pub fn on_batches(settings: &Settings, warm: bool) -> OnBatches {
    on_batches_after(Descent::new(Gd::new(STEP).unwrap(), 1).unwrap(), settings, warm)
}

fn on_batches_after(descent: Descent, settings: &Settings, warm: bool) -> OnBatches {
    let neumann = Neumann::new(settings.eta, settings.terms, 1e-30).unwrap();
    let implicit = Implicit::new(descent, neumann);
    let implicit = if warm { implicit.with_warm_start() } else { implicit };
    OnBatches::new(implicit, settings.rates, settings.inner_steps).unwrap()
}

/// Its step on the batch of the series.
const STEP: f64 = 0.25;

/// A hypergradient uses a single pair of batches, the training before it others.
#[test]
fn any_hypergradient_can_be_taken_on_batches() {
    let (settings, quartic) = (telling(), Quartic::new(3, 5));
    let terms = problem().terms(BATCHES, 0.2);
    let problems: [(Instance, &dyn plain::Losses, [usize; 2]); 2] =
        [(stochastic(BATCHES, 0.2), &terms, [BATCHES; 2]), (quartic.instance(), &quartic, [3, 5])];
    for (instance, losses, [upper, lower]) in problems {
        let sampler = Sampler::with_replacement(upper, lower, 11).unwrap();
        let before = instance.oracle.cost();
        let agrees = |method, own: Option<&Sampler>| {
            let (x, y) = run(&instance, method, sampler.clone(), 3);
            let mut plain = Plain::new(losses, settings, sampler.clone());
            plain::on_batches(&mut plain, 3, STEP, own);
            assert_near("x", &x, &plain.x, 1e-10);
            assert_near("y", &y, &plain.y, 1e-10);
        };
        agrees(on_batches(&settings, false), None);
        let expected = Cost {
            lower_values: 3,
            lower_gradients: 3 * (settings.inner_steps as u64 + 2),
            upper_gradients: 3,
            lower_products: 3 * (settings.terms as u64 + 1),
            ..Cost::default()
        };
        assert_eq!(instance.oracle.cost() - before, expected);
        // The descent of the method may have batches of its own, one after the other.
        let own = Sampler::epochs(upper, lower, 4).unwrap();
        let descent = Descent::new(Gd::new(STEP).unwrap(), 1).unwrap().with_sampler(own.clone());
        agrees(on_batches_after(descent, &settings, false), Some(&own));
    }
    let none = OnBatches::new(
        Unrolled::rad(Descent::new(Gd::new(0.1).unwrap(), 1).unwrap()),
        settings.rates,
        0,
    );
    assert!(none.unwrap_err().to_string().contains("training steps"));
}

/// A series of one term is not a solution, and the step reports so.
#[test]
fn the_status_of_a_hypergradient_on_batches_is_that_of_its_method() {
    let instance = stochastic(BATCHES, 0.2);
    let status = |method: OnBatches| {
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
        let sampler = Sampler::epochs(BATCHES, BATCHES, 3).unwrap();
        solver.with_sampler(sampler).step(0).unwrap().status
    };
    let short = on_batches(&Settings { terms: 1, ..telling() }, false);
    let found = status(short);
    assert!(
        matches!(found, Status::Implicit { solver: LinearStatus::IterationLimit, .. }),
        "{found}"
    );
    let rad = Unrolled::rad(Descent::new(Gd::new(STEP).unwrap(), 2).unwrap());
    let found = status(OnBatches::new(rad, telling().rates, 1).unwrap());
    assert_eq!(found, Status::Exact);
}
