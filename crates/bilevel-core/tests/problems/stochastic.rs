//! Stochastic methods: steps against the formulas of the papers in plain numbers, limits against the
//! solution, costs against the documentation. Each method is one line of `methods`.

#[path = "stochastic/on_batches.rs"]
mod on_batches;
#[path = "stochastic/plain.rs"]
pub(crate) mod plain;
#[path = "stochastic/quartic.rs"]
pub(crate) mod quartic;

use bilevel_core::*;
use bilevel_problems::{Instance, Quadratic};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::common::*;
use crate::device;
pub(crate) use on_batches::on_batches;
use plain::Plain;
use quartic::Quartic;

const SEED: u64 = 5;

/// All settings that a method may have.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    rates: Rates,
    system_rate: Schedule,
    momentum: Schedule,
    lower_momentum: Schedule,
    eta: f64,
    terms: usize,
    inner_steps: usize,
    system_steps: usize,
    period: usize,
}

impl Settings {
    fn series(&self) -> NeumannSeries {
        NeumannSeries::new(self.eta, self.terms).unwrap()
    }
}

pub struct Method {
    name: &'static str,
    pub build: fn(&Settings) -> Box<dyn JointMethod>,
    /// Its steps in plain numbers.
    plain: fn(&mut Plain, usize),
    /// Gradients of f, gradients of F and products of f of step k, where p is the number of factors of the
    /// truncated series, if there is one.
    cost: fn(&Settings, usize, u64) -> [u64; 3],
    /// The final noise level.
    end: End,
    /// A constant step size of x for the noise-free problem, and the number of steps to the solution.
    reach: (f64, usize),
}

/// y, or v, is nearly solved for at each step.
const SOLVED: (f64, usize) = (0.1, 250);
/// v lags behind y, and y behind x.
const LAGGING: (f64, usize) = (0.03, 700);

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// A ball whose radius is due to the noise of the data alone.
    Ball,
    /// A ball whose radius is also due to the random truncation.
    Truncated,
    /// No ball: variance is reduced.
    Exact,
}

const BATCHES: usize = 4;

#[rustfmt::skip]
pub fn methods() -> Vec<Method> {
    use End::*;
    vec![
        Method { name: "ttsa", plain: plain::ttsa, end: Truncated, reach: SOLVED,
            build: |s| Box::new(Ttsa::new(s.rates, s.series()).with_seed(SEED)),
            cost: |_, _, p| [1, 1, p + 1] },
        Method { name: "bsa", plain: plain::bsa, end: Truncated, reach: SOLVED,
            build: |s| Box::new(Bsa::new(s.rates, s.inner_steps, s.series()).unwrap().with_seed(SEED)),
            cost: |s, _, p| [s.inner_steps as u64, 1, p + 1] },
        Method { name: "stocbio", plain: plain::stocbio, end: Ball, reach: SOLVED,
            build: |s| Box::new(StocBio::new(s.rates, s.inner_steps, s.series()).unwrap()),
            cost: |s, _, _| [s.inner_steps as u64, 1, s.terms as u64] },
        Method { name: "amigo", plain: plain::amigo, end: Ball, reach: SOLVED,
            build: |s| Box::new(Amigo::new(s.rates, s.inner_steps, s.system_steps).unwrap()
                .with_system_rate(s.system_rate).unwrap()),
            cost: |s, _, _| [s.inner_steps as u64, 1, s.system_steps as u64 + 1] },
        Method { name: "fsla", plain: plain::fsla, end: Ball, reach: SOLVED,
            build: |s| Box::new(Fsla::new(s.rates, s.momentum).unwrap()
                .with_system_rate(s.system_rate).unwrap()),
            cost: |_, k, _| if k == 0 { [1, 2, 2] } else { [1, 3, 3] } },
        Method { name: "sustain", plain: plain::sustain, end: Truncated, reach: SOLVED,
            build: |s| Box::new(Sustain::new(s.rates, s.momentum, s.series()).unwrap()
                .with_lower_momentum(s.lower_momentum).unwrap().with_seed(SEED)),
            cost: |_, k, p| if k == 0 { [1, 1, p + 1] } else { [2, 2, 2 * (p + 1)] } },
        Method { name: "mrbo", plain: plain::mrbo, end: Ball, reach: SOLVED,
            build: |s| Box::new(Mrbo::new(s.rates, s.momentum, s.series()).unwrap()
                .with_lower_momentum(s.lower_momentum).unwrap()),
            cost: |s, k, _| if k == 0 { [1, 1, s.terms as u64] } else { [2, 2, 2 * s.terms as u64] } },
        Method { name: "vrbo", plain: plain::vrbo, end: Exact, reach: SOLVED,
            build: |s| Box::new(Vrbo::new(s.rates, s.period, s.inner_steps, s.series()).unwrap()),
            cost: |s, k, _| {
                let (pairs, terms) = (2 * (s.inner_steps as u64 + 1), s.terms as u64);
                let full = if k.is_multiple_of(s.period) { BATCHES as u64 } else { 0 };
                [pairs + full, pairs + full, (pairs + full) * terms]
            } },
        Method { name: "soba", plain: plain::soba, end: Ball, reach: LAGGING,
            build: |s| Box::new(Soba::new(s.rates).with_system_rate(s.system_rate).unwrap()),
            cost: |_, _, _| [1; 3] },
        Method { name: "saba", plain: plain::saba, end: Exact, reach: LAGGING,
            build: |s| Box::new(Saba::new(s.rates).with_system_rate(s.system_rate).unwrap()),
            cost: |_, k, _| [if k == 0 { BATCHES as u64 } else { 1 }; 3] },
        Method { name: "srba", plain: plain::srba, end: Exact, reach: LAGGING,
            build: |s| Box::new(Srba::new(s.rates, s.period).unwrap()
                .with_system_rate(s.system_rate).unwrap()),
            cost: |s, k, _| [if k.is_multiple_of(s.period) { BATCHES as u64 } else { 2 }; 3] },
    ]
}

