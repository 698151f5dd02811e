//! A comparison of methods: a table, a CSV of all marks, and figures of medians with their bands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReportError;
use super::convergence::{Axis, Chart, Curve, svg};
use super::folder::{RunFolder, SUMMARY, Versioned, settings_toml};
use super::page::{Page, PageColumn, PageLine, PagePanel, PageTable, facts};
use super::table::{fit, terminal_width};
use crate::compare::{Compared, Mark, Measured, ProblemName, SeedRun, Settings, grid};
use crate::error::resume;
use crate::experiments::{Partly, RUNS};
use crate::settings::Offered;
use bilevel_core::catalogue::Family;

/// The band around a median: between these quantiles of the runs.
const BAND: (f64, f64) = (0.2, 0.8);

/// A quantity on the vertical axis of a figure, and a column of the table.
#[derive(Clone, Copy)]
struct Quantity {
    name: &'static str,
    /// In the table.
    short: &'static str,
    title: &'static str,
    /// Of a mark, above the best value seen.
    of: fn(&Mark, f64) -> f64,
}

const OF_A_SOLVED_LOWER_LEVEL: [Quantity; 2] = [
    Quantity {
        name: "slope",
        short: "squared slope",
        title: "squared norm of the hypergradient",
        of: |mark, _| mark.measured.distance,
    },
    Quantity {
        name: "value",
        short: "above best",
        title: "F(x, y*(x)) above the best seen",
        of: |mark, best| mark.measured.value - best,
    },
];

const OF_A_KNOWN_ANSWER: [Quantity; 2] = [
    Quantity {
        name: "distance",
        short: "distance",
        title: "distance of F and f from the known answer, relative to it or to 1",
        of: |mark, _| mark.measured.distance,
    },
    Quantity {
        name: "violation",
        short: "violation",
        title: "largest violation of a constraint",
        of: |mark, _| mark.measured.value,
    },
];

fn quantities(problem: ProblemName) -> [Quantity; 2] {
    if matches!(problem, ProblemName::Known(_)) {
        OF_A_KNOWN_ANSWER
    } else {
        OF_A_SOLVED_LOWER_LEVEL
    }
}

