//! The curves of a run as SVG: test accuracy and F1 of detecting wrong labels over upper steps, or the upper loss if
//! there is no F1.

use super::convergence::Axis;
use super::plot::{self, Line, Panel, Stroke};
use super::{MethodReport, ReportError, RunReport, StepRecord};

/// The quantity of a panel.
#[derive(Clone, Copy)]
struct Quantity {
    title: &'static str,
    /// The factor between a stored and a shown figure.
    scale: f64,
    of_step: fn(&StepRecord) -> Option<f64>,
    of_baseline: fn(&MethodReport) -> Option<f64>,
}

const TEST_ACCURACY: Quantity = Quantity {
    title: "test accuracy (%)",
    scale: 100.0,
    of_step: |record| record.test_accuracy,
    of_baseline: |method| method.test_accuracy,
};
const F1: Quantity = Quantity {
    title: "F1 of finding wrong labels (%)",
    scale: 100.0,
    of_step: |record| record.f1,
    of_baseline: MethodReport::f1,
};
const UPPER_LOSS: Quantity = Quantity {
    title: "upper loss",
    scale: 1.0,
    of_step: |record| record.upper_loss,
    of_baseline: |method| method.upper_loss,
};

/// Draws the figure; none if no method has a curve. Quantities that no method has are left out.
///
/// # Errors
/// If the drawing library fails.
pub fn svg(report: &RunReport) -> Result<Option<String>, ReportError> {
    // Baselines are drawn by their result.
    let methods = || report.methods.iter().filter(|method| !method.baseline);
    let records = || methods().flat_map(|method| &method.series);
    let second = if records().any(|record| record.f1.is_some()) { F1 } else { UPPER_LOSS };
    let last = records().map(|record| record.step).max().unwrap_or(0).max(1) as f64;
    let quantities = [TEST_ACCURACY, second].into_iter();
    let shown = quantities.filter(|shown| {
        records().any(|record| (shown.of_step)(record).is_some_and(f64::is_finite))
    });
    let panels: Vec<Panel> = shown.map(|quantity| panel(report, quantity, last)).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let title = format!("{}, seed {}", report.experiment, report.seed);
    plot::svg(&title, &panels).map(Some)
}

/// One panel, where the steps end at `last`.
fn panel(report: &RunReport, quantity: Quantity, last: f64) -> Panel {
    let shown = |value: Option<f64>| value.map(|v| v * quantity.scale).filter(|v| v.is_finite());
    let (mut methods, mut baselines) = (0.., 0..);
    let line = |method: &MethodReport| {
        let label = match method.ok {
            true => method.name.clone(),
            false => format!("{} (stopped)", method.name),
        };
        let (mut points, mut mark) = (Vec::new(), None);
        let stroke = if method.baseline {
            let level = shown((quantity.of_baseline)(method));
            points.extend(level.iter().flat_map(|&level| [(0.0, level), (last, level)]));
            Stroke::baseline(baselines.next().unwrap_or(0))
        } else {
            for record in &method.series {
                let Some(value) = shown((quantity.of_step)(record)) else { continue };
                match record.retrained {
                    true => mark = Some((record.step as f64, value)),
                    false => points.push((record.step as f64, value)),
                }
            }
            Stroke::method(methods.next().unwrap_or(0))
        };
        Line { label, stroke, points, band: Vec::new(), mark }
    };
    Panel {
        title: String::new(),
        axis: Axis::Linear("upper steps"),
        quantity: Axis::Linear(quantity.title),
        lines: report.methods.iter().map(line).collect(),
    }
}