/// Settings under which every term matters and all values differ.
pub fn telling() -> Settings {
    Settings {
        rates: Rates::new(Schedule::power(0.1, 0.5), Schedule::power(0.4, 0.25)).unwrap(),
        system_rate: Schedule::power(0.3, 0.1),
        momentum: Schedule::power(0.7, 0.5),
        lower_momentum: Schedule::power(0.6, 0.3),
        eta: 0.35,
        terms: 4,
        inner_steps: 3,
        system_steps: 2,
        period: 3,
    }
}

fn numbers_of_factors(terms: usize) -> impl FnMut() -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    move || rng.random_range(0..terms) as u64
}

fn agrees(instance: &Instance, losses: &dyn plain::Losses, [upper, lower]: [usize; 2]) {
    let settings = telling();
    for method in methods() {
        // Beyond one period, so that full passes, corrections and the restart are covered.
        for steps in [1, 2, 5] {
            let sampler = Sampler::with_replacement(upper, lower, 11).unwrap();
            let (x, y) = run(instance, (method.build)(&settings), sampler.clone(), steps);
            let mut plain = Plain::new(losses, settings, sampler);
            (method.plain)(&mut plain, steps);
            assert_near(&format!("x of {} after {steps}", method.name), &x, &plain.x, 1e-10);
            assert_near(&format!("y of {} after {steps}", method.name), &y, &plain.y, 1e-10);
        }
    }
}

#[test]
fn steps_are_those_of_the_formulas() {
    agrees(&stochastic(BATCHES, 0.2), &problem().terms(BATCHES, 0.2), [BATCHES; 2]);
}

#[test]
fn steps_are_those_of_the_formulas_where_second_derivatives_change() {
    let quartic = Quartic::new(3, 5);
    agrees(&quartic.instance(), &quartic, [3, 5]);
}

