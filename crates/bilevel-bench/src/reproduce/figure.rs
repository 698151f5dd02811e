//! A reproduced table as a figure: our results beside the paper's, column by column.

use plotters::prelude::*;

use super::{Filled, Reproduced};
use crate::report::ReportError;
use crate::report::plot::{DrawError, GRID, INK, METHODS, font};

const SIZE: (u32, u32) = (1080, 480);
const LEGEND: u32 = 34;

/// A dot with its deviation over seeds for our mean, a ring for the paper's figure; one colour per row.
pub(super) fn svg(reproduced: &Reproduced) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(reproduced, &mut text).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(text)
}

fn draw<'a>(reproduced: &Reproduced, text: &'a mut String) -> Result<(), DrawError<'a>> {
    let (rows, columns) = (reproduced.rows(), reproduced.columns());
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let body = root.titled(reproduced.table.about().title, font(20))?;
    let (panel, legend) = body.split_vertically(body.dim_in_pixel().1 - LEGEND);
    let (low, high) = range(&reproduced.cells);
    let mut chart = ChartBuilder::on(&panel)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..columns.len() as f64, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(0)
        .label_style(font(14))
        .draw()?;
    for cell in &reproduced.cells {
        let at = |names: &[&str], name| names.iter().position(|known| *known == name).unwrap_or(0);
        let (row, column) = (at(&rows, cell.row), at(&columns, cell.column));
        let color = METHODS[row % METHODS.len()];
        let x = column as f64 + (row as f64 + 1.0) / (rows.len() as f64 + 1.0);
        if let Some(paper) = cell.paper {
            chart.draw_series([Circle::new((x, paper), 6, color.stroke_width(2))])?;
        }
        if let Some(mean) = cell.mean() {
            let deviation = cell.deviation().unwrap_or(0.0);
            let bar = [(x, mean - deviation), (x, mean + deviation)];
            chart.draw_series([PathElement::new(bar, color.stroke_width(2))])?;
            chart.draw_series([Circle::new((x, mean), 4, color.filled())])?;
        }
    }
    let width = (SIZE.0 - 84) as f64 / columns.len().max(1) as f64;
    for (at, column) in columns.iter().enumerate() {
        let x = 74.0 + width * (at as f64 + 0.5) - 4.0 * column.len() as f64;
        let y = panel.dim_in_pixel().1 as i32 - 32;
        panel.draw(&Text::new((*column).to_owned(), (x as i32, y), font(15)))?;
    }
    let mut x = 74;
    for (at, row) in rows.iter().enumerate() {
        let color = METHODS[at % METHODS.len()];
        legend.draw(&Circle::new((x, 12), 4, color.filled()))?;
        legend.draw(&Text::new((*row).to_owned(), (x + 10, 5), font(15)))?;
        x += 9 * row.len() as i32 + 40;
    }
    legend.draw(&Circle::new((x, 12), 6, INK.stroke_width(2)))?;
    legend.draw(&Text::new("the paper's", (x + 12, 5), font(15)))?;
    root.present()
}

/// All figures, with margins above and below.
fn range(cells: &[Filled]) -> (f64, f64) {
    let ours = |cell: &Filled| {
        let deviation = cell.deviation().unwrap_or(0.0);
        cell.mean().map(|mean| [mean - deviation, mean + deviation])
    };
    let all = cells.iter().flat_map(|c| c.paper.into_iter().chain(ours(c).into_iter().flatten()));
    let finite = all.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let room = (0.08 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
    (low - room, high + room)
}
