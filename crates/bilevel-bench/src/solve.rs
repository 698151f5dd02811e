//! `bilevel solve`: a problem of a few numbers, given by formulas, solved without a setting.

use std::fmt::Write;
use std::path::Path;

use bilevel_problems::Formulas;

use crate::backend::flex_in_f64;
use crate::error::BenchError;
use crate::report::table::{prose, terminal_width};
use crate::settings::refuse;

/// The problems with known answers, by name.
pub fn known() -> String {
    let header = ["problem", "x, y", "best F", "best f", "source"].map(String::from);
    let rows: Vec<_> = Formulas::known()
        .map(|problem| {
            let ([x, y], best) = (problem.sizes(), problem.best());
            let number = |k: usize| best.map_or("-".into(), |best| best[k].to_string());
            let (name, source) = (problem.name().to_owned(), problem.source().to_owned());
            vec![name, format!("{x}, {y}"), number(0), number(1), source]
        })
        .collect();
    format!("{}\n", prose(&header, &rows, terminal_width()))
}

/// Solves a known problem, or that of a file, in f64 on the CPU. What is printed.
///
/// # Errors
/// Where there is no such problem, its formulas cannot be read, or no solution was found.
pub fn solve(what: &str) -> Result<String, BenchError> {
    let problem = match Formulas::known().find(|problem| problem.name() == what) {
        Some(known) => known,
        None => read(what.as_ref())?,
    };
    let answer = problem.solve(&flex_in_f64()?)?;
    let numbers = |v: &bilevel_problems::Values| {
        let data = v.val().into_data();
        let numbers: Vec<_> = data.iter::<f64>().map(|v| format!("{v:.6}")).collect();
        numbers.join(", ")
    };
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10}{value}");
    };
    line("x", numbers(&answer.x));
    line("y", numbers(&answer.y));
    line("F", format!("{:.6}", answer.upper_loss));
    line("f", format!("{:.6}", answer.lower_loss));
    if let Some([upper, lower]) = problem.best() {
        line("known", format!("F = {upper}, f = {lower}"));
    }
    line("violation", format!("{:.1e}", answer.violation));
    line("end", answer.end.to_string());
    line("by", answer.account.to_string());
    if answer.end.is_ok() {
        return Ok(text);
    }
    Err(BenchError::NoSolution { end: answer.end.to_string(), found: text })
}

fn read(path: &Path) -> Result<Formulas, BenchError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        refuse(
            "the problem",
            format!("{}: {error}", path.display()),
            "a name that `bilevel solve` lists, or a TOML file with F, f, x and y",
            "call `bilevel solve` without a name to see the names",
        )
    })?;
    text.parse().map_err(|error: bilevel_problems::FormulaError| {
        refuse(
            format!("the problem {}", path.display()),
            error,
            "formulas as in the documentation of `Formulas`",
            "`bilevel solve` lists examples",
        )
    })
}