/// The weight of a new sample is at most 1, where what was before is forgotten.
#[test]
fn a_momentum_that_grows_ends_at_1() {
    let instance = stochastic(BATCHES, 0.2);
    let with = |momentum: Schedule| Settings { momentum, lower_momentum: momentum, ..telling() };
    let grows = with(Schedule::power(0.7, -0.9));
    let ends = with(Schedule::milestones(0.7, 1.0 / 0.7, [1, 1000]));
    for method in methods() {
        let [grown, ended] = [grows, ends].map(|settings| {
            let sampler = Sampler::with_replacement(BATCHES, BATCHES, 11).unwrap();
            run(&instance, (method.build)(&settings), sampler, 4)
        });
        assert_near(&format!("x of {}", method.name), &grown.0, &ended.0, 1e-12);
        assert_near(&format!("y of {}", method.name), &grown.1, &ended.1, 1e-12);
    }
}

#[test]
fn costs_are_those_of_the_documentation() {
    let (instance, settings) = (stochastic(BATCHES, 0.2), telling());
    for method in methods() {
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let sampler = Sampler::epochs(BATCHES, BATCHES, 3).unwrap();
        let solver = JointSolver::new(&instance.oracle, (method.build)(&settings), x, y);
        let mut solver = solver.unwrap().with_sampler(sampler);
        assert!(solver.describe().starts_with(method.name), "{}", solver.describe());
        let mut factors = numbers_of_factors(settings.terms);
        for k in 0..7 {
            let before = solver.cost();
            solver.step(k).unwrap();
            let [lower_gradients, upper_gradients, lower_products] =
                (method.cost)(&settings, k, factors());
            let expected =
                Cost { lower_gradients, upper_gradients, lower_products, ..Cost::default() };
            assert_eq!(solver.cost() - before, expected, "{}, step {k}", method.name);
        }
    }
}

/// Quadratic levels that the series solves in a few terms.
fn easy() -> Quadratic {
    Quadratic::new(M, N, 0.6, 7).unwrap()
}

/// Constant step sizes for `easy`.
fn constant(upper: f64) -> Settings {
    Settings {
        rates: Rates::new(upper, 0.5).unwrap(),
        system_rate: 0.5.into(),
        momentum: 0.2.into(),
        lower_momentum: 0.2.into(),
        eta: 0.9,
        terms: 6,
        inner_steps: 2,
        system_steps: 2,
        period: 6,
    }
}

/// The squared norm of the hypergradient at the end, and its mean over the last quarter of the steps.
fn ends(
    problem: &Quadratic,
    instance: &Instance,
    method: Box<dyn JointMethod>,
    sampler: Sampler,
    steps: usize,
) -> [f64; 2] {
    let (x, y) = (instance.x.clone(), instance.y.clone());
    let solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
    let mut solver = solver.with_sampler(sampler);
    let (mut sum, mut last) = (0.0, 0.0);
    for k in 0..steps {
        solver.step(k).unwrap();
        if k >= steps - steps / 4 {
            last = V(problem.hypergradient(&solver.x().to_vec())).norm().powi(2);
            sum += last;
        }
    }
    [last, sum / (steps / 4) as f64]
}

#[test]
fn without_noise_they_end_at_the_answer() {
    for method in methods() {
        // For A = I one term of the series is exact, and its truncation is no longer random.
        let truncated = method.end == End::Truncated;
        let (mu, terms, eta) = if truncated { (1.0, 1, 1.0) } else { (0.6, 14, 1.25) };
        let problem = Quadratic::new(M, N, mu, 7).unwrap();
        let instance = problem.at(&X, &Y, &device()).unwrap();
        let (upper, steps) = method.reach;
        let settings = Settings { terms, eta, inner_steps: 1, ..constant(upper) };
        let [end, _] = ends(&problem, &instance, (method.build)(&settings), Sampler::full(), steps);
        assert!(end < 1e-15, "{}: {end:e}", method.name);
    }
}

/// The final squared norm and its mean over the last quarter of the steps, with eight batches.
fn under_noise(method: &Method, settings: &Settings, steps: usize) -> [f64; 2] {
    let (problem, batches) = (easy(), 8);
    let instance = problem.stochastic(&X, &Y, batches, 0.2, &device()).unwrap();
    let sampler = Sampler::with_replacement(batches, batches, 1).unwrap();
    ends(&problem, &instance, (method.build)(settings), sampler, steps)
}

