//! Convergence figures as SVG: curves of a quantity, with a band around each where it is a median of several runs.

use bilevel_problems::claims::Figure;

use super::ReportError;
use super::plot::{self, Line, Panel, Stroke};

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Linear; on the horizontal axis from 0, unless the first value is far from it.
    Linear(&'static str),
    /// Logarithmic; numbers that are not positive are left out on the horizontal axis, and at the bottom of the
    /// vertical one.
    Logarithmic(&'static str),
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// The caption.
    pub title: String,
    /// The horizontal axis.
    pub axis: Axis,
    /// The vertical axis.
    pub quantity: Axis,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// A curve of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub label: String,
    /// (horizontal, vertical)
    pub points: Vec<(f64, f64)>,
    /// (horizontal, from, to); empty if there is none.
    pub band: Vec<(f64, f64, f64)>,
}

impl Curve {
    /// Ends the curve before it first exceeds `most`. What a band has above is cut.
    pub(super) fn end_above(&mut self, most: f64) {
        let Some(at) = self.points.iter().position(|point| point.1 > most) else { return };
        self.points.truncate(at);
        self.band.truncate(at);
        self.band.iter_mut().for_each(|edge| *edge = (edge.0, edge.1.min(most), edge.2.min(most)));
    }
}

impl From<&Figure> for Chart {
    fn from(figure: &Figure) -> Self {
        let curves = figure.curves.iter().map(|curve| Curve {
            label: curve.label.clone(),
            points: curve.points.clone(),
            band: Vec::new(),
        });
        Self {
            title: figure.title.clone(),
            axis: Axis::Linear("upper steps"),
            quantity: Axis::Logarithmic(figure.quantity),
            curves: curves.collect(),
        }
    }
}

/// Draws the figure; values that are not finite are left out.
///
/// # Errors
/// If the drawing library fails.
pub fn svg(chart: &Chart) -> Result<String, ReportError> {
    panels(std::slice::from_ref(chart))
}

/// Draws several figures as one.
///
/// # Errors
/// If the drawing library fails.
pub fn panels(charts: &[Chart]) -> Result<String, ReportError> {
    let line = |(at, curve): (usize, &Curve)| Line {
        label: curve.label.clone(),
        stroke: Stroke::method(at),
        points: curve.points.clone(),
        band: curve.band.clone(),
        mark: None,
    };
    let panel = |chart: &Chart| Panel {
        title: chart.title.clone(),
        axis: chart.axis,
        quantity: chart.quantity,
        lines: chart.curves.iter().enumerate().map(line).collect(),
    };
    plot::svg("", &charts.iter().map(panel).collect::<Vec<_>>())
}
