//! The choices of `suggest` on the numeric problems, compared with every method of the catalogue with the step sizes of
//! the sources.
//!
//! Both are measured by the oracle calls until a run is near the solution and stays there for a few steps. For the
//! others the learning rate of x is the best of a grid around that of the source. With `BLESS=all` all of them run and
//! the table of `docs/CHOOSING.md` is written; otherwise only the choices run, and are compared with it.

use std::fmt::Write;
use std::path::Path;

use bilevel_core::catalogue::{self, At, Entry, Made, Needs, Settings};
use bilevel_core::suggest::Choice;
use bilevel_core::*;
use bilevel_problems::*;
use burn::tensor::Device;

use crate::device;

/// Factors of the learning rate of a source.
const GRID: [f64; 4] = [0.25, 1.0, 4.0, 16.0];

/// Calls after which a run is abandoned.
const MOST: u64 = 20_000;

/// Consecutive steps of x that must be near.
const STAYS: usize = 20;

/// Whether x and y are near the answer.
type Near = Box<dyn Fn(&[f64], &[f64]) -> bool>;

/// A problem, and the criterion for being near its solution.
struct Case {
    name: &'static str,
    instance: Instance,
    /// The bounds of x, and of a learned start of y.
    bounds: [Option<[f64; 2]>; 2],
    /// Whether x and y are near the answer.
    near: Near,
    /// The settings of the source.
    source: Settings,
    /// Calls after which a run is abandoned.
    most: u64,
}

fn close(found: &[f64], expected: &[f64], share: f64) -> bool {
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    far(found, expected).sqrt() <= share * far(expected, &vec![0.0; expected.len()]).sqrt()
}

/// The solution, by conjugate gradients on the hypergradient, which is linear in x.
fn minimiser(quadratic: &Quadratic) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let axpy = |a: &[f64], t: f64, b: &[f64]| -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| a + t * b).collect()
    };
    let mut x = vec![0.0; 4];
    let at_zero = quadratic.hypergradient(&x);
    let mut rest: Vec<f64> = at_zero.iter().map(|v| -v).collect();
    let mut along = rest.clone();
    for _ in 0..8 {
        let product = axpy(&quadratic.hypergradient(&along), -1.0, &at_zero);
        let square = dot(&rest, &rest);
        if square < 1e-24 {
            break;
        }
        let length = square / dot(&along, &product);
        (x, rest) = (axpy(&x, length, &along), axpy(&rest, -length, &product));
        along = axpy(&rest, dot(&rest, &rest) / square, &along);
    }
    x
}

fn steps(lower_steps: usize, step_size: f64, learning_rate: f64) -> Settings {
    Settings {
        lower_steps,
        step_size,
        learning_rate,
        solver_iterations: 10,
        tolerance: 1e-6,
        warm_start: true,
        truncated: lower_steps.div_ceil(2),
        ..Settings::default()
    }
}