/// The level of `soba` with constant step sizes.
fn floor() -> f64 {
    let soba = methods().into_iter().find(|method| method.name == "soba").unwrap();
    let [_, mean] = under_noise(&soba, &constant(LAGGING.0), LAGGING.1);
    mean
}

#[test]
fn constant_steps_end_in_a_ball_and_falling_ones_make_it_smaller() {
    for method in methods().iter().filter(|method| method.end != End::Exact) {
        let [_, ball] = under_noise(method, &constant(0.03), 700);
        let decay = Schedule::power(1.0, 0.66);
        let falling = Settings {
            rates: Rates::new(Schedule::power(0.1, 0.6), Schedule::power(0.8, 0.4)).unwrap(),
            system_rate: Schedule::power(0.8, 0.4),
            momentum: decay,
            lower_momentum: decay,
            ..constant(0.03)
        };
        let [_, mean] = under_noise(method, &falling, 700);
        println!("{}: {ball:.1e}, then {mean:.1e}", method.name);
        let bar = if method.end == End::Truncated { 0.5 } else { 0.3 };
        assert!((1e-3..bar).contains(&ball), "{}: {ball:e}", method.name);
        assert!(mean < 0.02 && mean < ball / 4.0, "{}: {ball:e}, then {mean:e}", method.name);
    }
}

#[test]
fn constant_steps_end_at_the_answer_where_variance_is_reduced() {
    let floor = floor();
    for method in methods().iter().filter(|method| method.end == End::Exact) {
        let (upper, steps) = method.reach;
        let settings = Settings { terms: 16, inner_steps: 1, ..constant(upper) };
        let [end, _] = under_noise(method, &settings, steps);
        println!("{}: {end:.1e}, soba {floor:.1e}", method.name);
        assert!(end < 1e-9 * floor, "{}: {end:e}, soba {floor:e}", method.name);
    }
}

#[test]
fn x_stays_in_its_set() {
    let (instance, settings) = (stochastic(BATCHES, 0.2), telling());
    let all = methods().into_iter().map(|method| (method.build)(&settings));
    for method in all.chain([Box::new(on_batches(&settings, false)) as _]) {
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let name = method.name();
        let solver = JointSolver::new(&instance.oracle, method, x, y);
        let mut solver = solver
            .unwrap()
            .with_sampler(Sampler::epochs(BATCHES, BATCHES, 3).unwrap())
            .with_projection(Bounds::new(0.0, 0.3).unwrap())
            .with_lower_projection(Bounds::new(-0.1, 0.1).unwrap());
        for k in 0..5 {
            solver.step(k).unwrap();
            let within = |v: Vec<f64>, min, max| v.iter().all(|v| (min..=max).contains(v));
            assert!(within(solver.x().to_vec(), 0.0, 0.3), "x of {name}");
            assert!(within(solver.y().to_vec(), -0.1, 0.1), "y of {name}");
        }
    }
}

#[test]
fn settings_outside_their_range_are_named() {
    let s = constant(0.1);
    let rates = s.rates;
    let named = |result: Result<Box<dyn JointMethod>, Error>, name: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with(name), "{message}");
    };
    fn boxed<M: JointMethod + 'static>(
        method: Result<M, Error>,
    ) -> Result<Box<dyn JointMethod>, Error> {
        method.map(|method| Box::new(method) as _)
    }
    named(boxed(Bsa::new(rates, 0, s.series())), "inner steps");
    named(boxed(StocBio::new(rates, 0, s.series())), "inner steps");
    named(boxed(Amigo::new(rates, 0, 1)), "inner steps");
    named(boxed(Amigo::new(rates, 1, 0)), "system steps");
    named(boxed(Fsla::new(rates, 1.5)), "momentum");
    named(boxed(Sustain::new(rates, 0.0, s.series())), "momentum");
    named(boxed(Mrbo::new(rates, f64::NAN, s.series())), "momentum");
    named(boxed(Vrbo::new(rates, 0, 1, s.series())), "period");
    named(boxed(Vrbo::new(rates, 1, 0, s.series())), "inner steps");
    named(boxed(Soba::new(rates).with_system_rate(0.0)), "step size of v");
    named(boxed(Saba::new(rates).with_system_rate(-1.0)), "step size of v");
    named(boxed(Srba::new(rates, 0)), "period");
    for series in [NeumannSeries::new(0.0, 1), NeumannSeries::new(1.0, 0)] {
        assert!(series.unwrap_err().to_string().contains("Neumann series"));
    }
}

