//! The joint results of runs with several seeds: means and deviations, medians with bands, and a paired test between
//! methods.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

use super::comparison::quantile;
use super::convergence::{Axis, Chart, Curve, panels};
use super::folder::{METRICS, RunFolder, SUMMARY, Versioned, settings_toml};
use super::page::{Page, PageColumn, PageLine, PagePanel, PageTable, facts};
use super::table::fit;
use super::{MethodReport, ReportError, RunReport, StepRecord};
use crate::error::{command_line, resume};
use crate::experiments::seeds::name;

/// Runs of one experiment that differ by their seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Together {
    /// The experiment.
    pub experiment: String,
    /// The number of runs planned.
    pub seeds: u64,
    /// The finished runs.
    pub runs: Vec<RunReport>,
    /// That version or data changed among them, if one did.
    pub warning: Option<String>,
}

/// A quantity of a method over the seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// The method.
    pub method: String,
    /// The quantity, with its unit.
    pub quantity: String,
    /// Mean over the runs that ended well.
    pub mean: f64,
    /// Standard deviation of the sample; none for a single run.
    pub deviation: Option<f64>,
    /// The number of these runs.
    pub runs: usize,
}

/// Two methods compared seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// The first method, then the second, which is subtracted.
    pub methods: [String; 2],
    /// The quantity.
    pub quantity: String,
    /// The mean of the differences.
    pub difference: f64,
    /// The probability of such a difference or a larger one under the null hypothesis, by Student's t-test of the
    /// differences; none if they are all equal.
    pub p: Option<f64>,
    /// The number of seeds that both methods have.
    pub runs: usize,
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary {
    experiment: String,
    seeds: u64,
    done: usize,
    methods: Vec<Spread>,
    tests: Vec<Paired>,
    warning: Option<String>,
}

/// A quantity of a report, with its unit.
type Quantity = (String, Box<dyn Fn(&MethodReport) -> Option<f64>>);

impl Together {
    /// The quantities that some method has, the main one first.
    fn quantities(&self) -> Vec<Quantity> {
        let figures: BTreeSet<&String> =
            self.methods().flat_map(|method| method.figures.keys()).collect();
        let figure = |name: &String| -> Quantity {
            let key = name.clone();
            (name.clone(), Box::new(move |method| method.figures.get(&key).copied()))
        };
        let percent = |share: f64| 100.0 * share;
        let mut all: Vec<Quantity> = vec![
            ("test accuracy %".into(), Box::new(move |m| m.test_accuracy.map(percent))),
            ("F1 %".into(), Box::new(move |m| m.f1().map(percent))),
        ];
        all.extend(figures.into_iter().map(figure));
        all.push(("upper loss".into(), Box::new(|method| method.upper_loss)));
        all.push(("seconds".into(), Box::new(|method| Some(method.seconds))));
        let there = |(_, of): &Quantity| {
            self.methods().any(|method| of(method).is_some_and(f64::is_finite))
        };
        all.into_iter().filter(there).collect()
    }

    fn methods(&self) -> impl Iterator<Item = &MethodReport> {
        self.runs.iter().flat_map(|run| &run.methods)
    }

    /// Names of the methods, and whether each is a baseline.
    fn names(&self) -> Vec<(String, bool)> {
        let first = self.runs.first().map_or(&[][..], |run| &run.methods);
        first.iter().map(|method| (method.name.clone(), method.baseline)).collect()
    }

    /// A quantity of a method in each run; none if it did not end well.
    fn of_runs(&self, name: &str, of: &dyn Fn(&MethodReport) -> Option<f64>) -> Vec<Option<f64>> {
        let of_run = |run: &RunReport| {
            let method = run.methods.iter().find(|method| method.name == name)?;
            of(method).filter(|value| method.ok && value.is_finite())
        };
        self.runs.iter().map(of_run).collect()
    }