/// Writes the figures.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_figures(
    settings: &Settings,
    compared: &[Compared],
    folder: &RunFolder,
) -> Result<(), ReportError> {
    let grid = grid(settings.calls);
    let best = best(compared);
    let mut families: Vec<Family> = compared.iter().map(|method| method.family).collect();
    families.sort_unstable();
    families.dedup();
    for family in families {
        let of_family: Vec<_> = compared.iter().filter(|method| method.family == family).collect();
        for quantity in quantities(settings.problem) {
            for seconds in [false, true] {
                let curves = curves(&of_family, quantity, best, &grid, seconds);
                let axis = if seconds { "seconds" } else { "oracle calls" };
                let chart = Chart {
                    title: format!(
                        "{}, {} methods: {}",
                        settings.problem.as_str(),
                        family.as_str(),
                        over(settings.seeds)
                    ),
                    axis: Axis::Logarithmic(axis),
                    quantity: Axis::Logarithmic(quantity.title),
                    curves,
                };
                let by = if seconds { "seconds" } else { "calls" };
                let name = format!("{}-{}-by-{by}.svg", family.as_str(), quantity.name);
                folder.write_file(&name, svg(&chart)?.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// `summary.json`: the numbers of the table.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    settings: &'a Settings,
    methods: Vec<BTreeMap<&'static str, Value>>,
    /// That the data changed.
    warning: Option<String>,
}

/// Writes `report.html` and `summary.json`.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn write_page(
    partly: &Partly<Settings>,
    compared: &[Compared],
) -> Result<(), ReportError> {
    let (settings, folder) = (&partly.settings, &partly.folder);
    let warning = partly.changed()?;
    page(settings, compared, folder, warning.clone())?.write(folder)?;
    let header = header(settings.problem);
    let numbers = |of: Medians<'_>| {
        let words = [of.method.name.as_str(), of.method.family.as_str()].map(Value::from);
        let [first, second] = of.quantities.map(Value::from);
        let numbers = [first, second, of.seconds.into(), of.stopped.into()];
        header.into_iter().zip(words.into_iter().chain(numbers)).collect()
    };
    let methods = medians(settings.problem, compared).into_iter().map(numbers);
    let summary = Summary { settings, methods: methods.collect(), warning };
    folder.write_file(SUMMARY, Versioned::json(&summary)?.as_bytes())
}

/// The page of a comparison.
fn page(
    settings: &Settings,
    compared: &[Compared],
    folder: &RunFolder,
    changed: Option<String>,
) -> Result<Page, ReportError> {
    let (grid, best) = (grid(settings.calls), best(compared));
    let mut families: Vec<Family> = compared.iter().map(|method| method.family).collect();
    families.sort_unstable();
    families.dedup();
    let finite = |value: f64| value.is_finite().then_some(value);
    let line = |(by_calls, by_seconds): (Curve, Curve)| {
        let places = |curve: &Curve| curve.points.iter().map(|point| point.0).collect();
        PageLine {
            x: vec![places(&by_calls), places(&by_seconds)],
            y: by_calls.points.iter().map(|point| finite(point.1)).collect(),
            low: by_calls.band.iter().map(|edge| finite(edge.1)).collect(),
            high: by_calls.band.iter().map(|edge| finite(edge.2)).collect(),
            label: by_calls.label,
            ..PageLine::default()
        }
    };
    let panel = |family: Family, quantity: Quantity| {
        let of_family: Vec<_> = compared.iter().filter(|method| method.family == family).collect();
        let [by_calls, by_seconds] =
            [false, true].map(|seconds| curves(&of_family, quantity, best, &grid, seconds));
        PagePanel {
            title: format!("{} methods: {}", family.as_str(), over(settings.seeds)),
            quantity: quantity.title.into(),
            axes: ["oracle calls", "seconds"].map(String::from).to_vec(),
            logarithmic: true,
            lines: by_calls.into_iter().zip(by_seconds).map(line).collect(),
        }
    };
    let panels = families
        .iter()
        .flat_map(|&of| quantities(settings.problem).map(|quantity| panel(of, quantity)));
    let columns = header(settings.problem).into_iter().enumerate().map(|(at, title)| PageColumn {
        title: title.into(),
        note: None,
        words: at < 2,
    });
    let faults = compared.iter().filter_map(|method| {
        let fault = method.runs.iter().find_map(|run| run.fault.clone())?;
        Some((method.name.clone(), fault))
    });
    let all: toml::Table = folder.settings()?;
    Ok(Page {
        title: format!("{}, {}", settings.problem.as_str(), over(settings.seeds)),
        facts: facts(&all),
        tables: vec![PageTable {
            title: "Medians over the seeds when the calls are spent".into(),
            columns: columns.collect(),
            rows: rows(settings.problem, compared),
        }],
        warnings: faults.chain(changed.map(|text| ("origin".into(), text))).collect(),
        panels: panels.collect(),
        commands: vec![format!("# {}", resume(folder.path()))],
        settings: settings_toml(&all)?,
    })
}

/// What is drawn of this many seeds.
fn over(seeds: u64) -> String {
    match seeds {
        1 => "one seed".into(),
        seeds => format!("median of {seeds} seeds, band of 20 to 80 %"),
    }
}

/// The smallest value of all marks.
fn best(compared: &[Compared]) -> f64 {
    let marks = compared.iter().flat_map(|method| &method.runs).flat_map(|run| &run.marks);
    marks.map(|mark| mark.measured.value).fold(f64::INFINITY, f64::min)
}

/// A quantile of the runs, by the nearest rank, or the mean of the two nearest. Runs that ended early count as the
/// worst. NaN of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = share * values.len() as f64;
    let of_rank = |rank: usize| values.get(rank.clamp(1, values.len().max(1)) - 1).copied();
    let [below, above] = [rank.ceil() as usize, rank.floor() as usize + 1].map(of_rank);
    below.zip(above).map_or(f64::NAN, |(below, above)| 0.5 * below + 0.5 * above)
}

/// How far above its start a method has to end to count as divergent.
const DIVERGES: f64 = 10.0;

/// The curves of methods, by calls or by seconds. One that diverges or ends early says so, and is drawn only within the
/// range of the others, which it would flatten.
fn curves(
    methods: &[&Compared],
    quantity: Quantity,
    best: f64,
    grid: &[f64],
    seconds: bool,
) -> Vec<Curve> {
    let of = |method: &&Compared| curve(method, quantity, best, grid, seconds);
    let mut curves: Vec<Curve> = methods.iter().map(of).collect();
    let fault = |curve: &Curve| match (curve.points.first(), curve.points.last()) {
        // Runs that ended early have no marks there.
        (_, Some((_, last))) if last.is_infinite() => Some("ends early"),
        (Some((_, first)), Some((_, last))) if *first > 0.0 && *last > DIVERGES * first => {
            Some("diverges")
        }
        _ => None,
    };
    let others = curves.iter().filter(|curve| fault(curve).is_none());
    let heights = others.flat_map(|curve| &curve.points).map(|point| point.1);
    let most = heights.filter(|height| height.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    for curve in &mut curves {
        if let Some(fault) = fault(curve) {
            curve.label += &format!(" ({fault})");
            curve.end_above(if most.is_finite() { most } else { f64::MAX });
        }
    }
    curves
}

fn curve(method: &Compared, quantity: Quantity, best: f64, grid: &[f64], seconds: bool) -> Curve {
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for (at, calls) in grid.iter().enumerate() {
        let marks = || method.runs.iter().map(|run| run.marks.get(at));
        let mut values: Vec<f64> = marks()
            .map(|mark| mark.map_or(f64::INFINITY, |mark| (quantity.of)(mark, best)))
            .collect();
        let mut times: Vec<f64> = marks().flatten().map(|mark| mark.seconds).collect();
        let place = if seconds { quantile(&mut times, 0.5) } else { *calls };
        points.push((place, quantile(&mut values, 0.5)));
        band.push((place, quantile(&mut values, BAND.0), quantile(&mut values, BAND.1)));
    }
    Curve { label: method.name.to_owned(), points, band }
}

/// A row of `metrics.csv`.
#[derive(Serialize, Deserialize)]
struct Row {
    problem: String,
    family: String,
    method: String,
    seed: usize,
    calls: f64,
    seconds: f64,
    #[serde(alias = "squared_hypergradient")]
    distance: f64,
    value: f64,
}

/// A row of `runs.csv`: a finished run.
#[derive(Serialize, Deserialize)]
struct Ended {
    method: String,
    seed: usize,
    marks: usize,
    stopped: Option<String>,
    settings: String,
}

const MARKS: &str = "metrics.csv";

/// Writes all marks, and then the runs to which they belong.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn write_runs(
    partly: &Partly<Settings>,
    compared: &[Compared],
) -> Result<(), ReportError> {
    let grid = grid(partly.settings.calls);
    let runs = || {
        compared.iter().flat_map(|method| {
            method.runs.iter().enumerate().map(move |(seed, run)| (method, seed, run))
        })
    };
    let marks = runs().flat_map(|(method, seed, run)| {
        run.marks.iter().zip(&grid).map(move |(mark, calls)| Row {
            problem: partly.settings.problem.as_str().into(),
            family: method.family.as_str().into(),
            method: method.name.clone(),
            seed,
            calls: *calls,
            seconds: mark.seconds,
            distance: mark.measured.distance,
            value: mark.measured.value,
        })
    });
    partly.write_rows(MARKS, marks)?;
    let ended = runs().map(|(method, seed, run)| Ended {
        method: method.name.clone(),
        seed,
        marks: run.marks.len(),
        stopped: run.fault.clone(),
        settings: partly.fingerprint.clone(),
    });
    partly.write_rows(RUNS, ended)
}

/// The output of [`write_runs`]; nothing if there is none.
///
/// # Errors
/// If it cannot be read, or is from other settings.
pub(crate) fn read(partly: &Partly<Settings>) -> Result<Vec<Compared>, ReportError> {
    let marks: Vec<Row> = partly.rows(MARKS)?;
    let mut compared: Vec<Compared> = Vec::new();
    for ended in partly.rows::<Ended>(RUNS)? {
        partly.check(&ended.settings)?;
        let of_run =
            marks.iter().filter(|row| row.method == ended.method && row.seed == ended.seed);
        let marks = of_run.map(|row| Mark {
            seconds: row.seconds,
            measured: Measured { distance: row.distance, value: row.value },
        });
        let run = SeedRun { marks: marks.collect(), fault: ended.stopped };
        let contender = partly.settings.methods.iter().find(|known| known.name() == ended.method);
        let at = compared.iter().position(|known| known.name == ended.method);
        let before = at.map_or(0, |at| compared[at].runs.len());
        let (Some(contender), true) =
            (contender, before == ended.seed && run.marks.len() == ended.marks)
        else {
            let (method, seed) = (ended.method, ended.seed);
            return Err(ReportError::Damaged {
                path: partly.folder.path().join(RUNS),
                what: format!("the run of {method} under seed {seed} is not that of {MARKS}"),
            });
        };
        match at {
            Some(at) => compared[at].runs.push(run),
            None => compared.push(Compared {
                name: ended.method,
                family: contender.family(),
                runs: vec![run],
            }),
        }
    }
    Ok(compared)
}

fn header(problem: ProblemName) -> [&'static str; 6] {
    let [first, second] = quantities(problem).map(|quantity| quantity.short);
    ["method", "family", first, second, "seconds", "stopped"]
}

/// Medians over the seeds when the calls are spent, infinite if half of the runs stopped before.
struct Medians<'a> {
    method: &'a Compared,
    quantities: [f64; 2],
    seconds: f64,
    /// The number of runs that stopped before.
    stopped: usize,
}