/// The next `count` draws of a level.
fn draws(sampler: &mut Sampler, objective: Objective, count: usize) -> Vec<u64> {
    (0..count).map(|_| sampler.draw(objective).0).collect()
}

#[test]
fn an_epoch_visits_each_batch_once() {
    let mut sampler = Sampler::epochs(5, 7, 1).unwrap();
    let mut orders = Vec::new();
    for _ in 0..4 {
        for (objective, count) in [(Objective::Upper, 5), (Objective::Lower, 7)] {
            assert_eq!(sampler.batches(objective), count);
            let mut pass = draws(&mut sampler, objective, count);
            orders.push(pass.clone());
            pass.sort_unstable();
            assert_eq!(pass, (0..count as u64).collect::<Vec<_>>());
        }
    }
    assert!(orders[1] != orders[3] && orders[3] != orders[5], "each pass has an order of its own");
}

#[test]
fn draws_depend_on_the_seed_and_on_their_own_level() {
    for new in [Sampler::epochs, Sampler::with_replacement] {
        let fresh = |seed| new(6, 6, seed).unwrap();
        let upper = draws(&mut fresh(1), Objective::Upper, 30);
        let lower = draws(&mut fresh(1), Objective::Lower, 30);
        assert_ne!(upper, lower);
        assert_ne!(upper, draws(&mut fresh(2), Objective::Upper, 30));

        // Independent of how the draws of the levels are interleaved.
        let mut mixed = fresh(1);
        let first = draws(&mut mixed, Objective::Upper, 7);
        assert_eq!(lower, draws(&mut mixed, Objective::Lower, 30));
        // A copy continues from the state of the original.
        let rest = draws(&mut mixed.clone(), Objective::Upper, 23);
        assert_eq!(upper, [first, rest].concat());
        assert_eq!(upper[7..], draws(&mut mixed, Objective::Upper, 23));
    }
}

#[test]
fn draws_with_replacement_are_even_and_the_levels_uncorrelated() {
    let (batches, count) = (4, 8000);
    let mut sampler = Sampler::with_replacement(batches, batches, 3).unwrap();
    let upper = draws(&mut sampler, Objective::Upper, count);
    let lower = draws(&mut sampler, Objective::Lower, count);
    // Each of the 16 pairs occurs 500 times, within five standard deviations of 21.7.
    for pair in 0..16 {
        let pairs = upper.iter().zip(&lower);
        let seen = pairs.filter(|(i, j)| **i == pair / 4 && **j == pair % 4).count();
        assert!(seen.abs_diff(500) < 108, "pair {pair}: {seen}");
    }
    let repeats = upper.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(repeats.abs_diff(count / 4) < 200, "{repeats} repeats");
}

#[test]
fn draws_in_order_count_on_beyond_a_pass() {
    let mut sampler = Sampler::in_order(1, 3).unwrap();
    for objective in [Objective::Upper, Objective::Lower] {
        assert_eq!(draws(&mut sampler, objective, 8), (0..8).collect::<Vec<_>>());
    }
    assert!(Sampler::in_order(0, 1).unwrap_err().to_string().contains("upper batches"));
}

#[test]
fn a_level_without_batches_is_refused() {
    for new in [Sampler::epochs, Sampler::with_replacement] {
        assert!(new(0, 1, 0).unwrap_err().to_string().contains("upper batches"));
        assert!(new(1, 0, 0).unwrap_err().to_string().contains("lower batches"));
    }
    let mut full = Sampler::full();
    assert_eq!(draws(&mut full, Objective::Upper, 3), [0; 3]);
    assert_eq!(full.batches(Objective::Lower), 1);
}
