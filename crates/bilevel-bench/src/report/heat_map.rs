//! Square matrices of fractions beside one another, as SVG: the darker, the closer to 1.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::ReportError;
use super::plot::{DrawError, INK, METHODS, font};

const SIZE: (u32, u32) = (900, 440);
/// Width of the colour bar.
const BAR: u32 = 60;

/// Draws the panels, each with a name and a row-major matrix of `classes x classes` fractions in `[0, 1]`: label i,
/// downwards, if class j, to the right, is correct.
///
/// # Errors
/// If the drawing library fails.
pub fn svg(
    title: &str,
    panels: [(&str, &[f64]); 2],
    classes: usize,
) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(title, panels, classes, &mut text)
        .map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(text)
}

fn draw<'a>(
    title: &str,
    panels: [(&str, &[f64]); 2],
    classes: usize,
    text: &'a mut String,
) -> Result<(), DrawError<'a>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (body, bar) = root.titled(title, font(20))?.split_horizontally(SIZE.0 - BAR);
    draw_bar(&bar)?;
    let areas = body.split_evenly((1, 2));
    let size = classes as f64;
    for (area, (name, matrix)) in areas.iter().zip(panels) {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(name, font(16))
            .x_label_area_size(40)
            .y_label_area_size(44)
            .build_cartesian_2d(0.0..size, size..0.0)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(INK)
            .x_desc("right class")
            .y_desc("label")
            .x_labels(0)
            .y_labels(0)
            .label_style(font(13))
            .axis_desc_style(font(14))
            .draw()?;
        // A class is labelled at the middle of its cells, and at most ten are.
        for class in (0..classes).step_by(classes.div_ceil(10).max(1)) {
            let middle = class as f64 + 0.5;
            let name = || class.to_string();
            let (dx, dy) = (-4 * name().len() as i32, 8);
            let below = EmptyElement::at((middle, size)) + Text::new(name(), (dx, dy), font(13));
            let (dx, dy) = (-8 - 8 * name().len() as i32, -7);
            let beside = EmptyElement::at((0.0, middle)) + Text::new(name(), (dx, dy), font(13));
            chart.draw_series([below])?;
            chart.draw_series([beside])?;
        }
        let shown = matrix.iter().enumerate().filter(|(_, share)| **share > 0.0);
        chart.draw_series(shown.map(|(at, share)| {
            let (row, column) = ((at / classes) as f64, (at % classes) as f64);
            let color = METHODS[0].mix(share.min(1.0)).filled();
            Rectangle::new([(column, row), (column + 1.0, row + 1.0)], color)
        }))?;
    }
    root.present()
}

/// The meaning of the colours.
fn draw_bar<'a>(area: &DrawingArea<SVGBackend<'a>, Shift>) -> Result<(), DrawError<'a>> {
    const SHADES: i32 = 50;
    let (top, height) = (60, 300);
    for shade in 0..SHADES {
        let at = |shade: i32| top + height - height * shade / SHADES;
        let color = METHODS[0].mix(f64::from(shade) / f64::from(SHADES - 1)).filled();
        area.draw(&Rectangle::new([(8, at(shade + 1)), (24, at(shade))], color))?;
    }
    for (share, y) in [("1", top), ("0.5", top + height / 2), ("0", top + height)] {
        area.draw(&Text::new(share, (30, y - 7), font(13)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::svg;

    #[test]
    fn draws_a_cell_for_each_share() {
        let [learned, shown] = [[0.9, 0.2, 0.1, 0.8], [1.0, f64::NAN, 0.0, 2.0]];
        let text = svg("mlc", [("learned", &learned), ("shown", &shown)], 2).unwrap();
        // Besides the white background and the bar: 4 cells here, 2 there.
        assert_eq!(text.matches("<rect").count(), 7 + 49, "{text}");
        assert!(text.trim_end().ends_with("</svg>"));
    }
}