fn medians(problem: ProblemName, compared: &[Compared]) -> Vec<Medians<'_>> {
    let best = best(compared);
    let of = |method| {
        let method: &Compared = method;
        let marks =
            || method.runs.iter().map(|run| run.marks.last().filter(|_| run.fault.is_none()));
        let median = |of: &dyn Fn(&Mark) -> f64| {
            let mut values: Vec<f64> = marks().map(|mark| mark.map_or(f64::INFINITY, of)).collect();
            quantile(&mut values, 0.5)
        };
        Medians {
            method,
            quantities: quantities(problem).map(|of| median(&|mark| (of.of)(mark, best))),
            seconds: median(&|mark| mark.seconds),
            stopped: method.runs.iter().filter(|run| run.fault.is_some()).count(),
        }
    };
    compared.iter().map(of).collect()
}

/// The cells of the table.
fn rows(problem: ProblemName, compared: &[Compared]) -> Vec<Vec<String>> {
    let row = |Medians { method, quantities: [first, second], seconds, stopped }: Medians<'_>| {
        vec![
            method.name.to_owned(),
            method.family.as_str().to_owned(),
            format!("{first:.1e}"),
            format!("{second:.1e}"),
            format!("{seconds:.2}"),
            if stopped == 0 {
                String::new()
            } else {
                format!("{stopped} of {}", method.runs.len())
            },
        ]
    };
    medians(problem, compared).into_iter().map(row).collect()
}

