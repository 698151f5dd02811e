//! The result of a network of weights, as SVG: its curve over the losses, and the weights of samples.

use plotters::prelude::*;

use super::ReportError;
use super::plot::{DrawError, GRID, INK, METHODS, font};

const SIZE: (u32, u32) = (960, 400);
const BINS: usize = 40;

/// Draws `curve`, pairs of a loss and its weight, beside histograms of the weights of correct and of wrong labels.
///
/// # Errors
/// If the drawing library fails.
pub fn svg(
    title: &str,
    curve: &[(f32, f32)],
    right: &[f32],
    wrong: &[f32],
) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(title, curve, right, wrong, &mut text)
        .map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(text)
}

fn draw<'a>(
    title: &str,
    curve: &[(f32, f32)],
    right: &[f32],
    wrong: &[f32],
    text: &'a mut String,
) -> Result<(), DrawError<'a>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.titled(title, font(20))?.split_evenly((1, 2));
    let finite = curve.iter().copied().filter(|(loss, weight)| (loss + weight).is_finite());
    let curve: Vec<(f64, f64)> = finite.map(|(loss, w)| (loss.into(), w.into())).collect();
    let most = curve.iter().map(|point| point.0).fold(1e-3, f64::max);
    let high = curve.iter().map(|point| point.1).fold(1e-3, f64::max);
    let mut chart = ChartBuilder::on(&panels[0])
        .margin(10)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..most, 0.0..1.05 * high)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc("loss")
        .y_desc("weight")
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()?;
    chart.draw_series(LineSeries::new(curve, METHODS[0].stroke_width(2)))?;

    let given = || right.iter().chain(wrong).copied().filter(|weight| weight.is_finite());
    let low = f64::from(given().fold(f32::INFINITY, f32::min).min(1.0));
    let high = f64::from(given().fold(0.0, f32::max)).max(low + 1e-6);
    let width = (high - low) / BINS as f64;
    let shares = |weights: &[f32]| {
        let mut bins = vec![0.0; BINS];
        for weight in weights.iter().filter(|weight| weight.is_finite()) {
            let bin = ((f64::from(*weight) - low) / width) as usize;
            bins[bin.min(BINS - 1)] += 1.0 / weights.len() as f64;
        }
        bins
    };
    let sets =
        [("right labels", METHODS[0], shares(right)), ("wrong labels", METHODS[1], shares(wrong))];
    let top = sets.iter().flat_map(|set| &set.2).copied().fold(1e-3, f64::max);
    let mut chart = ChartBuilder::on(&panels[1])
        .margin(10)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(low..high, 0.0..1.05 * top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc("weight")
        .y_desc("share of the labels of a kind")
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()?;
    for (name, color, bins) in sets {
        let bars = bins.into_iter().enumerate().map(|(bin, share)| {
            let from = low + bin as f64 * width;
            Rectangle::new([(from, 0.0), (from + width, share)], color.mix(0.5).filled())
        });
        chart.draw_series(bars)?.label(name).legend(move |(x, y)| {
            Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.mix(0.5).filled())
        });
    }
    chart.configure_series_labels().border_style(TRANSPARENT).label_font(font(14)).draw()?;
    root.present()
}

#[cfg(test)]
mod tests {
    use super::svg;

    #[test]
    fn draws_whatever_the_numbers_are() {
        let curve = [(0.0, 0.5), (1.0, f32::NAN), (2.0, 0.1)];
        let text = svg("mwn", &curve, &[0.1, 0.2], &[f32::INFINITY]).unwrap();
        assert!(text.trim_end().ends_with("</svg>") && text.contains("wrong labels"));
        assert!(svg("mwn", &[], &[], &[]).is_ok() && svg("mwn", &curve, &[0.5; 3], &[]).is_ok());
    }
}
