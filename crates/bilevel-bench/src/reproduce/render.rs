//! A reproduced table as text, and as files.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};

use super::{Filled, Reproduced, TableName};
use crate::error::{command_line, resume};
use crate::report::ReportError;
use crate::report::folder::{RunFolder, settings_toml};
use crate::report::page::{Page, PageColumn, PageTable, facts};

/// Writes `table.txt`, `table.json`, `table.csv` and `table.svg`.
pub(super) fn write(reproduced: &Reproduced, folder: &RunFolder) -> Result<(), ReportError> {
    folder.write_file("table.json", reproduced.json()?.as_bytes())?;
    folder.write_file("table.csv", &csv(reproduced)?)?;
    folder.write_file("table.svg", super::figure::svg(reproduced)?.as_bytes())?;
    folder.write_file("table.txt", text(reproduced).as_bytes())
}

fn csv(reproduced: &Reproduced) -> Result<Vec<u8>, ReportError> {
    let refuse = |what: String| ReportError::Format { file: "table.csv", what };
    let mut rows = csv::Writer::from_writer(Vec::new());
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    rows.write_record([
        "row",
        "column",
        "seeds",
        "failed",
        "mean",
        "deviation",
        "paper",
        "difference",
    ])
    .map_err(|e| refuse(e.to_string()))?;
    for cell in &reproduced.cells {
        let record = [
            cell.row.to_owned(),
            cell.column.to_owned(),
            cell.ours.len().to_string(),
            cell.failed.to_string(),
            number(cell.mean()),
            number(cell.deviation()),
            number(cell.paper),
            number(cell.difference()),
        ];
        rows.write_record(record).map_err(|e| refuse(e.to_string()))?;
    }
    rows.into_inner().map_err(|e| refuse(e.to_string()))
}

/// The page.
pub(super) fn page(reproduced: &Reproduced, folder: &RunFolder) -> Result<Page, ReportError> {
    let about = reproduced.table.about();
    let all: toml::Table = folder.settings()?;
    let titles = ["row", "column", "ours", "seeds", "paper", "difference"];
    let columns = titles.into_iter().enumerate().map(|(at, title)| PageColumn {
        title: title.into(),
        note: (title == "ours").then(|| "mean over the seeds, and standard deviation".into()),
        words: at < 2,
    });
    let failures = reproduced.failures.iter();
    let failures = failures.map(|f| (f.method.to_owned(), format!("{}: {}", f.run, f.status)));
    let changed = reproduced.warning.iter().map(|text| ("origin".to_owned(), text.clone()));
    let path = folder.path().display().to_string();
    Ok(Page {
        title: format!("{}, {}", about.title, about.source),
        facts: facts(&all),
        tables: vec![PageTable {
            title: "Our figures beside the paper's".into(),
            columns: columns.collect(),
            rows: reproduced.cells.iter().map(cells).collect(),
        }],
        warnings: failures.chain(changed).collect(),
        panels: Vec::new(),
        commands: vec![
            format!("# {}", resume(folder.path())),
            command_line(["bilevel", "report", &path]),
        ],
        settings: settings_toml(&all)?,
    })
}

/// A cell of the table as a row of the page.
fn cells(cell: &Filled) -> Vec<String> {
    let deviation = cell.deviation().map(|sd| format!(" ± {sd:.2}")).unwrap_or_default();
    vec![
        cell.row.into(),
        cell.column.into(),
        or_dash(cell.mean(), false) + &deviation,
        seeds(cell),
        or_dash(cell.paper, false),
        or_dash(cell.difference(), true),
    ]
}

/// The table for a terminal: ours, the paper's, the difference.
pub fn text(reproduced: &Reproduced) -> String {
    let about = reproduced.table.about();
    let (rows, columns) = (reproduced.rows(), reproduced.columns());
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty()
        .set_header(std::iter::once("").chain(columns.iter().copied()));
    for row in rows {
        let cells = columns.iter().map(|column| {
            let of = |cell: &&Filled| cell.row == row && cell.column == *column;
            Cell::new(reproduced.cells.iter().find(of).map_or_else(String::new, figures))
        });
        table.add_row(std::iter::once(Cell::new(row)).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let failed = reproduced.failures.iter();
    let failed = failed.map(|f| format!("failed: {} in {}: {}\n", f.method, f.run, f.status));
    let paired: Vec<_> = columns.iter().filter_map(|column| pair(reproduced, column)).collect();
    let paired = match (reproduced.table, paired.is_empty()) {
        (TableName::BdaTable2, false) => {
            format!("\nBDA minus RHG, paired over seeds: {}\n", paired.join("; "))
        }
        _ => String::new(),
    };
    let left = match reproduced.left {
        0 => String::new(),
        1 => "1 run is left: bilevel resume continues with it\n".into(),
        left => format!("{left} runs are left: bilevel resume continues with them\n"),
    };
    let warning = reproduced.warning.iter().map(|text| format!("origin: {text}\n"));
    format!(
        "{}\n{}\n\n{}\n\nEach cell: our mean, its standard deviation over seeds (number of seeds); the paper's \
         figure; the difference.\n{paired}{}{}{left}",
        about.title,
        about.source,
        table.trim_fmt(),
        failed.collect::<String>(),
        warning.collect::<String>()
    )
}

/// BDA's figures of a column minus RHG's, seed by seed: mean and deviation, and the fraction of all sign patterns under
/// which the mean would be at least as far from 0: the exact permutation test, two-sided. None unless both have the
/// same seeds.
fn pair(reproduced: &Reproduced, column: &str) -> Option<String> {
    let of =
        |row: &str| reproduced.cells.iter().find(|cell| cell.row == row && cell.column == column);
    let (ours, others) = (of("BDA")?, of("RHG")?);
    let n = ours.ours.len();
    if !(2..=16).contains(&n) || n != others.ours.len() || ours.failed + others.failed > 0 {
        return None;
    }
    let apart: Vec<f64> = ours.ours.iter().zip(&others.ours).map(|(a, b)| a - b).collect();
    let sum: f64 = apart.iter().sum();
    let signed = |signs: u32| -> f64 {
        apart.iter().enumerate().map(|(at, d)| if signs >> at & 1 == 1 { -d } else { *d }).sum()
    };
    let all = 1_u32 << n;
    let as_far = (0..all).filter(|signs| signed(*signs).abs() >= sum.abs() - 1e-12).count();
    let (mean, share) = (sum / n as f64, as_far as f64 / f64::from(all));
    let squares: f64 = apart.iter().map(|d| (d - mean).powi(2)).sum();
    let deviation = (squares / (n - 1) as f64).sqrt();
    Some(format!("{column} {mean:+.2} ± {deviation:.2} ({n}; p = {share:.2})"))
}

fn figures(cell: &Filled) -> String {
    let deviation = cell.deviation().map(|sd| format!(" ± {sd:.2}")).unwrap_or_default();
    format!(
        "{}{deviation} ({})\n{}\n{}",
        or_dash(cell.mean(), false),
        seeds(cell),
        or_dash(cell.paper, false),
        or_dash(cell.difference(), true)
    )
}

/// The number of seeds, and of those that failed.
fn seeds(cell: &Filled) -> String {
    match cell.failed {
        0 => cell.ours.len().to_string(),
        failed => format!("{}, {failed} failed", cell.ours.len()),
    }
}

fn or_dash(value: Option<f64>, sign: bool) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if sign => format!("{value:+.2}"),
        Some(value) => format!("{value:.2}"),
    }
}
