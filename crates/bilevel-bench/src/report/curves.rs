//! The curves of a run as SVG: test accuracy over upper steps, and F1 (or, where no method looks for wrong
//! labels, the upper loss) beside it.
//!
//! Colours are those of M. Okabe and K. Ito, "Color universal design" (2008), told apart by every kind of
//! colour vision; baselines are grey and told apart by their dashes.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{MethodReport, ReportError, RunReport, StepRecord};

const SIZE: (u32, u32) = (1080, 460);
const LEGEND_HEIGHT: u32 = 32;
pub(crate) const INK: RGBColor = RGBColor(51, 51, 51);
pub(crate) const GRID: RGBColor = RGBColor(229, 229, 229);
pub(crate) const METHODS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
/// Grey and dash length in pixels, for one baseline after the other.
const BASELINES: [(RGBColor, i32); 3] =
    [(RGBColor(90, 90, 90), 3), (RGBColor(90, 90, 90), 10), (RGBColor(150, 150, 150), 6)];

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What one panel shows.
struct Quantity {
    title: &'static str,
    /// By which a stored figure is multiplied to be shown.
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

/// How a method is drawn, the same in both panels and in the legend.
#[derive(Clone, Copy)]
struct Stroke {
    color: RGBColor,
    /// Length of a dash in pixels; a solid line is a dash without end.
    dash: i32,
}

const SOLID: i32 = i32::MAX;

impl Stroke {
    fn style(self) -> ShapeStyle {
        self.color.stroke_width(2)
    }
}

/// One method in one panel.
struct Line {
    stroke: Stroke,
    points: Vec<(f64, f64)>,
}

/// Draws the figure; complete SVG, whatever the figures are: what is missing or not finite is left out.
///
/// # Errors
/// Where the drawing library refuses.
pub fn svg(report: &RunReport) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(report, &mut text).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(text)
}

pub(crate) type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(report: &RunReport, text: &'a mut String) -> Result<(), DrawError<'a>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("{}, seed {}", report.experiment, report.seed);
    let body = root.titled(&title, font(20))?;
    let (panels, legend) = body.split_vertically(body.dim_in_pixel().1 - LEGEND_HEIGHT);
    let records = || report.methods.iter().flat_map(|method| &method.series);
    let second = if records().any(|record| record.f1.is_some()) { F1 } else { UPPER_LOSS };
    let last = records().map(|record| record.step).max().unwrap_or(0).max(1) as f64;
    let strokes = strokes(&report.methods);
    for (panel, quantity) in panels.split_evenly((1, 2)).iter().zip([TEST_ACCURACY, second]) {
        let lines = lines(&report.methods, &strokes, &quantity, last);
        draw_panel(panel, &quantity, lines, last)?;
    }
    draw_legend(&legend, &report.methods, &strokes)?;
    root.present()
}

/// One stroke a method, in their order.
fn strokes(methods: &[MethodReport]) -> Vec<Stroke> {
    let mut colors = METHODS.into_iter().cycle();
    let mut greys = BASELINES.into_iter().cycle();
    let mut next = |method: &MethodReport| match method.baseline {
        true => greys.next(),
        false => colors.next().map(|color| (color, SOLID)),
    };
    methods.iter().filter_map(&mut next).map(|(color, dash)| Stroke { color, dash }).collect()
}

/// What a panel shows of each method, where the steps end at `last`.
fn lines(
    methods: &[MethodReport],
    strokes: &[Stroke],
    quantity: &Quantity,
    last: f64,
) -> Vec<Line> {
    let shown = |value: Option<f64>| value.map(|v| v * quantity.scale).filter(|v| v.is_finite());
    let points = |method: &MethodReport| -> Vec<(f64, f64)> {
        if method.baseline {
            let level = shown((quantity.of_baseline)(method));
            return level.map_or(vec![], |level| vec![(0.0, level), (last, level)]);
        }
        let series = method.series.iter();
        series.filter_map(|r| Some((r.step as f64, shown((quantity.of_step)(r))?))).collect()
    };
    let pairs = methods.iter().zip(strokes);
    pairs.map(|(method, &stroke)| Line { stroke, points: points(method) }).collect()
}

/// The range of the vertical axis: all values, with room above and below.
fn range(lines: &[Line], quantity: &Quantity) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    if low > high {
        return (0.0, quantity.scale);
    }
    let room = (0.06 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
    (low - room, high + room)
}

fn draw_panel<'a>(
    panel: &Panel<'a>,
    quantity: &Quantity,
    lines: Vec<Line>,
    last: f64,
) -> Result<(), DrawError<'a>> {
    let (low, high) = range(&lines, quantity);
    let mut chart = ChartBuilder::on(panel)
        .margin(10)
        .margin_right(24)
        .caption(quantity.title, font(16))
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc("upper steps")
        .x_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_labels(6)
        .y_label_formatter(&|value| short(*value, high - low))
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()?;
    for Line { stroke, points } in lines {
        match stroke.dash {
            SOLID => chart.draw_series(LineSeries::new(points, stroke.style()))?,
            dash => chart.draw_series(DashedLineSeries::new(points, dash, dash, stroke.style()))?,
        };
    }
    Ok(())
}

/// A key and a name for each method, side by side, under both panels: inside one it would hide a curve.
fn draw_legend<'a>(
    area: &Panel<'a>,
    methods: &[MethodReport],
    strokes: &[Stroke],
) -> Result<(), DrawError<'a>> {
    const KEY: i32 = 36;
    let middle = LEGEND_HEIGHT as i32 / 2 - 4;
    let mut x = 66;
    for (method, stroke) in methods.iter().zip(strokes) {
        let mut from = x;
        while from < x + KEY {
            let to = from.saturating_add(stroke.dash).min(x + KEY);
            area.draw(&PathElement::new([(from, middle), (to, middle)], stroke.style()))?;
            from = to.saturating_add(stroke.dash);
        }
        let name = match method.ok {
            true => method.name.clone(),
            false => format!("{} (stopped)", method.name),
        };
        // Without a font at hand the width is a guess, on the wide side.
        let width = 9 * name.chars().count() as i32;
        area.draw(&Text::new(name, (x + KEY + 8, middle - 7), font(15)))?;
        x += KEY + 8 + width + 28;
    }
    Ok(())
}

pub(crate) fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// A label of the vertical axis, with as many decimals as its span needs.
pub(super) fn short(value: f64, span: f64) -> String {
    let decimals = (1.0 - span.log10()).ceil().clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}
