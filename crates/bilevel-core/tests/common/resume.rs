//! A run that is saved and resumed equals the uninterrupted run, bit for bit.

#[path = "odd_states.rs"]
mod odd_states;

use std::ops::ControlFlow;
use std::time::Duration;

use bilevel_core::*;
use bilevel_program::{Layout, Vector};
use burn::grad_clipping::{GradientClipping, GradientClippingConfig};
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::exponential::ExponentialLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::module::Module;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, LambConfig, LionConfig,
    RmsPropConfig, SgdConfig,
};
use burn::tensor::TensorData;

use self::odd_states::assert_odd_states_end_nothing;
use crate::common::*;
use crate::device;

const STEPS: usize = 6;
const SAVED: usize = 3;

type Boxed<'a> = Box<dyn Solver + 'a>;

/// Six steps in one run, and three, a file, a new solver and three more.
pub fn assert_resumes<'a>(name: &str, make: &dyn Fn() -> Boxed<'a>) {
    let steps = |solver: &mut Boxed<'a>, from, to| -> Vec<Observation> {
        (from..to).map(|k| solver.step(k).unwrap()).collect()
    };
    let (mut whole, mut first, mut second) = (make(), make(), make());
    let seen = steps(&mut whole, 0, STEPS);
    steps(&mut first, 0, SAVED);
    let file = serde_json::to_vec(&first.save()).unwrap();
    second.restore(serde_json::from_slice(&file).unwrap()).unwrap();
    assert_eq!(second.save(), first.save(), "{name}, as it was saved");
    assert_eq!(steps(&mut second, SAVED, STEPS), seen[SAVED..], "{name}, what the steps saw");
    assert_eq!(second.x().to_data(), whole.x().to_data(), "x of {name}");
    assert_eq!(second.y().to_data(), whole.y().to_data(), "y of {name}");
    assert_eq!(second.save(), whole.save(), "{name}, at the end");
    assert_odd_states_end_nothing(name, &first.save(), SAVED, second.as_mut());
}

type Make = fn() -> Box<dyn HypergradientMethod>;

/// Every hypergradient method, each with all the state that it may have. A new one is one line.
#[rustfmt::skip]
fn methods() -> Vec<Make> {
    fn gd() -> Descent {
        descent(Gd::new(0.5), 4)
    }
    fn heavy() -> Descent {
        descent(Momentum::new(0.3, 0.5), 4)
    }
    fn warm(solver: impl LinearSolver + 'static) -> Implicit {
        Implicit::new(heavy(), solver).with_warm_start()
    }
    vec![
        || Box::new(Unrolled::rad(heavy())),
        || Box::new(ReversibleRad::new(ReversibleMomentum::new(0.3, 0.5).unwrap(), 4).unwrap()),
        || Box::new(Unrolled::trad(gd(), 2).unwrap()),
        || Box::new(Fad::new(heavy())),
        || Box::new(OnlineFad::new(heavy())),
        || Box::new(OneStage::new(Gd::new(0.5).unwrap())),
        || Box::new(OneStageFd::new(Gd::new(0.5).unwrap())),
        || Box::new(FirstOrder::new(gd())),
        || Box::new(Unrolled::rad(descent(Adam::new(0.3), 4)).keeping(1).unwrap()),
        || Box::new(Unrolled::trad(heavy(), 2).unwrap().keeping(3).unwrap()),
        || Box::new(FirstOrder::new(heavy()).keeping(1).unwrap()),
        || Box::new(Maml::new(gd())),
        || Box::new(Fomaml::new(gd())),
        || Box::new(Reptile::new(gd(), 1.0).unwrap()),
        || Box::new(Unrolled::ia_gm(gd())),
        || Box::new(Iaptt::new(gd())),
        || Box::new(warm(Cg::new(3, 1e-3).unwrap())),
        || Box::new(Implicit::new(Newton::new(3, 1e-3).unwrap(), Cg::new(3, 1e-3).unwrap()).with_warm_start()),
        || Box::new(warm(NormalCg::new(3, 1e-3).unwrap())),
        || Box::new(warm(Gmres::new(3, 1e-3).unwrap())),
        || Box::new(warm(BiCgStab::new(2, 1e-3).unwrap())),
        || Box::new(warm(Neumann::new(0.5, 4, 1e-3).unwrap())),
        || Box::new(warm(ApproxGrad::gd(0.3, 4, 1e-3).unwrap())),
        || Box::new(warm(Nystrom::new(2, 0.1, 7).unwrap())),
        || Box::new(warm(Identity)),
        || Box::new(warm(Dense::new())),
        || Box::new(Implicit::new(descent(Gd::new(0.5), 60), Cg::new(20, 1e-9).unwrap())
            .with_tolerances(Schedule::geometric(0.1, 0.5)).unwrap()),
        || Box::new(Imaml::new(warm(Cg::new(3, 1e-3).unwrap()), 0.5).unwrap()),
        || Box::new(FixedPoint::new(heavy(), 4, 1e-3).unwrap()),
        || Box::new(Iga::new(gd())),
        || Box::new(Barrier::new(Schedule::geometric(1.0, 0.5), 1e-3, Implicit::new(Newton::new(3, 1e-3).unwrap(), Cg::new(3, 1e-3).unwrap())).unwrap()),
        || Box::new(Tasks::new(2, || Ok(warm(Cg::new(3, 1e-3)?))).unwrap()),
        || Box::new(JointStep::new(Penalty::new(Rates::new(0.1, 0.05).unwrap(), PenaltySettings { steps: 2, gamma: 0.5, tolerance: 1e3 }).unwrap())),
    ]
}