fn cases(device: &Device) -> Vec<Case> {
    let free = [None, None];
    let mut all = Vec::new();
    let mut case = |name, instance, bounds, source, near: Near| {
        // The source of `iaptt-numeric` makes 500 steps, as of 70 calls.
        let most = if name == "iaptt-numeric" { 40_000 } else { MOST };
        all.push(Case { name, instance, bounds, near, source, most });
    };
    let x = [0.4, -0.9, 1.2, 0.1];
    // The settings are those of `bilevel compare quadratic`.
    for (name, mu) in [("quadratic", 0.2), ("quadratic, condition 100", 0.01)] {
        let quadratic = Quadratic::new(4, 8, mu, 0).unwrap();
        let instance = quadratic.at(&x, &[0.0; 8], device).unwrap();
        let answer = minimiser(&quadratic);
        let near = move |x: &[f64], _: &[f64]| close(x, &answer, 0.01);
        case(name, instance, free, steps(10, 0.5, 0.04), Box::new(near));
    }
    let quadratic = Quadratic::new(4, 8, 0.2, 0).unwrap();
    let instance = quadratic.stochastic(&x, &[0.0; 8], 8, 0.05, device).unwrap();
    let answer = minimiser(&quadratic);
    let near = move |x: &[f64], _: &[f64]| close(x, &answer, 0.05);
    let source = Settings { period: 8, ..steps(10, 0.5, 0.02) };
    case("quadratic, 8 batches", instance, free, source, Box::new(near));

    for (name, x, y) in
        [("bda-counterexample", 0.0, [0.0, 0.0]), ("bda-counterexample, from 2", 2.0, [2.0, 2.0])]
    {
        let instance = BdaCounterexample::at(x, y, device).unwrap();
        let bounds = [Some(BdaCounterexample::BOUNDS), None];
        let near = |x: &[f64], _: &[f64]| close(x, &[BdaCounterexample::X], 0.05);
        case(name, instance, bounds, steps(16, 0.2, 0.5), Box::new(near));
    }
    let instance = IaGmConvex::at(0.0, 0.0, device).unwrap();
    let near = |x: &[f64], _: &[f64]| close(x, &[IaGmConvex::ANSWER; IaGmConvex::SIZE], 0.05);
    let bounds = [Some(IaGmConvex::BOUNDS), None];
    case("ia-gm-convex", instance, bounds, steps(20, 0.3, 1e-3), Box::new(near));

    let instance = IapttNumeric::at(1.0, 2.0, device).unwrap();
    let near = |x: &[f64], _: &[f64]| (x[0] - IapttNumeric::X).abs() <= 0.1;
    let bounds = [Some(IapttNumeric::UPPER_BOUNDS), Some(IapttNumeric::LOWER_BOUNDS)];
    case("iaptt-numeric", instance, bounds, steps(40, 5e-4, 0.1), Box::new(near));

    for (name, variant) in [("penalty-smooth (a)", Variant::A), ("penalty-smooth (b)", Variant::B)]
    {
        let smooth = PenaltySmooth(variant);
        let near = move |x: &[f64], y: &[f64]| smooth.distance(x, y) <= 0.05;
        case(name, smooth.at(1, device).unwrap(), free, steps(10, 0.1, 0.05), Box::new(near));
    }
    for (name, variant) in
        [("penalty-singular (a)", Variant::A), ("penalty-singular (b)", Variant::B)]
    {
        let (singular, range) = (PenaltySingular(variant), PenaltySingular::range(0));
        let near = move |x: &[f64], y: &[f64]| singular.distance(&range, x, y) <= 0.05;
        let source = steps(10, 0.02, 0.05);
        case(name, singular.at(1, device).unwrap(), free, source, Box::new(near));
    }
    let y = [0.3, -0.2, 0.8, -0.5, 0.1];
    let instance = NsgameToy::at(&[-0.5, 0.4, 1.5, 0.0, -1.0], [&y, &y], device).unwrap();
    let near = |x: &[f64], _: &[f64]| close(x, &[NsgameToy::ANSWER; NsgameToy::SIZE], 0.05);
    case("nsgame-toy", instance, free, steps(10, 0.5, 0.05), Box::new(near));

    let minima = PbgdToy::minima();
    let near = move |x: &[f64], y: &[f64]| {
        (x[0] + y[0]).abs() <= 0.04 && minima.iter().any(|minimum| (x[0] - minimum).abs() <= 0.03)
    };
    let bounds = [Some(PbgdToy::BOUNDS), None];
    let instance = PbgdToy::at(1.7, 0.5, device).unwrap();
    case("pbgd-toy", instance, bounds, steps(20, 0.1, 0.01), Box::new(near));

    let instance = ManySolutions::at(1.5, device).unwrap();
    let near = |x: &[f64], _: &[f64]| close(x, &[ManySolutions::OPTIMISTIC.0], 0.02);
    let bounds = [Some(ManySolutions::BOUNDS), None];
    case("many-solutions", instance, bounds, steps(16, 0.5, 0.1), Box::new(near));
    all
}

/// How x is moved by a hypergradient, and where the lower level starts.
enum Upper {
    Constant,
    Adaptive,
}

