//! A comparison of methods: a table, a CSV of all marks, and figures of medians with their bands.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::ReportError;
use super::convergence::{Axis, Chart, Curve, svg};
use super::folder::RunFolder;
use crate::compare::{Compared, Mark, Settings, grid};
use bilevel_core::catalogue::Family;

/// The band around a median: from this share of the runs to that.
const BAND: (f64, f64) = (0.2, 0.8);

/// What a figure shows upwards.
#[derive(Clone, Copy)]
struct Quantity {
    name: &'static str,
    title: &'static str,
    /// Of a mark, above the best value that was seen.
    of: fn(&Mark, f64) -> f64,
}

const QUANTITIES: [Quantity; 2] = [
    Quantity {
        name: "slope",
        title: "squared norm of the hypergradient",
        of: |mark, _| mark.measured.slope,
    },
    Quantity {
        name: "value",
        title: "F(x, y*(x)) above the best seen",
        of: |mark, best| mark.measured.value - best,
    },
];

/// Writes the CSV and the figures.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write(
    settings: &Settings,
    compared: &[Compared],
    folder: &RunFolder,
) -> Result<(), ReportError> {
    folder.write_file("marks.csv", &csv(settings, compared)?)?;
    let grid = grid(settings.calls);
    let best = best(compared);
    let mut families: Vec<Family> = compared.iter().map(|method| method.family).collect();
    families.sort_unstable();
    families.dedup();
    for family in families {
        let of_family: Vec<_> = compared.iter().filter(|method| method.family == family).collect();
        for quantity in QUANTITIES {
            for seconds in [false, true] {
                let curves = of_family.iter().map(|m| curve(m, quantity, best, &grid, seconds));
                let axis = if seconds { "seconds" } else { "oracle calls" };
                let chart = Chart {
                    title: format!(
                        "{}, {} methods: median of {} seeds, band of 20 to 80 %",
                        settings.problem.as_str(),
                        family.as_str(),
                        settings.seeds
                    ),
                    axis: Axis::Logarithmic(axis),
                    quantity: Axis::Logarithmic(quantity.title),
                    curves: curves.collect(),
                };
                let by = if seconds { "seconds" } else { "calls" };
                let name = format!("{}-{}-by-{by}.svg", family.as_str(), quantity.name);
                folder.write_file(&name, svg(&chart)?.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// The least value of all marks.
fn best(compared: &[Compared]) -> f64 {
    let marks = compared.iter().flat_map(|method| &method.runs).flat_map(|run| &run.marks);
    marks.map(|mark| mark.measured.value).fold(f64::INFINITY, f64::min)
}

/// The value that a share of the sorted runs stays below, by the nearest rank. Runs that ended early count as
/// the worst.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
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

/// A row of `marks.csv`.
#[derive(Serialize)]
struct Row<'a> {
    problem: &'a str,
    family: &'a str,
    method: &'a str,
    seed: usize,
    calls: f64,
    seconds: f64,
    squared_hypergradient: f64,
    value: f64,
}

fn csv(settings: &Settings, compared: &[Compared]) -> Result<Vec<u8>, ReportError> {
    let refuse = |what: String| ReportError::Format { file: "marks.csv", what };
    let mut rows = csv::Writer::from_writer(Vec::new());
    let grid = grid(settings.calls);
    for method in compared {
        for (seed, run) in method.runs.iter().enumerate() {
            for (mark, calls) in run.marks.iter().zip(&grid) {
                let row = Row {
                    problem: settings.problem.as_str(),
                    family: method.family.as_str(),
                    method: &method.name,
                    seed,
                    calls: *calls,
                    seconds: mark.seconds,
                    squared_hypergradient: mark.measured.slope,
                    value: mark.measured.value,
                };
                rows.serialize(row).map_err(|e| refuse(e.to_string()))?;
            }
        }
    }
    rows.into_inner().map_err(|e| refuse(e.to_string()))
}

/// The table of the terminal: medians over the seeds when the calls are spent.
pub fn table(compared: &[Compared]) -> String {
    let best = best(compared);
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["method", "family", "squared slope", "above best", "seconds", "stopped"]);
    for method in compared {
        let marks =
            || method.runs.iter().map(|run| run.marks.last().filter(|_| run.fault.is_none()));
        let median = |of: &dyn Fn(&Mark) -> f64| {
            let mut values: Vec<f64> = marks().map(|mark| mark.map_or(f64::INFINITY, of)).collect();
            quantile(&mut values, 0.5)
        };
        let stopped = method.runs.iter().filter(|run| run.fault.is_some()).count();
        table.add_row([
            method.name.to_owned(),
            method.family.as_str().to_owned(),
            format!("{:.1e}", median(&|mark| mark.measured.slope)),
            format!("{:.1e}", median(&|mark| mark.measured.value - best)),
            format!("{:.2}", median(&|mark| mark.seconds)),
            if stopped == 0 {
                String::new()
            } else {
                format!("{stopped} of {}", method.runs.len())
            },
        ]);
    }
    let faults = compared.iter().filter_map(|method| {
        let fault = method.runs.iter().find_map(|run| run.fault.as_ref())?;
        Some(format!("\n{}: {fault}", method.name))
    });
    format!("{table}\n{}", faults.collect::<String>())
}
