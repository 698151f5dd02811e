//! The result table, as wide as the terminal, without breaking words or numbers; one block per row if the terminal is
//! too narrow for that.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};

use super::{MethodReport, RunReport};
use crate::experiments::{changed, probes};

const ABSENT: &str = "-";
/// Below this width a row becomes a block.
const NARROW: usize = 60;

/// The columns of the terminal, by `COLUMNS` or as it reports; none if standard output is redirected.
pub fn terminal_width() -> Option<usize> {
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    given.or_else(|| terminal_size::terminal_size().map(|(width, _)| width.0.into()))
}

/// One line per method, and a line below for each that did not end as planned or had warnings; then a description of
/// the columns.
pub fn render(report: &RunReport, width: Option<usize>) -> String {
    let (columns, rows) = cells(report);
    let header: Vec<String> = columns.iter().map(|(title, _)| title.clone()).collect();
    let mut text = fit(&header, &rows, 1, width);
    let wrapped = |line: String| match width {
        Some(width) => format!("\n{}", textwrap::fill(&line, width)),
        None => format!("\n{line}"),
    };
    for method in report.methods.iter().filter(|method| !method.ok || method.warnings > 0) {
        text += &wrapped(format!("{}: {}", method.name, method.status));
    }
    if let Some(probes) = probes(&report.settings) {
        text += &wrapped(format!("auto: {probes} more oracle calls of probes"));
    }
    if let Some(changes) = changed(&report.settings) {
        text += &wrapped(format!("origin: {changes}"));
    }
    let notes = columns.iter().filter_map(|(title, note)| Some((title, (*note)?)));
    let notes: Vec<String> = notes.map(|(title, note)| format!("{title}: {note}")).collect();
    if !notes.is_empty() {
        text += &format!("\n\n{}", textwrap::fill(&notes.join("; "), width.unwrap_or(100)));
    }
    text
}

/// A column's title, and its description if the title does not suffice.
pub(super) type Titled = (String, Option<&'static str>);

/// The columns, and the cells of each method.
pub(super) fn cells(report: &RunReport) -> (Vec<Titled>, Vec<Vec<String>>) {
    let columns = columns(report);
    let row = |method| columns.iter().map(|column| (column.cell)(method)).collect();
    let rows = report.methods.iter().map(row).collect();
    (columns.into_iter().map(|column| (column.title, column.note)).collect(), rows)
}

/// Lays a table out within a width: with titles on one line, or on several, or else one block per row. The first `left`
/// columns contain words, the others numbers.
pub fn fit(header: &[String], rows: &[Vec<String>], left: usize, width: Option<usize>) -> String {
    let broken: Vec<String> = header.iter().map(|title| break_words(title)).collect();
    let most = width.unwrap_or(usize::MAX);
    let tables = [header, &broken].into_iter().filter(|_| most >= NARROW);
    let mut tables = tables.map(|header| lines(header, rows, left));
    tables.find(|text| widest(text) <= most).unwrap_or_else(|| blocks(header, rows))
}

/// A table of sentences, which are wrapped between words; one block per row if columns would be narrow.
pub fn prose(header: &[String], rows: &[Vec<String>], width: Option<usize>) -> String {
    let width = width.unwrap_or(110);
    if width < 20 * header.len() {
        return blocks(header, rows);
    }
    let mut table = plain(header, rows);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    table.trim_fmt()
}

fn plain(header: &[String], rows: &[Vec<String>]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty()
        .set_header(header)
        .add_rows(rows);
    table
}

fn lines(header: &[String], rows: &[Vec<String>], left: usize) -> String {
    let mut table = plain(header, rows);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// A title with one word per line; a unit stays with its word.
fn break_words(title: &str) -> String {
    title.replace(' ', "\n").replace("\n%", " %")
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// The first cell of a row, and below it a line for each of the others.
fn blocks(header: &[String], rows: &[Vec<String>]) -> String {
    let column = header.iter().skip(1).map(|title| title.chars().count()).max().unwrap_or(0);
    let block = |row: &Vec<String>| {
        let cells = header.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty());
        let lines = cells.map(|(title, cell)| format!("\n  {title:column$}  {cell}"));
        row.first().cloned().unwrap_or_default() + &lines.collect::<String>()
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

struct Column<'a> {
    title: String,
    /// Its description, if its title does not suffice.
    note: Option<&'static str>,
    cell: Box<dyn Fn(&MethodReport) -> String + 'a>,
}

/// The columns for which some method has a figure.
fn columns(report: &RunReport) -> Vec<Column<'_>> {
    fn column<'a>(
        title: impl Into<String>,
        note: Option<&'static str>,
        cell: impl Fn(&MethodReport) -> String + 'a,
    ) -> Column<'a> {
        Column { title: title.into(), note, cell: Box::new(cell) }
    }
    let any = |has: fn(&MethodReport) -> bool| report.methods.iter().any(has);
    let mut columns = vec![column("method", None, |method| method.name.clone())];
    if any(|method| method.test_accuracy.is_some()) {
        let note = Some("share of test samples classified correctly");
        columns.push(column("test accuracy %", note, |method| percent(method.test_accuracy)));
    }
    if any(|method| method.detection.is_some()) {
        let note = Some("of finding the wrong labels, the harmonic mean of precision and recall");
        columns.push(column("F1 %", note, |method| percent(method.f1())));
    }
    let figures: BTreeSet<&String> =
        report.methods.iter().flat_map(|method| method.figures.keys()).collect();
    for name in figures {
        let all = report.methods.iter().filter_map(|method| method.figures.get(name));
        let decimals = decimals(name, all.copied());
        columns.push(column(name.clone(), meaning(name), move |method| {
            method.figures.get(name).map_or(ABSENT.into(), |figure| format!("{figure:.decimals$}"))
        }));
    }
    let note = Some("of the method itself, without measurements");
    columns.push(column("seconds", note, |method| format!("{:.1}", method.seconds)));
    let note = Some("of the heap, above what there was before the method");
    let peak = |method: &MethodReport| method.peak_memory.heap.map_or(ABSENT.into(), bytes);
    columns.push(column("peak memory", note, peak));
    let note = Some("values, gradients and second-order products of both losses");
    columns.push(column("oracle calls", note, |method| match method.total_calls() {
        0 => ABSENT.into(),
        calls => count(calls),
    }));
    columns
}

