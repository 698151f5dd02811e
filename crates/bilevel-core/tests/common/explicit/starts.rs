//! Starts of the lower level: learned, and drawn at each upper step.

use super::*;

/// `x' = x - 0.1 g`.
struct Plain;

impl UpperStep for Plain {
    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector {
        x.axpy(-0.1, gradient)
    }

    fn save(&self, _: &mut Snapshot) {}
}

/// A run on `Small::Bent`, its start learned.
fn solver<'a>(
    oracle: &'a SmallOracle,
    method: impl HypergradientMethod + 'static,
    step_size: f64,
) -> Result<HypergradientSolver<'a>, Error> {
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    HypergradientSolver::new(oracle, method, Plain, x, y).with_start(Start::Learned { step_size })
}

#[test]
fn a_learned_start_goes_down_its_gradient() {
    let oracle = bent();
    let along = run(&oracle, &mut Unrolled::ia_gm(gd(0.05, 3))).start.unwrap();
    let expected = oracle.lower_start().axpy(-0.7, &along);
    let mut free = solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), 0.7).unwrap();
    free.step(0).unwrap();
    assert_eq!(free.lower_start().to_vec(), expected.to_vec());
    let mut bounded = solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), 0.7)
        .unwrap()
        .with_start_projection(Bounds::new(-0.9, 0.9).unwrap());
    let clamped = Y.map(|v| v.clamp(-0.9, 0.9));
    assert_eq!(bounded.lower_start().to_vec(), clamped);
    for k in 0..3 {
        bounded.step(k).unwrap();
    }
    let z = bounded.lower_start().to_vec();
    assert!(z.iter().all(|v| v.abs() <= 0.9) && z != clamped, "{z:?}");
    // Together with x it decreases F further than x alone.
    let last = |start| {
        let solver = solver(&oracle, Iaptt::new(gd(0.05, 3)), 0.3).unwrap();
        let mut solver = solver.with_start(start).unwrap();
        let mut last = f64::NAN;
        for k in 0..20 {
            last = solver.step(k).unwrap().upper_loss;
        }
        last
    };
    assert!(last(Start::Learned { step_size: 0.3 }) < last(Start::Fixed));
}

#[test]
fn a_start_that_cannot_be_learned_is_refused_where_it_is_given() {
    let oracle = bent();
    let before = oracle.cost();
    let error = solver(&oracle, Unrolled::rad(gd(0.05, 3)), 0.7).err().unwrap();
    let method = "rad(3 steps of gd(step size 0.05))".to_owned();
    assert_eq!(error, Error::NoStartGradient { method });
    let error = solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), -1.0).err().unwrap();
    assert!(matches!(error, Error::InvalidSetting { .. }), "{error}");
    assert_eq!(oracle.cost(), before);
    let error =
        solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), f64::MAX).unwrap().step(0).unwrap_err();
    assert!(matches!(error, Error::NotFinite { what: "lower start", .. }), "{error}");
}

#[test]
fn a_start_is_drawn_anew_at_each_upper_step() {
    let oracle = bent();
    let draw = |k: u64| {
        let values = numbers(100 + k, FEATURES);
        oracle.lower_vector(&Values::new(&values, &device())).unwrap()
    };
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let solver = || {
        let rad = Unrolled::rad(gd(0.05, 3));
        let solver = HypergradientSolver::new(&oracle, rad, Plain, x.clone(), y.clone());
        solver.with_drawn_start(draw).unwrap()
    };
    let (mut whole, mut first, mut second) = (solver(), solver(), solver());
    let mut at = x.clone();
    for k in 0..4 {
        let problem = LowerProblem::new(&oracle, &at, Samples::default());
        let along = Unrolled::rad(gd(0.05, 3)).hypergradient(problem, &draw(k)).unwrap().gradient;
        whole.step(k as usize).unwrap();
        assert_eq!(whole.lower_start().to_vec(), numbers(100 + k, FEATURES));
        at = at.axpy(-0.1, &along);
        assert_eq!(whole.x().to_vec(), at.to_vec());
    }
    for k in 0..2 {
        first.step(k).unwrap();
    }
    second.restore(first.save()).unwrap();
    for k in 2..4 {
        second.step(k).unwrap();
    }
    assert_eq!(second.save(), whole.save());
    let error = HypergradientSolver::new(&oracle, Unrolled::rad(gd(0.05, 3)), Plain, x.clone(), y)
        .with_drawn_start(|_| x.clone());
    assert!(matches!(error.err().unwrap(), Error::StartShapes { .. }));
    let short = oracle.lower_vector(&Values::new(&[1.0], &device())).unwrap_err();
    assert!(matches!(short, Error::StartShapes { .. }), "{short}");
}

#[test]
fn other_functions_of_x_are_differentiated_beside_the_solver() {
    let oracle = bent();
    let x = oracle.upper_start();
    let expected: Vec<_> = X.iter().map(|x| 2.0 * x).collect();
    let squares = |x: &Values| x.values.val().powi_scalar(2).sum();
    // As a vector like the hypergradient, to be added to it.
    let penalty = bilevel_program::grad(&oracle.upper_module(&x), squares).unwrap();
    let whole = run(&oracle, &mut Unrolled::rad(gd(0.05, 3))).gradient.add(&penalty);
    assert_eq!(whole.layout(), x.layout());
    assert_close("by grad", &penalty.to_vec(), &expected, 1e-14);
    // By Burn itself.
    let tracked = oracle.upper_module(&x).train();
    let gradients = squares(&tracked).backward();
    let by_burn = tracked.values.val().grad(&gradients).unwrap().into_data();
    assert_close("by Burn", &by_burn.iter::<f64>().collect::<Vec<_>>(), &expected, 1e-14);
}