    /// Mean and deviation of every quantity of every method.
    pub fn spreads(&self) -> Vec<Spread> {
        let mut spreads = Vec::new();
        for (method, _) in self.names() {
            for (quantity, of) in self.quantities() {
                let values: Vec<f64> = self.of_runs(&method, &of).into_iter().flatten().collect();
                if values.is_empty() {
                    continue;
                }
                let deviation = (values.len() > 1).then(|| (&values).std_dev());
                let (method, runs) = (method.clone(), values.len());
                spreads.push(Spread { method, quantity, mean: values.mean(), deviation, runs });
            }
        }
        spreads
    }

    /// All pairs of methods, by the first quantity.
    pub fn tests(&self) -> Vec<Paired> {
        let Some((quantity, of)) = self.quantities().into_iter().next() else { return Vec::new() };
        let names: Vec<String> =
            self.names().into_iter().filter(|name| !name.1).map(|name| name.0).collect();
        let mut tests = Vec::new();
        for (at, first) in names.iter().enumerate() {
            for second in &names[at + 1..] {
                let pairs = self.of_runs(first, &of).into_iter().zip(self.of_runs(second, &of));
                let differences: Vec<f64> = pairs.filter_map(|(a, b)| Some(a? - b?)).collect();
                if differences.is_empty() {
                    continue;
                }
                tests.push(Paired {
                    methods: [first.clone(), second.clone()],
                    quantity: quantity.clone(),
                    difference: (&differences).mean(),
                    p: p_value(&differences),
                    runs: differences.len(),
                });
            }
        }
        tests
    }

    /// The table for the terminal.
    pub fn render(&self, width: Option<usize>) -> String {
        let (header, rows) = self.table();
        let mut text = fit(&header, &rows, 1, width);
        let failed = self.methods().filter(|method| !method.ok);
        for method in failed {
            text += &format!("\n{}: {}", method.name, method.status);
        }
        if let Some(warning) = &self.warning {
            text += &format!("\norigin: {warning}");
        }
        text += &format!(
            "\n\nMean and standard deviation over {} of {} seeds.\n",
            self.runs.len(),
            self.seeds
        );
        for test in self.tests() {
            text += &format!("{}\n", describe(&test));
        }
        text
    }

    fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let spreads = self.spreads();
        let quantities = self.quantities();
        let cell = |method: &str, quantity: &str| {
            let of = |spread: &&Spread| spread.method == method && spread.quantity == quantity;
            spreads.iter().find(of).map_or("-".into(), |spread| match spread.deviation {
                Some(deviation) => format!("{:.2} ± {deviation:.2}", spread.mean),
                None => format!("{:.2}", spread.mean),
            })
        };
        let names = quantities.iter().map(|(name, _)| name.clone());
        let header = std::iter::once("method".into()).chain(names).collect();
        let row = |(method, _): (String, bool)| {
            let cells = quantities.iter().map(|(quantity, _)| cell(&method, quantity));
            std::iter::once(method.clone()).chain(cells).collect()
        };
        (header, self.names().into_iter().map(row).collect())
    }

    /// Writes `metrics.csv`, `curves.svg`, `report.html` and `summary.json`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<(), ReportError> {
        folder.write_file(METRICS, &self.metrics()?)?;
        let charts: Vec<Chart> = SHOWN.iter().filter_map(|shown| self.chart(shown)).collect();
        if !charts.is_empty() {
            folder.write_file("curves.svg", panels(&charts)?.as_bytes())?;
        }
        self.page(folder)?.write(folder)?;
        // The summary says that all seeds are done: another process may work on one.
        if (self.runs.len() as u64) < self.seeds {
            return Ok(());
        }
        folder.write_file(SUMMARY, self.json()?.as_bytes())
    }

    /// `summary.json`.
    ///
    /// # Errors
    /// None known; the JSON writer's signature allows for some.
    pub fn json(&self) -> Result<String, ReportError> {
        Versioned::json(&Summary {
            experiment: self.experiment.clone(),
            seeds: self.seeds,
            done: self.runs.len(),
            methods: self.spreads(),
            tests: self.tests(),
            warning: self.warning.clone(),
        })
    }

    /// The rows of all runs, each with its seed.
    fn metrics(&self) -> Result<Vec<u8>, ReportError> {
        let mut all = Vec::new();
        for run in &self.runs {
            let rows = super::folder::metrics_csv(run)?;
            for (at, row) in String::from_utf8_lossy(&rows).lines().enumerate() {
                match (at, all.is_empty()) {
                    (0, true) => all.extend(format!("seed,{row}\n").bytes()),
                    (0, false) => {}
                    _ => all.extend(format!("{},{row}\n", run.seed).bytes()),
                }
            }
        }
        Ok(all)
    }

    fn chart(&self, shown: &Shown) -> Option<Chart> {
        let lines = self.lines(shown);
        let curve = |line: &PageLine| {
            let places = || line.x[0].iter().copied();
            let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
            let points = places().zip(&line.y).map(|(x, y)| (x, number(*y)));
            let edges = line.low.iter().zip(&line.high);
            let band = places().zip(edges).map(|(x, (low, high))| (x, number(*low), number(*high)));
            Curve { label: line.label.clone(), points: points.collect(), band: band.collect() }
        };
        (!lines.is_empty()).then(|| Chart {
            title: format!("{}, medians of {} seeds", self.experiment, self.runs.len()),
            axis: Axis::Linear("upper steps"),
            quantity: Axis::Linear(shown.title),
            curves: lines.iter().map(curve).collect(),
        })
    }

    /// Medians over the seeds, in bands from the minimum to the maximum.
    fn lines(&self, shown: &Shown) -> Vec<PageLine> {
        let methods = self.names().into_iter().filter(|name| !name.1);
        let line = |(name, _): (String, bool)| {
            let mut by_step: BTreeMap<u64, [Vec<f64>; 3]> = BTreeMap::new();
            let of_name = self.methods().filter(|method| method.name == name && method.ok);
            for record in of_name.flat_map(|method| &method.series) {
                let Some(value) = (shown.of)(record).filter(|v| v.is_finite()) else { continue };
                let [values, calls, seconds] = by_step.entry(record.step).or_default();
                values.push(shown.scale * value);
                calls.push(record.calls as f64);
                seconds.push(record.seconds);
            }
            let mut line = PageLine { label: name, x: vec![vec![]; 3], ..PageLine::default() };
            for (step, [mut values, mut calls, mut seconds]) in by_step {
                line.x[0].push(step as f64);
                line.x[1].push(quantile(&mut calls, 0.5));
                line.x[2].push(quantile(&mut seconds, 0.5));
                line.y.push(Some(quantile(&mut values, 0.5)));
                line.low.push(Some(quantile(&mut values, 0.0)));
                line.high.push(Some(quantile(&mut values, 1.0)));
            }
            line
        };
        methods.map(line).filter(|line| !line.y.is_empty()).collect()
    }

    /// The commands that resume, repeat and show the runs.
    fn commands(&self, folder: &RunFolder) -> Vec<String> {
        let (path, seeds) = (folder.path(), self.seeds.to_string());
        let repeat = |first: &RunReport| {
            let settings = path.join(name(first.seed)).join("settings.toml").display().to_string();
            let run =
                ["bilevel", "run", &self.experiment, "--config", &settings, "--seeds", &seeds];
            command_line(run)
        };
        let mut commands = vec![format!("# {}", resume(path))];
        commands.extend(self.runs.first().map(repeat));
        commands.push(command_line(["bilevel", "report", &path.display().to_string()]));
        commands
    }

    /// `report.html`.
    ///
    /// # Errors
    /// If settings have no form in TOML.
    pub fn page(&self, folder: &RunFolder) -> Result<Page, ReportError> {
        let (header, rows) = self.table();
        let words = |at: usize, title: String| PageColumn { title, note: None, words: at == 0 };
        let results = PageTable {
            title: format!("Mean and standard deviation over {} seeds", self.runs.len()),
            columns: header.into_iter().enumerate().map(|(at, title)| words(at, title)).collect(),
            rows,
        };
        let titles = ["methods", "mean difference", "p", "seeds"].map(String::from);
        let tests = self.tests();
        let row = |test: &Paired| {
            let p = test.p.map_or("-".into(), |p| format!("{p:.4}"));
            let [first, second] = &test.methods;
            let difference = format!("{:+.3}", test.difference);
            vec![format!("{first} - {second}"), difference, p, test.runs.to_string()]
        };
        let quantity = tests.first().map_or("", |test| &test.quantity);
        let paired = PageTable {
            title: format!("Methods in pairs, {quantity}: Student's paired t-test"),
            columns: titles.into_iter().enumerate().map(|(at, title)| words(at, title)).collect(),
            rows: tests.iter().map(row).collect(),
        };
        let panel = |shown: &Shown| PagePanel {
            title: "medians, with bands from the minimum to the maximum".into(),
            quantity: shown.title.into(),
            axes: ["upper steps", "oracle calls", "seconds"].map(String::from).to_vec(),
            logarithmic: false,
            lines: self.lines(shown),
        };
        let settings = self.runs.first().map(|run| &run.settings);
        let failed = self.methods().filter(|method| !method.ok);
        let changed = self.warning.clone().map(|text| ("origin".to_owned(), text));
        Ok(Page {
            title: format!("{}, {} seeds", self.experiment, self.seeds),
            facts: settings.map_or(Vec::new(), facts),
            tables: if tests.is_empty() { vec![results] } else { vec![results, paired] },
            warnings: failed.map(|m| (m.name.clone(), m.status.clone())).chain(changed).collect(),
            panels: SHOWN.iter().map(panel).filter(|panel| !panel.lines.is_empty()).collect(),
            commands: self.commands(folder),
            settings: settings.map_or(Ok(String::new()), settings_toml)?,
        })
    }
}

