//! A convergence figure as SVG: upper steps to the right, a quantity upwards on a logarithmic scale.

use bilevel_problems::claims::Figure;
use plotters::prelude::*;

use super::ReportError;
use super::curves::{GRID, INK, METHODS, font};

const SIZE: (u32, u32) = (760, 480);
/// What is smaller is drawn here: f64 has no more to say.
const FLOOR: f64 = 1e-16;

/// Draws the figure; values that are not finite are left out.
///
/// # Errors
/// Where the drawing library refuses.
pub fn svg(figure: &Figure) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(figure, &mut text).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(text)
}

type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(figure: &Figure, text: &'a mut String) -> Result<(), DrawError<'a>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || figure.curves.iter().flat_map(|curve| &curve.points);
    let last = points().map(|point| point.0).fold(1.0, f64::max);
    let values = points().map(|point| point.1.max(FLOOR)).filter(|v| v.is_finite());
    let (low, high) = values.fold((1.0, FLOOR), |(a, b): (f64, f64), v| (a.min(v), b.max(v)));
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .caption(&figure.title, font(18))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, (low / 2.0..high * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc("upper steps")
        .y_desc(figure.quantity)
        .x_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_labels(8)
        .y_label_formatter(&|value| format!("{value:.0e}"))
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()?;
    for (curve, color) in figure.curves.iter().zip(METHODS.into_iter().cycle()) {
        let line = curve.points.iter().map(|&(step, v)| (step, v.max(FLOOR)));
        let line = line.filter(|point| point.1.is_finite());
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(&curve.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(font(13))
        .draw()?;
    root.present()
}
