//! Convergence figures as SVG: curves of a quantity, with a band around each where it is a median of several runs.

use bilevel_problems::claims::Figure;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::ReportError;
use super::curves::{DrawError, GRID, INK, METHODS, font, short};

const SIZE: (u32, u32) = (860, 500);
/// Figures beside each other.
const BESIDE: usize = 2;
/// What is smaller is drawn here: f64 has no more to say.
const FLOOR: f64 = 1e-24;
/// The length of a dash in pixels, for the curves after the first round of colours, and after the second.
const DASHES: [i32; 3] = [i32::MAX, 8, 3];

/// What is drawn to the right, or upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Evenly; to the right from 0, or from the least place below it.
    Linear(&'static str),
    /// On a logarithmic scale; what is not positive is left out to the right, and at the bottom upwards.
    Logarithmic(&'static str),
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// The caption.
    pub title: String,
    /// To the right.
    pub axis: Axis,
    /// Upwards.
    pub quantity: Axis,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// A curve of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub label: String,
    /// (to the right, upwards)
    pub points: Vec<(f64, f64)>,
    /// (to the right, from, to); empty where there is none.
    pub band: Vec<(f64, f64, f64)>,
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

impl Axis {
    fn label(self) -> &'static str {
        match self {
            Self::Linear(label) | Self::Logarithmic(label) => label,
        }
    }

    /// Where a value stands on the axis, if it does.
    fn place(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear(_) => Some(value),
            Self::Logarithmic(_) => (value > 0.0).then(|| value.log10()),
        }
    }

    /// The value that stands at a place of an axis so long.
    fn name(self, place: f64, span: f64) -> String {
        match self {
            Self::Linear(_) => short(place, span),
            Self::Logarithmic(_) if (-2.0..5.0).contains(&place) => {
                let value = 10f64.powf(place);
                if place < 1.0 { format!("{value:.2}") } else { format!("{value:.0}") }
            }
            Self::Logarithmic(_) => format!("{:.0e}", 10f64.powf(place)),
        }
    }
}

/// Draws the figure; values that are not finite are left out.
///
/// # Errors
/// Where the drawing library refuses.
pub fn svg(chart: &Chart) -> Result<String, ReportError> {
    panels(std::slice::from_ref(chart))
}

/// Draws several figures as one.
///
/// # Errors
/// Where the drawing library refuses.
pub fn panels(charts: &[Chart]) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(charts, &mut text).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(text)
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|v| v.is_finite());
    finite.fold(None, |range, v| {
        Some(range.map_or((v, v), |(a, b): (f64, f64)| (a.min(v), b.max(v))))
    })
}

fn draw<'a>(charts: &[Chart], text: &'a mut String) -> Result<(), DrawError<'a>> {
    let columns = charts.len().clamp(1, BESIDE);
    let rows = charts.len().div_ceil(columns).max(1);
    let size = (SIZE.0 * columns as u32, SIZE.1 * rows as u32);
    let root = SVGBackend::with_string(text, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, chart) in root.split_evenly((rows, columns)).iter().zip(charts) {
        let values = chart.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        match chart.quantity {
            Axis::Logarithmic(_) => {
                let (low, high) = range(values.map(|v| v.max(FLOOR))).unwrap_or((FLOOR, 1.0));
                let bounds = (low / 2.0, high * 2.0);
                panel(area, chart, bounds, (bounds.0..bounds.1).log_scale())?;
            }
            Axis::Linear(_) => {
                let bands = chart.curves.iter().flat_map(|curve| &curve.band);
                let bands = bands.flat_map(|&(_, from, to)| [from, to]);
                let (low, high) = range(values.chain(bands)).unwrap_or((0.0, 1.0));
                let room = (0.06 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
                let bounds = (low - room, high + room);
                panel(area, chart, bounds, bounds.0..bounds.1)?;
            }
        }
    }
    root.present()
}

/// One figure, whose values are drawn within `bounds`.
fn panel<'a, Y>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    figure: &Chart,
    bounds: (f64, f64),
    upwards: Y,
) -> Result<(), DrawError<'a>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let axis = figure.axis;
    let points = || figure.curves.iter().flat_map(|curve| &curve.points);
    let places = points().filter_map(|point| axis.place(point.0));
    let (left, right) = range(places).unwrap_or((0.0, 1.0));
    let left = if let Axis::Linear(_) = axis { left.min(0.0) } else { left };
    // Room for the legend beside the curves.
    let right_edge = right + (right - left).max(1e-9) * 0.34;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(&figure.title, font(18))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(left..right_edge, upwards)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc(axis.label())
        .y_desc(figure.quantity.label())
        .x_labels(7)
        .x_label_formatter(&|place| {
            if *place <= right { axis.name(*place, right - left) } else { String::new() }
        })
        .y_labels(8)
        .y_label_formatter(&|value| match figure.quantity {
            Axis::Logarithmic(_) => format!("{value:.0e}"),
            Axis::Linear(_) => short(*value, bounds.1 - bounds.0),
        })
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()?;
    let clamp = |value: f64| value.clamp(bounds.0, bounds.1);
    for (at, curve) in figure.curves.iter().enumerate() {
        let color = METHODS[at % METHODS.len()];
        let dash = DASHES[(at / METHODS.len()).min(DASHES.len() - 1)];
        let band = curve.band.iter().filter(|(_, from, to)| from.is_finite() && to.is_finite());
        let edge = |upper: bool| {
            let of = move |&(at, from, to): &(f64, f64, f64)| {
                Some((axis.place(at)?, clamp(if upper { to } else { from })))
            };
            band.clone().filter_map(of)
        };
        let outline: Vec<_> =
            edge(true).chain(edge(false).collect::<Vec<_>>().into_iter().rev()).collect();
        if !outline.is_empty() {
            chart.draw_series([Polygon::new(outline, color.mix(0.15))])?;
        }
        let line = curve.points.iter().filter(|point| point.1.is_finite());
        let line = line.filter_map(|&(at, value)| Some((axis.place(at)?, clamp(value))));
        let style = color.stroke_width(2);
        let drawn = match dash {
            i32::MAX => chart.draw_series(LineSeries::new(line, style))?,
            dash => chart.draw_series(DashedLineSeries::new(line, dash, dash, style))?,
        };
        drawn.label(&curve.label).legend(move |(x, y)| {
            let end = x + dash.min(18);
            PathElement::new([(x, y), (end, y)], style)
        });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(font(13))
        .draw()
}