/// The calls until a run is near the solution; none if it does not come near within `most`.
///
/// # Errors
/// Where it diverges.
fn reach(
    case: &Case,
    (entry, settings): (&Entry, &Settings),
    (upper, start): (Upper, Start),
    most: u64,
) -> Result<Option<u64>, Error> {
    let Instance { oracle, x, y } = &case.instance;
    let project = |bounds: Option<[f64; 2]>| bounds.map(|[l, h]| Bounds::new(l, h).unwrap());
    let [of_x, of_start] = case.bounds;
    let mut solver: Box<dyn Solver + '_> = match entry.make(settings, &At { x, y, seed: 0 })? {
        Made::Hypergradient(method) => {
            let upper: Box<dyn UpperStep> = match upper {
                Upper::Constant => Box::new(GradientStep::new(settings.learning_rate)?),
                Upper::Adaptive => Box::new(AdaptiveStep::new(settings.learning_rate)?),
            };
            let start = match (method.differentiates_start(), start) {
                (true, Start::Warm) => Start::Learned { step_size: settings.learning_rate },
                (_, start) => start,
            };
            let solver = HypergradientSolver::new(oracle, method, upper, x.clone(), y.clone());
            let mut solver = solver.with_start(start)?;
            if let Some(bounds) = project(of_x) {
                solver = solver.with_projection(bounds);
            }
            if let Some(bounds) = project(of_start) {
                solver = solver.with_start_projection(bounds);
            }
            Box::new(solver)
        }
        Made::Joint(method) => {
            let [upper, lower] =
                [Objective::Upper, Objective::Lower].map(|objective| oracle.batches(objective));
            let sampler = Sampler::with_replacement(upper, lower, 0)?;
            let solver = JointSolver::new(oracle, method, x.clone(), y.clone())?;
            let mut solver = solver.with_sampler(sampler);
            if let Some(bounds) = project(of_x) {
                solver = solver.with_projection(bounds);
            }
            Box::new(solver)
        }
    };
    until_near(solver.as_mut(), &case.near, most)
}

/// The calls until `near` holds, and continues to hold for a few steps.
fn until_near(
    solver: &mut dyn Solver,
    near: impl Fn(&[f64], &[f64]) -> bool,
    most: u64,
) -> Result<Option<u64>, Error> {
    let mut arrived = Vec::new();
    for k in 0.. {
        let before = solver.x().to_vec();
        solver.step(k)?;
        let calls = solver.cost().total();
        if near(&before, &solver.y().to_vec()) {
            arrived.push(calls);
        } else {
            arrived.clear();
        }
        if arrived.len() == STAYS {
            return Ok(arrived.first().copied());
        }
        if calls > most {
            break;
        }
    }
    Ok(None)
}

/// The fewest calls of any method, and which it is.
fn best(case: &Case) -> Option<(u64, String)> {
    let mut best: Option<(u64, String)> = None;
    for entry in catalogue::all().filter(|entry| entry.needs == Needs::Nothing) {
        for factor in GRID {
            let learning_rate = factor * case.source.learning_rate;
            let settings = Settings { learning_rate, ..case.source.clone() };
            let most = best.as_ref().map_or(case.most, |(calls, _)| *calls);
            let way = (Upper::Constant, Start::Warm);
            if let Ok(Some(calls)) = reach(case, (entry, &settings), way, most)
                && best.as_ref().is_none_or(|(fewest, _)| calls < *fewest)
            {
                best = Some((calls, format!("{}, {learning_rate}", entry.name)));
            }
        }
    }
    best
}

/// A row of the table.
struct Row {
    problem: String,
    chosen: String,
    /// The calls of the choice, and of the probes before.
    calls: Option<u64>,
    probes: u64,
    best: Option<(u64, String)>,
}