/// The table for the terminal.
pub fn table(problem: ProblemName, compared: &[Compared]) -> String {
    let header = header(problem).map(String::from);
    let table = fit(&header, &rows(problem, compared), 2, terminal_width());
    let faults = compared.iter().filter_map(|method| {
        let fault = method.runs.iter().find_map(|run| run.fault.as_ref())?;
        Some(format!("\n{}: {fault}", method.name))
    });
    let [first, second] = quantities(problem).map(|q| format!("{}: {}", q.short, q.title));
    let notes = format!("Medians over the seeds when the calls are spent. {first}; {second}.");
    let notes = textwrap::fill(&notes, terminal_width().unwrap_or(100));
    format!("{table}\n{}\n{notes}\n", faults.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_diverges_does_not_flatten_the_others() {
        let grid = grid(1024);
        let method = |name: &str, rate: f64| {
            let mark = |at: usize| Mark {
                seconds: at as f64,
                measured: Measured { distance: rate.powi(at as i32), value: 0.0 },
            };
            let marks = (0..grid.len()).map(mark).collect();
            let runs = vec![SeedRun { marks, fault: None }];
            Compared { name: name.into(), family: Family::Hypergradient, runs }
        };
        let mut short = method("short", 0.8);
        short.runs[0].marks.truncate(3);
        let methods = [method("good", 0.5), method("slow", 0.9), method("bad", 1e6), short];
        let quantity = OF_A_SOLVED_LOWER_LEVEL[0];
        let all: Vec<&Compared> = methods.iter().collect();
        let drawn = curves(&all, quantity, 0.0, &grid, false);
        let labels: Vec<&str> = drawn.iter().map(|curve| &*curve.label).collect();
        assert_eq!(labels, ["good", "slow", "bad (diverges)", "short (ends early)"]);
        assert!(drawn[..2].iter().all(|curve| curve.points.len() == grid.len()));
        assert_eq!((drawn[2].points.len(), drawn[2].band.len()), (1, 1));
        assert_eq!((drawn[3].points.len(), drawn[3].band.len()), (3, 3));
        let highest = drawn.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        assert_eq!(highest.fold(0.0, f64::max), 1.0);
        // Alone it is drawn whole.
        let alone = curves(&all[2..3], quantity, 0.0, &grid, false);
        assert_eq!(alone[0].points.len(), grid.len());
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(quantile(&mut [62.5, 50.0], 0.5), 56.25);
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
        let mut five = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!([0.0, 0.3, 1.0].map(|share| quantile(&mut five, share)), [1.0, 2.0, 5.0]);
        assert_eq!(quantile(&mut [1.0, f64::INFINITY], 0.5), f64::INFINITY, "one ended early");
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
