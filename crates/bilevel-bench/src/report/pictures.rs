//! Images beside one another, as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::ReportError;
use super::plot::font;

/// Height and width of an image, the room between two, and that for the names of rows, in pixels of the figure.
const SIDE: i32 = 84;
const ROOM: i32 = 8;
const NAMES: i32 = 70;

/// Images in a row, and what they are.
pub struct Row<'a> {
    /// What they are.
    pub name: &'a str,
    /// Pixels each, row-major, in `[0, 1]`; of several channels the mean is drawn.
    pub images: Vec<&'a [f32]>,
}

/// Draws rows of images of `shape` (channels, height, width), white on black.
///
/// # Errors
/// Where the drawing library refuses.
pub fn pictures(rows: &[Row<'_>], shape: [usize; 3]) -> Result<String, ReportError> {
    let columns = rows.iter().map(|row| row.images.len()).max().unwrap_or(0) as i32;
    let size = [NAMES + columns.max(1) * (SIDE + ROOM), rows.len() as i32 * (SIDE + ROOM) + ROOM];
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size.map(|side| side as u32).into());
        draw(&root.into_drawing_area(), rows, shape)
            .map_err(|error| ReportError::Draw(error.to_string()))?;
    }
    Ok(text)
}

fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    rows: &[Row<'_>],
    shape: [usize; 3],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    area.fill(&WHITE)?;
    for (at, row) in rows.iter().enumerate() {
        let top = ROOM + at as i32 * (SIDE + ROOM);
        let name = Text::new(row.name.to_owned(), (ROOM, top + SIDE / 2), font(14));
        area.draw(&name)?;
        for (column, image) in row.images.iter().enumerate() {
            draw_image(area, image, shape, (NAMES + column as i32 * (SIDE + ROOM), top))?;
        }
    }
    area.present()
}

fn draw_image<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    image: &[f32],
    [channels, height, width]: [usize; 3],
    (left, top): (i32, i32),
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    // Whole pixels of the figure, without gaps where the sides do not divide.
    let edge = |at: usize, of: usize| (at * SIDE as usize / of) as i32;
    for (at, pixel) in (0..height * width).map(|at| (at, (at / width, at % width))) {
        let sum: f32 = (0..channels).map(|c| image[c * height * width + at]).sum();
        let grey = (255.0 * (sum / channels as f32).clamp(0.0, 1.0)).round() as u8;
        let corner = |row, column| (left + edge(column, width), top + edge(row, height));
        let (row, column) = pixel;
        let corners = [corner(row, column), corner(row + 1, column + 1)];
        area.draw(&Rectangle::new(corners, RGBColor(grey, grey, grey).filled()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_drawn_in_its_grey() {
        let image = [0.0, 1.0, 0.5, 0.2];
        let rows = [Row { name: "one", images: vec![&image] }];
        let svg = pictures(&rows, [1, 2, 2]).unwrap();
        for grey in ["#000000", "#FFFFFF", "#808080", "#333333"] {
            assert!(svg.contains(&format!("fill=\"{grey}\"")), "{grey} in {svg}");
        }
        assert!(svg.contains("one"));
        assert!(pictures(&[Row { name: "none", images: vec![] }], [1, 2, 2]).is_ok());
    }
}