/// The quantity of a panel.
struct Shown {
    title: &'static str,
    scale: f64,
    of: fn(&StepRecord) -> Option<f64>,
}

const SHOWN: [Shown; 3] = [
    Shown { title: "test accuracy (%)", scale: 100.0, of: |record| record.test_accuracy },
    Shown { title: "F1 of finding wrong labels (%)", scale: 100.0, of: |record| record.f1 },
    Shown { title: "upper loss", scale: 1.0, of: |record| record.upper_loss },
];

/// A test in words.
fn describe(test: &Paired) -> String {
    let Paired { methods: [first, second], quantity, difference, p, runs } = test;
    let p = p.map_or("no test: all differences are equal".into(), |p| format!("p = {p:.3}"));
    format!("{first} - {second}: {difference:+.3} in {quantity}, {p}, paired over {runs} seeds")
}

/// The two-sided p-value of Student's t-test that the mean of these is 0.
fn p_value(differences: &[f64]) -> Option<f64> {
    let n = differences.len() as f64;
    let error = differences.std_dev() / n.sqrt();
    let t = differences.mean() / error;
    let student = StudentsT::new(0.0, 1.0, n - 1.0).ok().filter(|_| error > 0.0)?;
    Some(2.0 * student.cdf(-t.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_students() {
        let p = p_value(&[0.1, 0.3, 0.2, 0.6, -0.1]).unwrap();
        // t, and the distribution function with four degrees of freedom, which is elementary.
        let (mean, variance): (f64, f64) = (0.22, 0.067);
        let t = mean / (variance / 5.0).sqrt();
        let q = 1.0 + t * t / 4.0;
        let below = 0.5 + 0.375 * t / q.sqrt() * (1.0 - t * t / (12.0 * q));
        assert!((p - 2.0 * (1.0 - below)).abs() < 1e-9, "{p}");
        assert_eq!(p_value(&[0.5]), None);
        assert_eq!(p_value(&[0.5, 0.5]), None);
    }
}
