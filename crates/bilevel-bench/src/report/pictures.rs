//! Images beside one another, as SVG.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bilevel_data::gray;

/// Height and width of a small image, the gap between two, and the space for the names of rows, in pixels of the
/// figure.
const SIDE: usize = 84;
const ROOM: usize = 8;
const NAMES: usize = 70;
/// Space for a line of text.
const LINE: usize = 20;

/// A row of images, and its name.
pub struct Row<'a> {
    /// The name.
    pub name: &'a str,
    /// Pixels of each, row-major, in `[0, 1]`; for several channels the mean is drawn.
    pub images: Vec<&'a [f32]>,
}

/// Draws rows of images of `shape` (channels, height, width), white on black, all at one size.
pub fn pictures(rows: &[Row<'_>], shape: [usize; 3]) -> String {
    let columns = rows.iter().map(|row| row.images.len()).max().unwrap_or(0);
    let mut body = String::new();
    for (at, row) in rows.iter().enumerate() {
        let top = ROOM + at * (SIDE + ROOM);
        text(&mut body, (ROOM, top + SIDE / 2), row.name);
        for (column, image) in row.images.iter().enumerate() {
            let place = (NAMES + column * (SIDE + ROOM), top);
            picture(&mut body, image, shape, place, [SIDE, SIDE]);
        }
    }
    figure(&body, [NAMES + columns.max(1) * (SIDE + ROOM), rows.len() * (SIDE + ROOM) + ROOM])
}

/// Draws images of `shape` (channels, height, width) beside one another in their own size, each above its caption.
pub fn captioned(images: &[(String, &[f32])], shape: [usize; 3]) -> String {
    let [_, height, width] = shape;
    let mut body = String::new();
    for (at, (caption, image)) in images.iter().enumerate() {
        let left = ROOM + at * (width + ROOM);
        picture(&mut body, image, shape, (left, ROOM), [height, width]);
        text(&mut body, (left, ROOM + height + LINE - 4), caption);
    }
    figure(&body, [ROOM + images.len() * (width + ROOM), ROOM + height + LINE])
}

fn figure(body: &str, [width, height]: [usize; 2]) -> String {
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn text(to: &mut String, (left, bottom): (usize, usize), text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(to, "<text x=\"{left}\" y=\"{bottom}\">{text}</text>");
}

fn picture(
    to: &mut String,
    image: &[f32],
    shape: [usize; 3],
    (left, top): (usize, usize),
    [height, width]: [usize; 2],
) {
    let data = STANDARD.encode(png(image, shape));
    let _ = writeln!(
        to,
        "<image x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{data}\"/>"
    );
}

/// An image of `shape` (channels, height, width) as a grey PNG file.
pub fn png(image: &[f32], [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let grey = |at: usize| {
        let sum: f32 = (0..channels).map(|c| image[c * height * width + at]).sum();
        (255.0 * (sum / channels as f32).clamp(0.0, 1.0)).round() as u8
    };
    gray::png(&(0..height * width).map(grey).collect::<Vec<u8>>(), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_drawn_in_its_grey() {
        let image = [0.0, 1.0, 0.5, 0.2];
        let rows = [Row { name: "one & two", images: vec![&image] }];
        let caption = [("three".to_owned(), &image[..])];
        for (svg, name) in [
            (pictures(&rows, [1, 2, 2]), "one &amp; two"),
            (captioned(&caption, [1, 2, 2]), "three"),
        ] {
            assert!(svg.contains(name));
            let data = svg.split("base64,").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            let file = STANDARD.decode(data).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("drawn.png");
            std::fs::write(&path, file).unwrap();
            let drawn = gray::read(&path).unwrap();
            let greys: Vec<f32> = drawn.pixels.iter().map(|pixel| 255.0 * pixel).collect();
            assert_eq!(greys, [0.0, 255.0, 128.0, 51.0]);
        }
        assert!(pictures(&[Row { name: "none", images: vec![] }], [1, 2, 2]).contains("none"));
    }
}
