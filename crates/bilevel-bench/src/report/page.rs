//! `report.html`: one page with all of a folder, which needs nothing else, not even a network.
//!
//! The template is `assets/report/report.html`; curves are drawn by uPlot, which is embedded.

mod run;

pub(crate) use run::facts;
pub use run::of_run;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;

use super::ReportError;
use super::folder::RunFolder;

/// The file.
pub const PAGE: &str = "report.html";

/// The contents of a page.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Page {
    /// The heading.
    pub title: String,
    /// The description of the run: pairs of a name and a value.
    pub facts: Vec<(String, String)>,
    /// The tables.
    pub tables: Vec<PageTable>,
    /// The errors and warnings with their remedies, by method.
    pub warnings: Vec<(String, String)>,
    /// The curves.
    pub panels: Vec<PagePanel>,
    /// Shell commands.
    pub commands: Vec<String>,
    /// `settings.toml`.
    pub settings: String,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PageTable {
    /// Its title.
    pub title: String,
    /// Its columns.
    pub columns: Vec<PageColumn>,
    /// Its cells.
    pub rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PageColumn {
    /// Its title.
    pub title: String,
    /// A description, if the title does not suffice.
    pub note: Option<String>,
    /// Whether it contains words, which are aligned to the left.
    pub words: bool,
}

/// Curves in one panel.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PagePanel {
    /// The caption.
    pub title: String,
    /// The quantity on the vertical axis.
    pub quantity: String,
    /// The possible quantities on the horizontal axis.
    pub axes: Vec<String>,
    /// Whether the vertical axis is initially logarithmic.
    pub logarithmic: bool,
    /// The curves.
    pub lines: Vec<PageLine>,
}

/// A curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PageLine {
    /// Its name.
    pub label: String,
    /// Whether it is drawn as a baseline.
    pub baseline: bool,
    /// Whether it is a separate value of the line before it, drawn as a mark in its colour.
    pub mark: bool,
    /// Horizontal positions, on each of the panel's axes.
    pub x: Vec<Vec<f64>>,
    /// Values; none where they are not finite.
    pub y: Vec<Option<f64>>,
    /// The lower and the upper edge of a band; empty if there is none.
    pub low: Vec<Option<f64>>,
    /// See `low`.
    pub high: Vec<Option<f64>>,
}

impl Page {
    /// Writes `report.html`, with all figures of the folder except curves that it draws itself.
    ///
    /// # Errors
    /// If a figure cannot be read or the page cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<(), ReportError> {
        let mut pictures = Vec::new();
        for name in folder.files("svg")? {
            // The page draws its curves itself.
            if (name != "curves.svg" || self.panels.is_empty())
                && let Some(svg) = folder.read_file(&name)?
            {
                pictures.push((name, STANDARD.encode(svg)));
            }
        }
        folder.write_file(PAGE, self.render(&pictures)?.as_bytes())
    }

    /// The page, with pictures as names and base64 contents.
    fn render(&self, pictures: &[(String, String)]) -> Result<String, ReportError> {
        let refuse =
            |error: minijinja::Error| ReportError::Format { file: PAGE, what: error.to_string() };
        let mut environment = Environment::new();
        let template = include_str!("../../assets/report/report.html");
        // By its file extension, values are escaped as in HTML.
        environment.add_template(PAGE, template).map_err(refuse)?;
        let embedded = context! {
            css => include_str!("../../assets/report/report.css"),
            js => include_str!("../../assets/report/report.js"),
            uplot => include_str!("../../assets/report/uplot/uPlot.iife.min.js"),
            uplot_css => include_str!("../../assets/report/uplot/uPlot.min.css"),
            pictures => Value::from(Serde(pictures)),
        };
        let page = Value::from(Serde(self));
        let template = environment.get_template(PAGE).map_err(refuse)?;
        template.render(context! { ..embedded, ..page }).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_no_network_and_nothing_in_it_is_taken_for_markup() {
        let odd = "<script>alert(1)</script> & \"";
        let line = PageLine {
            label: odd.into(),
            x: vec![vec![0.0, 1.0]],
            y: vec![Some(0.5), None],
            ..PageLine::default()
        };
        let page = Page {
            title: odd.into(),
            facts: vec![("seed".into(), odd.into())],
            warnings: vec![(odd.into(), odd.into())],
            panels: vec![PagePanel {
                axes: vec!["steps".into()],
                lines: vec![line],
                ..Default::default()
            }],
            settings: odd.into(),
            ..Page::default()
        };
        let text = page.render(&[(odd.into(), "AAAA".into())]).unwrap();
        assert!(!text.contains("alert(1)</script>") && text.contains("&lt;script&gt;"));
        for away in ["src=\"http", "href=\"http", "@import", "url(http"] {
            assert!(!text.contains(away), "{away}");
        }
        let without = Page::default().render(&[]).unwrap();
        assert!(!without.contains("uPlot"), "a page without curves has no library of curves");
    }
}
