//! `bilevel solve`: a problem given by formulas, or a large one, solved without settings.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use bilevel_core::Answer;
use bilevel_problems::{Capacities, Formulas, Values};

use crate::backend::flex_in_f64;
use crate::error::BenchError;
use crate::report::table::{prose, terminal_width};
use crate::settings::refuse;

/// The name of the large problem, and its constraints on each level.
const LARGE: (&str, usize) = ("capacities", 1000);

/// The maximal number of entries printed.
const PRINTED: usize = 20;

fn large() -> Result<Capacities, BenchError> {
    Ok(Capacities::new(LARGE.1)?)
}

/// The problems with known answers, by name.
///
/// # Errors
/// None: the size of the large problem is valid.
pub fn known() -> Result<String, BenchError> {
    let header = ["problem", "x, y", "best F", "best f", "source"].map(String::from);
    let row = |name: &str, [x, y]: [usize; 2], best: Option<[f64; 2]>, source: &str| {
        let number = |k: usize| best.map_or("-".into(), |best| best[k].to_string());
        vec![name.to_owned(), format!("{x}, {y}"), number(0), number(1), source.to_owned()]
    };
    let small = Formulas::known();
    let mut rows: Vec<_> = small
        .map(|problem| row(problem.name(), problem.sizes(), problem.best(), problem.source()))
        .collect();
    let large = large()?;
    let source = format!("{} constraints on each level, in products", LARGE.1);
    rows.push(row(LARGE.0, [large.x(), large.y()].map(<[f64]>::len), Some(large.best()), &source));
    Ok(format!("{}\n", prose(&header, &rows, terminal_width())))
}

/// Solves a known problem, or that of a file, in f64 on the CPU, for the best or the worst of the lower solutions.
/// Returns the output; the known answer is that for the best.
///
/// # Errors
/// If there is no such problem, its formulas cannot be read, or no solution was found.
pub fn solve(what: &str, pessimistic: bool) -> Result<String, BenchError> {
    let device = flex_in_f64()?;
    let begin = Instant::now();
    if what == LARGE.0 {
        // Its lower solutions are unique: the best is the worst.
        let problem = large()?;
        let answer = problem.solve(&device)?;
        return told(&answer, Some(problem.best()), begin);
    }
    let problem = match Formulas::known().find(|problem| problem.name() == what) {
        Some(known) => known,
        None => read(what.as_ref())?,
    };
    if pessimistic {
        return told(&problem.solve_pessimistic(&device)?, None, begin);
    }
    told(&problem.solve(&device)?, problem.best(), begin)
}

/// An answer as lines, or as an error if it is not a solution.
fn told(
    answer: &Answer<Values, Values>,
    best: Option<[f64; 2]>,
    begin: Instant,
) -> Result<String, BenchError> {
    let numbers = |v: &Values| {
        let data = v.val().into_data();
        let some = data.iter::<f64>().take(PRINTED).map(|v| format!("{v:.6}"));
        let more = data.num_elements().saturating_sub(PRINTED);
        let rest = (more > 0).then(|| format!("and {more} more"));
        some.chain(rest).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10}{value}");
    };
    line("x", numbers(&answer.x));
    line("y", numbers(&answer.y));
    line("F", format!("{:.6}", answer.upper_loss));
    line("f", format!("{:.6}", answer.lower_loss));
    if let Some([upper, lower]) = best {
        line("known", format!("F = {upper}, f = {lower}"));
    }
    line("violation", format!("{:.1e}", answer.violation));
    line("end", answer.end.to_string());
    line("by", answer.account.to_string());
    line("time", format!("{:.2} s", begin.elapsed().as_secs_f64()));
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
