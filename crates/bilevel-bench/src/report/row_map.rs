//! Rows of a table with a coloured cell for each number, as SVG.

use std::fmt::Write;

use super::pictures::{LINE, ROOM, figure, shorten, text, width};

/// Side of a cell, in pixels of the figure.
const CELL: usize = 20;
/// The value, in standard deviations from the mean, with the full colour.
const FULL: f64 = 3.0;

/// A row.
pub struct Line {
    /// Its words, one per column.
    pub words: Vec<String>,
    /// Its numbers, in standard deviations from the mean of their feature.
    pub values: Vec<f64>,
}

/// Draws groups of rows below one another, with the names of the columns of words and of the `features`.
pub fn row_map(columns: &[&str], features: &[String], groups: &[Vec<Line>]) -> String {
    let features: Vec<String> = features.iter().map(|name| shorten(name)).collect();
    let lines = || groups.iter().flatten();
    let needs = |(at, name): (usize, &&str)| {
        let words = lines().filter_map(|line| line.words.get(at));
        words.map(|word| width(&shorten(word))).max().unwrap_or(0).max(width(name)) + ROOM
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(needs).collect();
    let left = |at: usize| ROOM + widths[..at].iter().sum::<usize>();
    let cells = left(columns.len());
    let head = ROOM + features.iter().map(|name| width(name)).max().unwrap_or(0);
    let mut body = String::new();
    for (at, name) in columns.iter().enumerate() {
        text(&mut body, (left(at), head - 6), name);
    }
    for (at, name) in features.iter().enumerate() {
        // Upwards from the column.
        let place = (cells + at * CELL + CELL - 5, head - 6);
        let _ = write!(body, "<g transform=\"rotate(-90 {} {})\">", place.0, place.1);
        text(&mut body, place, name);
        body += "</g>\n";
    }
    let mut top = head;
    for group in groups {
        for line in group {
            for (at, word) in line.words.iter().enumerate() {
                text(&mut body, (left(at), top + CELL - 5), &shorten(word));
            }
            for (at, value) in line.values.iter().enumerate() {
                cell(&mut body, (cells + at * CELL, top), *value);
            }
            top += CELL;
        }
        top += ROOM;
    }
    let right = cells + features.len() * CELL + ROOM;
    let legend = legend(&mut body, top);
    figure(&body, [right.max(legend), top + LINE + ROOM])
}

/// What the colours mean; returns its width.
fn legend(to: &mut String, top: usize) -> usize {
    let values = [-3, -2, -1, 0, 1, 2, 3];
    for (at, value) in values.into_iter().enumerate() {
        let left = ROOM + at * 2 * CELL;
        cell(to, (left, top), f64::from(value));
        text(to, (left + CELL + 2, top + CELL - 5), &value.to_string());
    }
    let (left, what) = (ROOM + values.len() * 2 * CELL, "standard deviations from the mean");
    text(to, (left, top + CELL - 5), what);
    left + width(what)
}

fn cell(to: &mut String, (left, top): (usize, usize), value: f64) {
    let share = (value.abs() / FULL).min(1.0);
    let full = if value < 0.0 { [33, 102, 172] } else { [178, 24, 43] };
    let mix = |full: i32| (255.0 + share * (f64::from(full) - 255.0)).round();
    let [red, green, blue] = full.map(mix);
    let _ = writeln!(
        to,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{CELL}\" height=\"{CELL}\" \
         fill=\"rgb({red},{green},{blue})\" stroke=\"#ddd\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_darker_the_farther_its_value_is_from_the_mean() {
        let line = |name: &str, values: &[f64]| Line {
            words: vec![name.into(), "a < b".into()],
            values: values.to_vec(),
        };
        let groups = [vec![line("7", &[0.0, 3.0])], vec![line("8", &[-3.0, 100.0])]];
        let features = ["size".to_owned(), "a feature with a name of many letters".into()];
        let svg = row_map(&["row", "given"], &features, &groups);
        let shown = svg.matches("<rect").count();
        assert_eq!(shown, 1 + 4 + 7, "background, cells, legend: {svg}");
        let count = |color: &str| svg.matches(color).count();
        // With those of the legend.
        assert_eq!(count("rgb(255,255,255)"), 2);
        assert_eq!([count("rgb(178,24,43)"), count("rgb(33,102,172)")], [3, 2]);
        for words in [">7<", ">a &lt; b<", ">size<", ">a feature …ny letters<"] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
    }
}