/// Solvers on ridge regression, x moved by `upper`.
fn on<'a>(
    oracle: &'a PenaltiesOracle,
    method: Box<dyn HypergradientMethod>,
    upper: Box<dyn UpperStep + 'a>,
    start: Start,
) -> Boxed<'a> {
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    Box::new(HypergradientSolver::new(oracle, method, upper, x, y).with_start(start).unwrap())
}

fn adam<'a>(x: &Values) -> Box<dyn UpperStep + 'a> {
    upper_step(1, x)
}

#[test]
fn every_hypergradient_method_resumes() {
    let x = upper_module(&device());
    let oracle = penalties_at(Fit::Squares, &x, &device());
    for method in methods() {
        for start in [Start::Fixed, Start::Warm, Start::Learned { step_size: 0.3 }] {
            let fits = match start {
                Start::Fixed => !method().goes_on(),
                Start::Warm => true,
                Start::Learned { .. } => method().differentiates_start(),
            };
            if fits {
                let name = format!("{} from {start:?}", method().describe());
                assert_resumes(&name, &|| on(&oracle, method(), adam(&x), start));
            }
        }
    }
}

/// How many there are.
const UPPER_STEPS: usize = 16;

/// Every upper step on a module. A new one is one line.
fn upper_step<'a, M: Module>(which: usize, x: &M) -> Box<dyn UpperStep + 'a> {
    fn burn<'a, M: Module, O>(optimizer: O, x: &M, rate: f64) -> Box<dyn UpperStep + 'a>
    where
        O: OptimizerMemory + 'a,
    {
        Box::new(BurnOptimizer::new(optimizer, x, rate).unwrap())
    }
    match which {
        0 => Box::new(GradientStep::new(0.3).unwrap()),
        1 => burn(AdamConfig::new().build(), x, 0.05),
        // Fast enough that the second moment decreases.
        2 => burn(AdamConfig::new().with_beta_2(0.3).with_amsgrad(true).build(), x, 0.05),
        3 => burn(AdamWConfig::new().build(), x, 0.05),
        4 => burn(AdanConfig::new().build(), x, 0.05),
        5 => burn(SgdConfig::new().build(), x, 0.3),
        6 => {
            let momentum = MomentumConfig { momentum: 0.7, dampening: 0.2, nesterov: true };
            burn(SgdConfig::new().with_momentum(Some(momentum)).build(), x, 0.3)
        }
        7 => burn(LionConfig::new().build(), x, 0.05),
        8 => burn(AdaGradConfig::new().build(), x, 0.1),
        9 => burn(RmsPropConfig::new().build(), x, 0.01),
        10 => burn(LambConfig::new().build(), x, 0.1),
        11 => burn(AdafactorConfig::new().build(), x, 0.1),
        12 => Box::new(GradientStep::new(Schedule::power(0.5, 0.5)).unwrap()),
        13 => {
            let rates = Schedule::geometric(0.1, 0.8);
            Box::new(BurnOptimizer::new(AdamConfig::new().build(), x, rates).unwrap())
        }
        14 => Box::new(AdaptiveStep::new(0.1).unwrap()),
        _ => {
            let cosine = CosineAnnealingLrSchedulerConfig::new(0.2, 5).init().unwrap();
            let sgd = BurnOptimizer::new(SgdConfig::new().build(), x, 0.3).unwrap();
            let clipping = GradientClippingConfig::Norm(0.05).init();
            Box::new(sgd.with_scheduler(cosine).with_clipping(clipping))
        }
    }
}