/// What a figure is, if its name does not suffice.
fn meaning(name: &str) -> Option<&'static str> {
    Some(match name {
        "95 % interval +-%" => "half of the confidence interval of the mean test accuracy",
        "AUC" => "that a wrong label weighs less than a right one, for a random pair of them",
        "T error" => {
            "half of the absolute differences from the true matrix, summed over a row; the mean of rows"
        }
        "accuracy on kept %" => {
            "test accuracy after training on the kept and the validation samples"
        }
        "average precision %" => {
            "mean precision at each known error, with rows in the order of suspicion"
        }
        "codes not 0 %" => "share of the entries of sparse codes that are not zero",
        "distance" => "maximum mean discrepancy between samples and data",
        "good %" => "samples that belong to a mode of the data",
        "k-bar" => "mean number of lower steps that a hypergradient passes back through",
        "kept samples" => "training samples whose weight is greater than --keep-above",
        "known errors" => {
            "wrong labels that were planted or are known, on which quality is measured"
        }
        "modes" => "those of the data with at least 1 % of the samples",
        "s/iteration" => "seconds per upper step",
        "skips" => "edges of the cell that are identities",
        "suspects" => "rows, other than trusted ones, that another label fits better",
        _ => return None,
    })
}

/// Decimals of a column: counts have none, and percentages two.
fn decimals(name: &str, mut figures: impl Iterator<Item = f64>) -> usize {
    if figures.all(|figure| figure.fract() == 0.0) {
        0
    } else if name.contains('%') {
        2
    } else {
        4
    }
}

fn percent(share: Option<f64>) -> String {
    match share {
        Some(share) if share.is_finite() => format!("{:.2}", 100.0 * share),
        _ => ABSENT.into(),
    }
}

/// A number of bytes with three or four figures and a binary unit: `0 B`, `1.50 KiB`, `945 MiB`.
pub fn bytes(amount: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (amount as f64, 0);
    // 1023.5 would be printed as 1024.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A count with thousands separators: `1,234,567`.
pub fn count(amount: u64) -> String {
    let digits = amount.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_amounts_for_people() {
        let mib = 1 << 20;
        for (amount, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (mib - 1, "1.00 MiB"),
            (945 * mib, "945 MiB"),
            (1023 * mib, "1023 MiB"),
            (12_345_678, "11.8 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
        for (amount, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(amount), text);
        }
    }
}
