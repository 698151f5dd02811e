//! The catalogue: each entry is exact for what it says, and is in the documents. A new entry needs no line here.

use std::path::PathBuf;

use bilevel_core::catalogue::{
    self, At, Entry, Exact, Family, LowerDynamics, Made, Needs, Settings,
};
use bilevel_core::{
    Adam, AutodiffOracle, BilevelProblem, Conditions, Descent, FirstOrder, FullBatch, GradientStep,
    HypergradientMethod, HypergradientSolver, JointSolver, Objective, Sampler, Solver, Unrolled,
};
use burn::tensor::Tensor;

use super::common::{
    Fit, Values, assert_close, differences, hypergradient, penalties, ridge_closed_form,
};
use super::device;

/// Enough of everything to solve the problems of the suite to many digits.
fn enough() -> Settings {
    Settings {
        lower_steps: 600,
        step_size: 0.5,
        solver_iterations: 2000,
        tolerance: 1e-12,
        ..Settings::default()
    }
}

#[test]
fn what_is_said_to_be_exact_is() {
    let oracle = penalties(Fit::Squares, &device());
    let (x, y) = (&oracle.upper_start(), &oracle.lower_start());
    let closed_form = ridge_closed_form();
    let few = Settings { lower_steps: 7, ..enough() };
    let of_few = differences(&oracle, &few.descent().unwrap());
    for entry in catalogue::all().filter(|entry| entry.needs == Needs::Nothing) {
        let (settings, expected, tolerance) = match entry.exact {
            Exact::LowerSteps => (&few, &of_few, 1e-8),
            Exact::SolvedLowerLevel => (&enough(), &closed_form, 1e-8),
            Exact::Other(_) => continue,
        };
        let Made::Hypergradient(mut method) = entry.make(settings, &At { x, y, seed: 0 }).unwrap()
        else {
            panic!("{} moves x itself, and is exact for no gradient", entry.name)
        };
        let (found, status) = hypergradient(&oracle, method.as_mut());
        assert!(status.is_ok(), "{}: {status}", entry.name);
        assert_close(entry.name, &found, expected, tolerance);
    }
}

#[test]
fn every_entry_makes_a_step() {
    let oracle = penalties(Fit::Logistic, &device());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    for entry in catalogue::all() {
        let settings = Settings { lower_steps: 4, solver_iterations: 3, ..Settings::default() };
        let made = entry.make(&settings, &At { x: &x, y: &y, seed: 0 }).unwrap();
        let Made::Joint(method) = made else {
            let Made::Hypergradient(mut method) = made else { unreachable!() };
            let (found, _) = hypergradient(&oracle, method.as_mut());
            assert!(found.iter().all(|number| number.is_finite()), "{}", entry.name);
            continue;
        };
        let solver = JointSolver::new(&oracle, method, x.clone(), y.clone()).unwrap();
        let mut solver = solver.with_sampler(Sampler::full());
        for k in 0..2 {
            let step = solver.step(k).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
            assert!(step.upper_loss.is_finite(), "{}", entry.name);
        }
    }
}

#[test]
fn steps_of_a_chosen_dynamics_are_kept() {
    let oracle = penalties(Fit::Logistic, &device());
    let (x, y) = (&oracle.upper_start(), &oracle.lower_start());
    let settings = Settings {
        lower_steps: 4,
        step_size: 0.05,
        dynamics: LowerDynamics::Adam,
        momentum: 0.5,
        kept_steps: 2,
        truncated: 3,
        ..Settings::default()
    };
    let adam = || {
        let adam = Adam::new(0.05).unwrap().with_decay(0.5, 0.999).unwrap();
        Descent::new(adam, 4).unwrap()
    };
    let expected: [Box<dyn HypergradientMethod>; 3] = [
        Box::new(Unrolled::rad(adam()).keeping(2).unwrap()),
        Box::new(Unrolled::trad(adam(), 3).unwrap().keeping(2).unwrap()),
        Box::new(FirstOrder::new(adam()).keeping(2).unwrap()),
    ];
    for mut expected in expected {
        let entry = catalogue::find(expected.name()).unwrap();
        let Made::Hypergradient(mut found) = entry.make(&settings, &At { x, y, seed: 0 }).unwrap()
        else {
            panic!("{} moves x itself", entry.name)
        };
        assert_eq!(found.describe(), expected.describe());
        for _ in 0..2 {
            let found = hypergradient(&oracle, found.as_mut()).0;
            assert_eq!(found, hypergradient(&oracle, expected.as_mut()).0, "{}", entry.name);
        }
        let [found, expected] = [&found, &expected].map(|method| method.kept().unwrap().to_vec());
        assert_eq!(found, expected, "{}", entry.name);
    }
}

#[test]
fn a_dynamics_is_read_by_its_name() {
    for dynamics in [LowerDynamics::Gd, LowerDynamics::Adam] {
        assert_eq!(dynamics.to_string().parse::<LowerDynamics>().unwrap(), dynamics);
    }
    let error = "sgd".parse::<LowerDynamics>().unwrap_err().to_string();
    assert!(error.contains("expected `gd` or `adam`"), "{error}");
}

#[test]
fn names_are_unique_and_settings_are_known() {
    let settings = serde_json::to_value(Settings::default()).unwrap();
    let mut names = Vec::new();
    for entry in catalogue::all() {
        for name in entry.aliases.iter().chain([&entry.name]) {
            assert!(!names.contains(name), "{name} is the name of two methods");
            names.push(name);
        }
        for reads in entry.reads {
            assert!(settings.get(reads).is_some(), "{} reads {reads}", entry.name);
        }
    }
    let json = serde_json::to_string(&enough()).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), enough());
}

