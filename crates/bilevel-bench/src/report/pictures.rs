//! Images beside one another, as SVG.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bilevel_data::gray;

/// Height and width of a small image, and the gap between two, in pixels of the figure.
const SIDE: usize = 84;
pub(super) const ROOM: usize = 8;
/// The width of a letter: there is no font here that could be measured.
const LETTER: usize = 8;
/// Space for a line of text.
pub(super) const LINE: usize = 20;

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
    let names = ROOM + rows.iter().map(|row| width(row.name)).max().unwrap_or(0);
    let mut body = String::new();
    for (at, row) in rows.iter().enumerate() {
        let top = ROOM + at * (SIDE + ROOM);
        text(&mut body, (ROOM, top + SIDE / 2), row.name);
        for (column, image) in row.images.iter().enumerate() {
            let place = (names + column * (SIDE + ROOM), top);
            picture(&mut body, image, shape, place, [SIDE, SIDE]);
        }
    }
    figure(&body, [names + columns.max(1) * (SIDE + ROOM), rows.len() * (SIDE + ROOM) + ROOM])
}

/// Draws images of `shape` (channels, height, width) beside one another in their own size, each above its caption.
pub fn captioned(images: &[(String, &[f32])], shape: [usize; 3]) -> String {
    let [_, height, side] = shape;
    let (mut body, mut left) = (String::new(), ROOM);
    for (caption, image) in images {
        picture(&mut body, image, shape, (left, ROOM), [height, side]);
        text(&mut body, (left, ROOM + height + LINE - 4), caption);
        left += side.max(width(caption)) + ROOM;
    }
    figure(&body, [left, ROOM + height + LINE])
}

/// Draws images of `shape` (channels, height, width), all at one size, `columns` in a line, each above its captions.
pub fn sheet(images: &[(Vec<String>, &[f32])], shape: [usize; 3], columns: usize) -> String {
    let captions = || images.iter().flat_map(|(captions, _)| captions);
    let needs = captions().map(|caption| width(&shorten(caption))).max().unwrap_or(0);
    let lines = images.iter().map(|(captions, _)| captions.len()).max().unwrap_or(0);
    let (wide, high) = (needs.max(SIDE) + ROOM, SIDE + lines * LINE + ROOM);
    let mut body = String::new();
    for (at, (captions, image)) in images.iter().enumerate() {
        let (left, top) = (ROOM + at % columns * wide, ROOM + at / columns * high);
        picture(&mut body, image, shape, (left, top), [SIDE, SIDE]);
        for (line, caption) in captions.iter().enumerate() {
            let bottom = top + SIDE + (line + 1) * LINE - 4;
            text(&mut body, (left, bottom), &shorten(caption));
        }
    }
    let columns = columns.min(images.len());
    figure(&body, [ROOM + columns * wide, ROOM + images.len().div_ceil(columns.max(1)) * high])
}

/// A name or a path without its middle, if it is long.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 21;
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= MOST {
        return text.to_owned();
    }
    let (first, last) = (&letters[..MOST / 2], &letters[letters.len() - MOST / 2..]);
    format!("{}…{}", first.iter().collect::<String>(), last.iter().collect::<String>())
}

/// The width of a text and the gap after it.
pub(super) fn width(text: &str) -> usize {
    match text.chars().count() {
        0 => 0,
        letters => LETTER * letters + ROOM,
    }
}

pub(super) fn figure(body: &str, [width, height]: [usize; 2]) -> String {
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

pub(super) fn text(to: &mut String, (left, bottom): (usize, usize), text: &str) {
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

    /// The horizontal places of the elements of a kind.
    fn places(svg: &str, kind: &str) -> Vec<usize> {
        let start = format!("<{kind} x=\"");
        let after = svg.split(&start).skip(1);
        after.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn a_sheet_has_each_image_above_its_captions() {
        let image = [0.5; 4];
        let captions =
            |at: usize| vec![format!("row {at}"), "a rather long name of a class".into()];
        let images: Vec<_> = (0..5).map(|at| (captions(at), &image[..])).collect();
        let svg = sheet(&images, [1, 2, 2], 3);
        let (images, texts) = (places(&svg, "image"), places(&svg, "text"));
        let twice: Vec<usize> = images.iter().flat_map(|left| [*left; 2]).collect();
        assert_eq!(texts, twice);
        assert_eq!(images[0], images[3]);
        let shown = "a rather l…of a class";
        assert!(images[1] - images[0] > 7 * shown.chars().count());
        assert_eq!(svg.matches(shown).count(), 5, "{svg}");
    }

    #[test]
    fn names_and_captions_have_the_space_that_they_need() {
        let image = [0.5; 4];
        let row = |name| Row { name, images: vec![&image] };
        for name in ["", "rad", "an alternating method of a long name"] {
            let svg = pictures(&[row(name), row("cg")], [1, 2, 2]);
            let needs = places(&svg, "text")[0] + 7 * name.len();
            assert!(places(&svg, "image").iter().all(|left| *left > needs), "{name}: {svg}");
        }
        let captions = ["a long caption: 20.00 dB", "another", "c"];
        let svg = captioned(&captions.map(|of| (of.to_owned(), &image[..])), [1, 2, 2]);
        for (pair, caption) in places(&svg, "text").windows(2).zip(captions) {
            assert!(pair[0] + 7 * caption.len() < pair[1], "{caption}: {svg}");
        }
    }
}