#[test]
fn every_upper_step_resumes() {
    let x = upper_module(&device());
    let oracle = penalties_at(Fit::Logistic, &x, &device());
    for which in 0..UPPER_STEPS {
        let rad = || Box::new(Unrolled::rad(descent(Gd::new(0.5), 4)));
        let make = || on(&oracle, rad(), upper_step(which, &x), Start::Warm);
        assert_resumes(&format!("upper step {which}"), &make);
    }
}

#[test]
fn every_upper_step_moves_a_parameter_at_two_places_as_at_one() {
    fn moved<M: Module>(which: usize, module: &M) -> Vec<f64> {
        let mut x = Vector::from_module(&Layout::of(module), module);
        let mut step = upper_step(which, module);
        for k in 1..4 {
            step.check(x.layout()).unwrap();
            x = step.step(&x, &x.scale(f64::from(k)));
        }
        x.to_vec()
    }
    let one = upper_module(&device());
    let start = Vector::from_module(&Layout::of(&one), &one).to_vec();
    for which in 0..UPPER_STEPS {
        let once = moved(which, &one);
        assert_eq!(moved(which, &[one.clone(), one.clone()]), once, "upper step {which}");
        assert!(once.iter().zip(&start).all(|(x, start)| x != start), "upper step {which}");
    }
}

#[test]
fn an_executor_goes_on_counting() {
    let x = upper_module(&device());
    let oracle = penalties_at(Fit::Squares, &x, &device());
    let make = || on(&oracle, methods()[0](), adam(&x), Start::Warm);
    let run = |executor: Executor<'_>, solver: &mut Boxed<'_>| {
        let mut numbers = Vec::new();
        let watch = |progress: &Progress<'_>| {
            numbers.push(progress.step);
            ControlFlow::Continue(())
        };
        let outcome = executor.observe(watch).run(solver.as_mut()).unwrap();
        (numbers, outcome)
    };
    let (mut whole, mut first, mut second) = (make(), make(), make());
    let (numbers, all) = run(Executor::new(STEPS).unwrap(), &mut whole);
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    run(Executor::new(SAVED).unwrap(), &mut first);
    second.restore(first.save()).unwrap();
    let executor = Executor::new(STEPS).unwrap().starting_at(SAVED).unwrap();
    let (numbers, rest) = run(executor, &mut second);
    assert_eq!(numbers, [4, 5, 6]);
    assert_eq!((rest.steps, rest.ending), (STEPS, Ending::StepLimit));
    assert_eq!(2 * rest.cost.lower_gradients, all.cost.lower_gradients);
    assert_eq!(second.save(), whole.save());
    let error = Executor::new(STEPS).unwrap().starting_at(STEPS).err().unwrap();
    assert!(error.to_string().ends_with("raise the number of steps to continue"), "{error}");
}

