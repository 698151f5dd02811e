//! Meta-Weight-Net and label correction with wrong labels, on CIFAR-10; without the source's third method, truncated
//! back-propagation. Our memory is that of the host: on a GPU it is not what the source measured.

use crate::error::BenchError;
use crate::experiments::Settings;
use crate::experiments::robust::{self, NoiseName, Subject};
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

/// How labels are made wrong, and which share of them.
const COLUMNS: [(&str, NoiseName, f64); 6] = [
    ("uniform 0 %", NoiseName::Uniform, 0.0),
    ("uniform 20 %", NoiseName::Uniform, 0.2),
    ("uniform 40 %", NoiseName::Uniform, 0.4),
    ("flip 0 %", NoiseName::Flip, 0.0),
    ("flip 20 %", NoiseName::Flip, 0.2),
    ("flip 40 %", NoiseName::Flip, 0.4),
];

/// A method: the accuracies, and at last the seconds an iteration and the MB for second derivatives. The paper has no
/// row for training on all labels as they are.
struct Row {
    name: &'static str,
    method: &'static str,
    subject: Subject,
    paper: Option<([f64; 6], [f64; 2])>,
}

const ROWS: [Row; 6] = [
    Row { name: "plain, as MWN", method: "plain", subject: Subject::Weights, paper: None },
    Row {
        name: "MWN",
        method: "mwn",
        subject: Subject::Weights,
        paper: Some(([91.93, 90.36, 87.44, 91.64, 89.81, 88.06], [0.165, 233.0])),
    },
    Row {
        name: "NSGame, MWN",
        method: "nsgame-mwn",
        subject: Subject::Weights,
        paper: Some(([92.03, 90.12, 87.04, 92.26, 90.50, 87.85], [0.072, 0.059])),
    },
    Row { name: "plain, as MLC", method: "plain", subject: Subject::Transition, paper: None },
    Row {
        name: "MLC",
        method: "mlc",
        subject: Subject::Transition,
        paper: Some(([90.42, 84.91, 80.60, 90.45, 86.62, 80.13], [0.215, 388.0])),
    },
    Row {
        name: "NSGame, MLC",
        method: "nsgame-mlc",
        subject: Subject::Transition,
        paper: Some(([90.73, 85.21, 80.45, 90.25, 87.64, 79.57], [0.097, 0.02])),
    },
];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let full = reproduction.preset == Preset::Full;
    let mut cells = Vec::new();
    for Row { name: row, method, subject, paper } in ROWS {
        for (at, (column, noise, rate)) in COLUMNS.into_iter().enumerate() {
            let args = robust::Args {
                preset: full.then_some(robust::Preset::Paper),
                noise: Some(noise),
                noise_rate: Some(rate),
                common: reproduction.common(),
                ..robust::Args::default()
            };
            let settings = robust::Settings::new(&args, subject)?;
            // A wide network of 28 layers beside a residual one of 32.
            let (settings, cost) = match subject {
                Subject::Weights => (Settings::Mwn(settings), 1.0),
                Subject::Transition => (Settings::Mlc(settings), 20.0),
            };
            let mut cell = |column, paper, quantity| {
                let settings = settings.clone();
                cells.push(Cell { row, column, paper, settings, method, quantity, cost });
            };
            cell(column, paper.map(|(accuracy, _)| accuracy[at]), Quantity::TestAccuracy);
            if at + 1 == COLUMNS.len() {
                let [seconds, memory] = ["s/iteration", "extra MiB"];
                let mib = |(_, costs): ([f64; 6], [f64; 2])| costs[1] * 1e6 / f64::from(1 << 20);
                cell(seconds, paper.map(|(_, costs)| costs[0]), Quantity::Figure(seconds));
                cell(memory, paper.map(mib), Quantity::Figure(memory));
            }
        }
    }
    Ok(cells)
}
