//! Formulas: what is read, what is refused, and `solve` for the best and the worst of the lower solutions.

use bilevel_problems::{FormulaError, Formulas};

/// Problems that are tried in badly chosen units, and that are not solved in them without rescaling.
const STRETCHED: &[&str] = &[
    "bard-1988-3",
    "shimizu-aiyoshi-1981-2",
    "falk-liu-1995",
    "de-silva-1978",
    "liu-hart-1994",
    "bialas-karwan-1984",
    "colson-2002-bipa-5",
    "toll-setting",
    "many-lower-solutions",
];

use crate::device;

#[test]
fn formulas_say_what_they_cannot_read() {
    let read = |change: &str| {
        let text = format!("f = 'y1^2'\nx = [1]\ny = [0]\n{change}");
        text.parse::<Formulas>().map(|_| ())
    };
    assert_eq!(read("F = '-x1^2 + y1'"), Ok(()));
    let error = read("F = 'x2 + y1'").unwrap_err();
    assert!(matches!(error, FormulaError::Variable { x: 1, y: 1, .. }), "{error}");
    let error = read("F = 'x1 +* y1'").unwrap_err();
    assert!(matches!(error, FormulaError::Formula { .. }), "{error}");
    let error = read("F = 'x1'\nx-bounds = [[0, 1], [0, 1]]").unwrap_err();
    assert_eq!(error, FormulaError::Bounds { variable: "x", found: 2, expected: 1 });
    for (bounds, found) in [("[nan, 1]", [f64::NAN, 1.0]), ("[2, 1]", [2.0, 1.0])] {
        let error = read(&format!("F = 'x1'\nx-bounds = [{bounds}]")).unwrap_err();
        let expected = FormulaError::Between { variable: "x1".into(), found };
        assert_eq!(error.to_string(), expected.to_string());
    }
    for start in ["[]", "[nan]", "[inf]"] {
        let text = format!("F = 'x1'\nf = 'y1^2'\nx = [1]\ny = {start}");
        let error = text.parse::<Formulas>().unwrap_err();
        assert!(matches!(error, FormulaError::Start { variable: "y", .. }), "{error}");
    }
    for formula in ["x1^y1^2", "2^(x1)^y1", "1 + x1^sin(y1)^2", "x1^1e-1^2"] {
        let error = read(&format!("F = '{formula}'")).unwrap_err();
        assert_eq!(error, FormulaError::Powers(formula.into()));
    }
    for formula in ["x1^-1", "2 * - x1", "--x1", "y1 - +x1"] {
        let error = read(&format!("F = '{formula}'")).unwrap_err();
        assert_eq!(error, FormulaError::Sign(formula.into()));
    }
    let error = read("F = 'x1'\nq = 1").unwrap_err();
    assert!(
        matches!(error, FormulaError::File(_)) && error.to_string().contains("unknown field"),
        "{error}"
    );
}

#[test]
fn formulas_are_read_as_in_mathematics() {
    for (formula, expected) in [
        ("-x1^2", -9.0),
        ("2 - 3 - x1", -4.0),
        ("12/4*2 + 0*x1", 6.0),
        ("2*x1^2 - (-x1)", 21.0),
        ("x1^0.5*x1^0.5 + exp(ln(x1))", 6.0),
        ("-(x1 - 1)*2 + 1.5e-1", -3.85),
        ("cos(pi*x1) + abs(-x1) + 6/x1", 4.0),
        ("x1^(-1)*3 + 2^(1^2)*x1^2", 19.0),
    ] {
        let text =
            format!("F = '{formula} + 0*y1'\nf = '(y1 - x1)^2'\nH = ['x1 - 3']\nx = [3]\ny = [0]");
        let answer = text.parse::<Formulas>().unwrap().solve(&device()).unwrap();
        assert!((answer.upper_loss - expected).abs() < 1e-6, "{formula}: {answer:?}");
    }
}

