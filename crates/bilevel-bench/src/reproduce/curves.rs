//! The runs of a table as curves: medians over seeds, one panel per column.

use std::collections::BTreeMap;

use super::{Cell, Planned, Quantity, distinct};
use crate::report::comparison::quantile;
use crate::report::convergence::{Axis, Chart, Curve, panels};
use crate::report::{MethodReport, ReportError, StepRecord};

/// The quantity of a panel.
#[derive(Clone, Copy)]
struct Shown {
    title: &'static str,
    of: fn(&StepRecord) -> Option<f64>,
}

const ACCURACY: Shown =
    Shown { title: "test accuracy %", of: |step| step.test_accuracy.map(|share| 100.0 * share) };
const F1: Shown = Shown { title: "F1 %", of: |step| step.f1.map(|share| 100.0 * share) };
const UPPER_LOSS: Shown = Shown { title: "upper loss", of: |step| step.upper_loss };

/// Each row of a column as the median of the runs that ended well, in a band from the minimum to the maximum; none if
/// no cell has two such runs.
pub(super) fn svg(
    cells: &[Cell],
    runs: &[Planned],
    done: &[Option<Vec<MethodReport>>],
) -> Result<Option<String>, ReportError> {
    let of = |cell: &Cell| -> Vec<&MethodReport> {
        let runs = runs.iter().zip(done).filter(|(run, _)| run.gives(cell));
        let methods = runs.flat_map(|(_, methods)| methods.iter().flatten());
        methods.filter(|method| method.name == cell.method && method.ok).collect()
    };
    if cells.iter().all(|cell| of(cell).len() < 2) {
        return Ok(None);
    }
    let mut charts: Vec<Chart> = Vec::new();
    for name in distinct(cells.iter().map(|cell| cell.column)) {
        let column = || cells.iter().filter(|cell| cell.column == name);
        let of_f1 = column().next().is_some_and(|cell| cell.quantity == Quantity::F1);
        let wanted = if of_f1 { F1 } else { ACCURACY };
        let mut steps = column().flat_map(of).flat_map(|method| &method.series);
        let shown = if steps.any(|step| (wanted.of)(step).is_some()) { wanted } else { UPPER_LOSS };
        let curves = column().map(|cell| curve(cell.row, &of(cell), shown));
        let curves: Vec<Curve> = curves.filter(|curve| !curve.points.is_empty()).collect();
        // Columns that show figures of the same run have the same curves.
        if !curves.is_empty() && charts.iter().all(|chart| chart.curves != curves) {
            let axis = Axis::Linear("upper steps");
            let title = format!("{name}: medians, with bands from the minimum to the maximum");
            charts.push(Chart { title, axis, quantity: Axis::Linear(shown.title), curves });
        }
    }
    panels(&charts).map(Some)
}

fn curve(row: &str, reports: &[&MethodReport], shown: Shown) -> Curve {
    let mut by_step: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for record in reports.iter().flat_map(|report| &report.series) {
        if let Some(value) = (shown.of)(record).filter(|value| value.is_finite()) {
            by_step.entry(record.step).or_default().push(value);
        }
    }
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for (step, mut values) in by_step {
        let [least, median, greatest] = [0.0, 0.5, 1.0].map(|share| quantile(&mut values, share));
        points.push((step as f64, median));
        band.push((step as f64, least, greatest));
    }
    let seeds = if reports.len() == 1 { "seed" } else { "seeds" };
    Curve { label: format!("{row}, {} {seeds}", reports.len()), points, band }
}