impl Row {
    fn is_within_twice(&self) -> bool {
        match (self.calls, &self.best) {
            (Some(calls), Some((best, _))) => calls <= 2 * best,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn line(&self) -> String {
        let calls = self.calls.map_or("never".into(), |calls| calls.to_string());
        let (best, by) = self.best.clone().map_or(("never".into(), "-".into()), |(calls, by)| {
            (calls.to_string(), format!("`{by}`"))
        });
        let verdict = if self.is_within_twice() { "yes" } else { "**no**" };
        let Self { problem, chosen, probes, .. } = self;
        format!("| {problem} | `{chosen}` | {calls} | {probes} | {best} | {by} | {verdict} |\n")
    }
}

fn chosen(case: &Case) -> Row {
    let Instance { oracle, x, y } = &case.instance;
    let suggestion = suggest_on(oracle, x, y, &Request::default()).unwrap();
    println!("{}\n{suggestion}\n", case.name);
    let Choice::Method { entry, settings, start } = &suggestion.choice else {
        panic!("{} has no constraints", case.name)
    };
    let calls = reach(case, (entry, settings), (Upper::Adaptive, *start), case.most);
    let calls = calls.unwrap_or_else(|error| panic!("{} diverges: {error}", case.name));
    Row {
        problem: case.name.into(),
        chosen: suggestion.name(),
        calls,
        probes: suggestion.measured.cost.total(),
        best: None,
    }
}

const CONSTRAINED_START: [f64; Constrained::SIZE] = [0.2, -0.5, 0.1];

/// `solve`, chosen because of constraints. Its calls are those of all its starts, to six digits.
fn constrained(swept: bool) -> Row {
    let start = CONSTRAINED_START;
    let (x, y) = (Values::new(&start, &device()), Values::new(&start, &device()));
    let data = FullBatch { upper: (), lower: () };
    let found = suggest(Constrained::UPPER, &x, &y, &data, &Request::default()).unwrap();
    assert!(matches!(found.choice, Choice::Solve), "{found}");
    let answer = solve(Constrained::UPPER, &x, &y, data).unwrap();
    let at: Vec<f64> = answer.x.val().into_data().iter().collect();
    assert!(close(&at, &Constrained::upper_answer().x, 1e-4), "{at:?}");
    let best = if swept { best_penalty() } else { None };
    let calls = Some(answer.account.cost.total());
    let probes = found.measured.cost.total();
    Row { problem: "constrained".into(), chosen: found.name(), calls, probes, best }
}

/// The penalty method with the constraint, at the rates of its claim and around them.
fn best_penalty() -> Option<(u64, String)> {
    let answer = Constrained::upper_answer().x;
    let mut best: Option<(u64, String)> = None;
    for factor in GRID {
        let start = CONSTRAINED_START;
        let instance = Constrained::UPPER.at(&start, &start, &device()).unwrap();
        let learning_rate = factor * 0.05;
        let method = Penalty::new(
            Rates::new(learning_rate, 0.1).unwrap(),
            PenaltySettings { steps: 5, gamma: 2.0, tolerance: 1.0 },
        );
        let method = method.unwrap().with_factors(1.001, 0.5).unwrap();
        let method = method.with_multipliers();
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let mut solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
        let most = best.as_ref().map_or(MOST, |(calls, _)| *calls);
        let near = |x: &[f64], y: &[f64]| close(x, &answer, 0.01) && close(y, &answer, 0.01);
        if let Ok(Some(calls)) = until_near(&mut solver, near, most) {
            best = Some((calls, format!("penalty, {learning_rate}")));
        }
    }
    best
}

/// `BLESS=all` runs all methods and writes the table; `BLESS=PROBLEM` runs them on this one, `BLESS=1` on none, the calls
/// of the others being kept.
#[test]
fn choices_come_near_the_answer_as_fast_as_what_is_tuned_by_hand() {
    let bless = std::env::var_os("BLESS");
    let bless = bless.as_ref().map(|of| of.to_string_lossy().into_owned());
    let swept = |problem: &str| bless.as_ref().is_some_and(|of| of == "all" || of == problem);
    let path = Path::new("../../docs/CHOOSING.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- table of suggest -->\n", "<!-- end of table of suggest -->");
    let from = text.find(begin).expect("CHOOSING.md has a table") + begin.len();
    let to = from + text[from..].find(end).expect("the table has an end");
    let of_table = |problem: &str| {
        let line = text[from..to].lines().find(|line| line.starts_with(&format!("| {problem} |")));
        let cells: Vec<_> = line?.split(" | ").collect();
        let by = cells[5].trim_matches('`').to_owned();
        cells[4].parse::<u64>().ok().map(|calls| (calls, by))
    };
    let of_case = |case: &Case| Row {
        best: if swept(case.name) { best(case) } else { None },
        ..chosen(case)
    };
    let mut rows: Vec<Row> = cases(&device()).iter().map(of_case).collect();
    rows.push(constrained(swept("constrained")));
    for row in &mut rows {
        if !swept(&row.problem) {
            row.best = of_table(&row.problem);
        }
        print!("{}", row.line());
    }
    let within = rows.iter().filter(|row| row.is_within_twice()).count();
    let mut table = format!(
        "Within twice the calls of the best on {within} of {}.\n\n| problem | `suggest` chooses | calls | probes | best | by | within 2x |\n\
         |---|---|---|---|---|---|---|\n",
        rows.len()
    );
    rows.iter().for_each(|row| table.write_str(&row.line()).unwrap());
    if bless.is_some() {
        std::fs::write(path, format!("{}{table}{}", &text[..from], &text[to..])).unwrap();
        return;
    }
    let verdicts = |table: &str| {
        let cells = |line: &str| {
            let cells: Vec<_> = line.split(" | ").map(str::to_owned).collect();
            (cells.len() == 7).then(|| (cells[0].clone(), cells[6].clone()))
        };
        table.lines().filter_map(cells).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&text[from..to]), verdicts(&table), "run this test with BLESS=1");
}