/// Ended at any moment and started again from its file, as often as necessary.
#[test]
fn a_run_with_checkpoints_goes_on_from_its_file() {
    let x = upper_module(&device());
    let oracle = penalties_at(Fit::Squares, &x, &device());
    let make = || on(&oracle, methods()[0](), adam(&x), Start::Warm);
    let folder = tempfile::tempdir().unwrap();
    let mut whole = make();
    Executor::new(STEPS).unwrap().run(whole.as_mut()).unwrap();
    for (which, every) in
        [Every::Steps(1), Every::Steps(2), Every::Steps(100), Every::Time(Duration::ZERO)]
            .into_iter()
            .enumerate()
    {
        for ended in 1..STEPS {
            let file = CheckpointFile::new(folder.path().join(format!("{which}-{ended}.bin")));
            let killed =
                CheckpointFile::new(folder.path().join(format!("{which}-{ended}-killed.bin")));
            let run = |file: &CheckpointFile, steps: usize| {
                let watch = |progress: &Progress<'_>| {
                    // A process that is killed here leaves the file as it is at this moment.
                    if progress.step == ended && file.path().exists() && !killed.path().exists() {
                        std::fs::copy(file.path(), killed.path()).unwrap();
                    }
                    ControlFlow::Continue(())
                };
                let mut solver = make();
                let executor = Executor::new(steps).unwrap().observe(watch);
                let executor = executor.with_checkpoints(file.clone(), every).unwrap();
                (executor.run(solver.as_mut()), solver.save())
            };
            let (first, _) = run(&file, ended);
            assert_eq!(first.unwrap().steps, ended);
            for from in [&file, &killed] {
                let (outcome, saved) = run(from, STEPS);
                assert_eq!(outcome.unwrap().steps, STEPS);
                assert_eq!(saved, whole.save(), "{every:?}, ended at {ended}");
            }
            // A finished run is restored, and reported.
            let (outcome, saved) = run(&file, STEPS);
            let text = outcome.unwrap_err().to_string();
            assert!(text.contains("the run is over"), "{text}");
            assert_eq!(saved, whole.save());
        }
    }
    let none = Executor::new(STEPS).unwrap();
    let error = none.with_checkpoints(CheckpointFile::new("none"), Every::Steps(0)).err().unwrap();
    assert!(error.to_string().contains("steps between checkpoints is 0"), "{error}");
    // A file of another solver.
    let other = CheckpointFile::new(folder.path().join("0-1.bin"));
    let trad = Box::new(Unrolled::trad(descent(Gd::new(0.5), 4), 2).unwrap());
    let mut trad = on(&oracle, trad, adam(&x), Start::Warm);
    let executor = Executor::new(9).unwrap().with_checkpoints(other, Every::Steps(1)).unwrap();
    assert!(matches!(executor.run(trad.as_mut()), Err(Error::Snapshot { .. })));
}