/// `F = norm(y - 1)^2 / 2 + norm(x)^2 / 2`, `f = norm(y - x)^2 / 2`, and perhaps `y <= x - 1/10` on a level.
struct Kept(Option<Objective>);

impl BilevelProblem for Kept {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let squares = (y.values.val() - 1.0).powi_scalar(2) + x.values.val().powi_scalar(2);
        squares.sum() * 0.5
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        (y.values.val() - x.values.val()).powi_scalar(2).sum() * 0.5
    }

    fn constraints(&self, level: Objective, x: &Values, y: &Values, (): &()) -> Conditions {
        match self.0 == Some(level) {
            true => Conditions::at_most_zero(y.values.val() - x.values.val() + 0.1),
            false => Conditions::default(),
        }
    }
}

/// The result of two steps: the same if constraints are ignored, bit for bit.
#[test]
fn constraints_are_kept_at_the_levels_that_are_said() {
    let settings = Settings { lower_steps: 4, solver_iterations: 3, ..Settings::default() };
    for entry in catalogue::all() {
        let end = |level: Option<Objective>| {
            let [x, y] = [0.3, 0.7].map(|v| Values::new(&[v; 3], &device()));
            let data = FullBatch { upper: (), lower: () };
            let oracle = AutodiffOracle::new(Kept(level), &x, &y, data).unwrap();
            let ignored = entry.ignored(&oracle);
            let (x, y) = (oracle.upper_start(), oracle.lower_start());
            let made = entry.make(&settings, &At { x: &x, y: &y, seed: 0 }).unwrap();
            let mut solver: Box<dyn Solver> = match made {
                Made::Hypergradient(method) => {
                    let step = GradientStep::new(0.1).unwrap();
                    Box::new(HypergradientSolver::new(&oracle, method, step, x, y))
                }
                Made::Joint(method) => {
                    let solver = JointSolver::new(&oracle, method, x, y).unwrap();
                    Box::new(solver.with_sampler(Sampler::full()))
                }
            };
            for k in 0..2 {
                solver.step(k).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
            }
            ([solver.x().to_vec(), solver.y().to_vec()].concat(), ignored)
        };
        let (free, none) = end(None);
        assert_eq!(none, []);
        for level in [Objective::Upper, Objective::Lower] {
            let (found, ignored) = end(Some(level));
            assert_eq!(found == free, ignored == [(level, 3)], "{} {level}", entry.name);
            assert_eq!(ignored.is_empty(), entry.constraints.contains(&level), "{}", entry.name);
        }
    }
}

// ---- the documents ---------------------------------------------------------------------------------

fn docs(name: &str) -> PathBuf {
    ["..", "..", name].iter().collect()
}

fn line(entry: &Entry) -> String {
    let Entry { name, summary, calls, memory, .. } = entry;
    let exact = entry.exact.as_str();
    let of_f = [calls.lower_gradients, calls.lower_products].join(" | ");
    let constraints = match entry.constraints {
        [] => String::new(),
        [level] => format!("{level}: {}", calls.constraints),
        _ => format!("both levels: {}", calls.constraints),
    };
    let of_upper = calls.upper_gradients;
    format!("| `{name}` | {summary} | {exact} | {of_f} | {of_upper} | {constraints} | {memory} |\n")
}

/// `docs/METHODS.md` with its tables as the catalogue has them.
fn tables(text: &str) -> String {
    let mut text = text.to_owned();
    for family in Family::ALL {
        let begin = format!("<!-- catalogue: {} -->\n", family.as_str());
        let end = "<!-- end of catalogue -->";
        let from = text.find(&begin).expect("METHODS.md has a table of each family") + begin.len();
        let to = from + text[from..].find(end).expect("each table has an end");
        let head = "| | what it does | exact for | gradients of f | products of f | gradients of F | calls of constraints | memory |\n\
                    |---|---|---|---|---|---|---|---|\n";
        let entries = catalogue::all().filter(|entry| entry.family == family);
        let table: String = entries.map(line).collect();
        text.replace_range(from..to, &format!("{head}{table}"));
    }
    text
}

/// With `BLESS=1` the tables are written.
#[test]
fn the_tables_of_the_methods_are_those_of_the_catalogue() {
    let path = docs("docs/METHODS.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = tables(&text);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    assert_eq!(
        text, expected,
        "docs/METHODS.md is not that of the catalogue: run this test with BLESS=1"
    );
}

#[test]
fn every_method_has_its_place_in_the_documents() {
    let [methods, choosing, readme] = ["docs/METHODS.md", "docs/CHOOSING.md", "README.md"]
        .map(|name| std::fs::read_to_string(docs(name)).unwrap());
    let headings: String = methods.lines().filter(|line| line.starts_with("##")).collect();
    for Entry { name, .. } in catalogue::all() {
        // These two are other methods with different steps, and are documented there.
        if ["ia-gm-a", "pbda"].contains(name) {
            assert!(methods.contains(&format!("`{name}`")), "METHODS.md on {name}");
            continue;
        }
        let short = name.strip_prefix("reversible-").unwrap_or(name);
        assert!(headings.contains(&format!("`{short}`")) || *name == "bda", "METHODS.md on {name}");
        assert!(choosing.contains(&format!("`{short}`")), "CHOOSING.md on {name}");
    }
    let count = format!("{} methods", catalogue::all().count());
    assert!(readme.contains(&count), "README.md says how many: {count}");
}
