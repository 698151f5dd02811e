//! The result table, for a terminal of 80 columns.

use std::collections::BTreeSet;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};

use super::{MethodReport, RunReport};

const WIDTH: u16 = 80;
const ABSENT: &str = "-";

/// One line a method; below the table one line for each that did not end as planned or
/// had warnings.
pub fn render(report: &RunReport) -> String {
    let columns = columns(report);
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .force_no_tty()
        .set_header(columns.iter().map(|column| column.title.clone()));
    for method in &report.methods {
        table.add_row(columns.iter().map(|column| (column.cell)(method)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.trim_fmt();
    for method in report.methods.iter().filter(|method| !method.ok || method.warnings > 0) {
        text += &format!("\n{}: {}", method.name, method.status);
    }
    text
}

struct Column<'a> {
    title: String,
    cell: Box<dyn Fn(&MethodReport) -> Cell + 'a>,
}

/// The columns of which some method has a figure.
fn columns(report: &RunReport) -> Vec<Column<'_>> {
    fn column<'a, C: Into<Cell>>(
        title: impl Into<String>,
        cell: impl Fn(&MethodReport) -> C + 'a,
    ) -> Column<'a> {
        Column { title: title.into(), cell: Box::new(move |method| cell(method).into()) }
    }
    let any = |has: fn(&MethodReport) -> bool| report.methods.iter().any(has);
    let mut columns = vec![column("method", |method| method.name.clone())];
    if any(|method| method.test_accuracy.is_some()) {
        columns.push(column("test accuracy %", |method| percent(method.test_accuracy)));
    }
    if any(|method| method.detection.is_some()) {
        columns.push(column("F1 %", |method| percent(method.f1())));
    }
    let figures: BTreeSet<&String> =
        report.methods.iter().flat_map(|method| method.figures.keys()).collect();
    for name in figures {
        columns.push(column(name.clone(), move |method| {
            method.figures.get(name).map_or(ABSENT.into(), |figure| format!("{figure:.4}"))
        }));
    }
    columns.push(column("seconds", |method| format!("{:.1}", method.seconds)));
    columns
        .push(column("peak memory", |method| method.peak_memory.heap.map_or(ABSENT.into(), bytes)));
    columns.push(column("oracle calls", |method| match method.total_calls() {
        0 => ABSENT.into(),
        calls => count(calls),
    }));
    columns
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

/// A count with its thousands set apart: `1,234,567`.
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