/// `saved` as a file modified by `change`.
fn edited(saved: &Snapshot, change: impl Fn(&mut serde_json::Value)) -> Snapshot {
    let mut file = serde_json::to_value(saved).unwrap();
    change(&mut file);
    serde_json::from_value(file).unwrap()
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let x = upper_module(&device());
    let oracle = penalties_at(Fit::Squares, &x, &device());
    let make = |method: Make, upper: Box<dyn UpperStep>| {
        let mut solver = on(&oracle, method(), upper, Start::Warm);
        solver.step(0).unwrap();
        solver
    };
    let rad: Make = methods()[0];
    let plain = || Box::new(GradientStep::new(0.1).unwrap());
    let refusal = |to: &mut Boxed<'_>, saved: Snapshot| {
        let error = to.restore(saved).unwrap_err();
        assert!(matches!(error, Error::Snapshot { .. }), "{error}");
        error.to_string()
    };
    let saved = make(rad, adam(&x)).save();
    make(rad, adam(&x)).restore(saved.clone()).unwrap();
    let told = |text: String, parts: &[&str]| {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(text.ends_with("on the same problem and device, or start anew"), "{text}");
    };

    let trad: Make = || Box::new(Unrolled::trad(descent(Gd::new(0.5), 4), 2).unwrap());
    told(refusal(&mut make(trad, adam(&x)), saved.clone()), &["`solver`", "`rad`", "`trad`"]);
    let left = ["`upper/0/", "expected no such entry"];
    told(refusal(&mut make(rad, plain()), saved.clone()), &left);

    let taken = edited(&saved, |file| drop(file.as_object_mut().unwrap().remove("y/0")));
    told(refusal(&mut make(rad, adam(&x)), taken), &["`y/0`", "missing", "shape [5]"]);
    let moment = "upper/0/moment_1";
    let taken = edited(&saved, |file| drop(file.as_object_mut().unwrap().remove(moment)));
    told(refusal(&mut make(rad, adam(&x)), taken), &["`upper/0/moment_1`", "missing"]);
    let renamed = edited(&saved, |file| {
        let file = file.as_object_mut().unwrap();
        let entry = file["x/0"].clone();
        file.insert("method/z/0".into(), entry);
    });
    told(refusal(&mut make(rad, adam(&x)), renamed), &["`method/z/0`", "no such entry"]);
    // Other numbers: fewer of them, another type.
    for other in [TensorData::new(vec![0.0_f64; 4], [4]), TensorData::new(vec![0_i64; 5], [5])] {
        let entry = serde_json::to_value(Entry::Numbers(other)).unwrap();
        let changed = edited(&saved, |file| file["x/0"] = entry.clone());
        told(refusal(&mut make(rad, adam(&x)), changed), &["`x/0`", "shape [5]"]);
    }
    // Missing bytes: not a file of a state.
    let mut file = serde_json::to_value(&saved).unwrap();
    file["x/0"]["numbers"]["bytes"].as_array_mut().unwrap().pop();
    assert!(serde_json::from_value::<Snapshot>(file).is_err());
}

#[test]
fn schedules_of_x_are_those_of_their_formulas() {
    let x = upper_module(&device());
    let layout = bilevel_program::Layout::of(&x);
    let start = bilevel_program::Vector::from_module(&layout, &x);
    let ones = start.map(|leaf| bilevel_program::float::add_scalar(leaf, 0.0)).sub(&start);
    let ones = ones.map(|leaf| bilevel_program::float::add_scalar(leaf, 1.0));
    let moves = |upper: &mut dyn UpperStep| -> Vec<f64> {
        let mut at = start.clone();
        let moves = (0..4).map(|_| {
            let next = upper.step(&at, &ones);
            let moved = at.to_vec()[0] - next.to_vec()[0];
            at = next;
            moved
        });
        moves.collect()
    };
    let sgd = || SgdConfig::new().build();
    let schedule = Schedule::milestones(0.4, 0.5, [1, 3]);
    let expected = [0.4, 0.2, 0.2, 0.1];
    let mut own = BurnOptimizer::new(sgd(), &x, schedule).unwrap();
    assert_close("milestones", &moves(&mut own), &expected, 1e-5);
    assert_close("plain", &moves(&mut GradientStep::new(schedule).unwrap()), &expected, 1e-5);
    let linear = LinearLrSchedulerConfig::new(0.4, 0.1, 3).init().unwrap();
    let mut burns = BurnOptimizer::new(sgd(), &x, 1.0).unwrap().with_scheduler(linear);
    assert_close("linear", &moves(&mut burns), &[0.4, 0.3, 0.2, 0.1], 1e-5);
    let clipping = GradientClipping::Value(0.25);
    let mut clipped = BurnOptimizer::new(sgd(), &x, schedule).unwrap().with_clipping(clipping);
    assert_close("clipped", &moves(&mut clipped), &[0.1, 0.05, 0.05, 0.025], 1e-5);
    let mut saved = Snapshot::default();
    burns.save(&mut saved);
    let other = ExponentialLrSchedulerConfig::new(0.1, 0.9).init().unwrap();
    let mut other = BurnOptimizer::new(sgd(), &x, 1.0).unwrap().with_scheduler(other);
    assert!(matches!(other.restore(&mut saved, &start), Err(Error::Snapshot { .. })));
    assert!(BurnOptimizer::new(sgd(), &x, Schedule::power(0.0, 1.0)).is_err());
}