/// By hand: F is `(x - 2)^2 / 2 -+ x` where y2 is free, or between -1 and 1, and `(x - 1)^2 -+ x` where y is -1 or 1.
#[test]
fn the_worst_of_the_lower_solutions_is_counted_with() {
    for (problem, best, worst) in [
        (
            "F = '(x1 - 2)^2 / 2 + x1 * sin(y2)'\nf = '(y1 - x1)^2 / 2'\nx = [1.5]\ny = [0, 0]",
            (3.0, -2.5),
            (1.0, 1.5),
        ),
        (
            "F = '(x1 - 1)^2 + x1 * y1'\nf = '(y1^2 - 1)^2'\nx = [2]\ny = [0.3]",
            (1.5, -1.25),
            (0.5, 0.75),
        ),
        (
            "F = '(x1 - 2)^2 / 2 + x1 * y2'\nf = '(y1 - x1)^2 / 2'\ng = ['y2^2 - 1', 'y1 - 9']\nx = [1.5]\ny = [0, 0.2]",
            (3.0, -2.5),
            (1.0, 1.5),
        ),
    ] {
        let read: Formulas = problem.parse().unwrap();
        for (answer, (x, upper_loss)) in
            [(read.solve(&device()), best), (read.solve_pessimistic(&device()), worst)]
        {
            let answer = answer.unwrap();
            let found: f64 = answer.x.val().into_data().iter().next().unwrap();
            let text = format!("{problem}: x = {found}, F = {}, {}", answer.upper_loss, answer.end);
            assert!(
                (found - x).abs() < 1e-3 && (answer.upper_loss - upper_loss).abs() < 1e-3,
                "{text}"
            );
            assert!(answer.end.is_ok(), "{text}");
        }
    }
}

/// A known problem in other units: the entries of x and y alternately scaled up and down by 1e4.
fn stretched(problem: &toml::Table) -> toml::Table {
    let factor = |variable: char, k: usize| {
        let grows = (k + usize::from(variable == 'y')).is_multiple_of(2);
        if grows { 1e4 } else { 1e-4 }
    };
    // From the last one on, so that x1 is not found in x10.
    let formula = |text: &str| {
        let mut text = text.to_owned();
        for variable in ['x', 'y'] {
            for k in (1..=20).rev() {
                let by = factor(variable, k);
                text = text.replace(&format!("{variable}{k}"), &format!("({by}*{variable}#{k})"));
            }
            text = text.replace('#', "");
        }
        text
    };
    let numbers = |value: &toml::Value, by: f64| match value {
        toml::Value::Array(pair) => {
            let divided = pair.iter().map(|v| v.as_float().unwrap() / by);
            toml::Value::Array(divided.map(toml::Value::Float).collect())
        }
        value => toml::Value::Float(value.as_float().unwrap() / by),
    };
    let mut found = problem.clone();
    for (key, value) in &mut found {
        let variable = key.chars().next().unwrap();
        match value {
            toml::Value::String(text) if ["F", "f"].contains(&key.as_str()) => {
                *text = formula(text)
            }
            toml::Value::Array(all) if ["G", "H", "g", "h"].contains(&key.as_str()) => {
                for text in all {
                    *text = toml::Value::String(formula(text.as_str().unwrap()));
                }
            }
            toml::Value::Array(all) if ["x", "y"].iter().any(|name| key.starts_with(name)) => {
                for (k, number) in all.iter_mut().enumerate() {
                    *number = numbers(&floats(number), factor(variable, k + 1));
                }
            }
            _ => {}
        }
    }
    found
}

/// With integers as floats.
fn floats(value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::Integer(number) => toml::Value::Float(*number as f64),
        toml::Value::Array(all) => toml::Value::Array(all.iter().map(floats).collect()),
        value => value.clone(),
    }
}

/// With `ALL=1` all of them, of which four are missed: `bard-1988-1` by 3.5e-3 of f, `yezza-1996`, which says so, and two whose
/// lower level is not convex, where other lower solutions are found.
#[test]
fn known_answers_are_reached_in_badly_chosen_units() {
    let text = include_str!("../../src/formulas/known.toml");
    let table: toml::Table = text.parse().unwrap();
    let problems = table["problem"].as_array().unwrap();
    let all = std::env::var_os("ALL").is_some();
    let mut missed = Vec::new();
    for problem in problems {
        let problem = problem.as_table().unwrap();
        let name = problem["name"].as_str().unwrap();
        if !(all || STRETCHED.contains(&name)) {
            continue;
        }
        let text = stretched(problem).to_string();
        let read: Formulas = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
        let [upper, lower] = read.best().unwrap();
        let answer = read.solve(&device()).unwrap();
        let near = |found: f64, best: f64| (found - best).abs() <= 1e-3 * best.abs().max(1.0);
        let reached = near(answer.upper_loss, upper) && near(answer.lower_loss, lower);
        println!(
            "{reached} {name}: F = {} of {upper}, f = {} of {lower}, {}, {}",
            answer.upper_loss, answer.lower_loss, answer.end, answer.account
        );
        if !(reached && answer.violation <= 1e-6 && answer.end.is_ok()) {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
