//! The claims of the sources against our results. A claim that does not hold is a finding, and every finding is
//! listed here: a new one, or one that disappears, fails the test.

use std::path::Path;

use bilevel_problems::claims::{self, Claim, Figure, Length};
use burn::tensor::{Device, FloatDType, IntDType};

/// (problem, method) for which our result differs from the source; docs/CLAIMS.md says why.
const FINDINGS: &[(&str, &str)] = &[
    ("bda-counterexample", "bda, a_k = 0.9 / k, fixed start"),
    ("ia-gm-convex", "ia-gm-a, t_k as printed, K = 20, s = 0.1"),
    ("ia-gm-convex", "ia-gm-a, t_k of Nesterov, K = 20, s = 0.1"),
    ("ia-gm-convex", "ia-gm-a, t_k as printed, K = 20, s = 0.3"),
    ("ia-gm-convex", "ia-gm-a, t_k of Nesterov, K = 20, s = 0.3"),
];

/// The test of the catalogue in bilevel-core does the same for METHODS.md: `BLESS=1` writes the table.
#[test]
fn the_table_of_the_claims_is_what_we_see() {
    Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap();
    let found = claims::run(None, Length::Short, &Device::flex()).unwrap();
    let table: String = found.claims.iter().map(line).collect();
    println!("{table}");
    found.figures.iter().for_each(check);

    let path = Path::new("../../docs/CLAIMS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let expected = replaced(&text, &found.claims, &table);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, expected).unwrap();
    } else {
        // What we see to the last digit depends on the processor.
        let claimed = |text: &str| text.lines().map(without_measurement).collect::<Vec<_>>();
        assert_eq!(
            claimed(&text),
            claimed(&expected),
            "docs/CLAIMS.md is not what we see: run this test with BLESS=1"
        );
    }
    let findings: Vec<_> = found.claims.iter().filter(|claim| !claim.holds).collect();
    let names: Vec<_> = findings.iter().map(|c| (c.problem.as_str(), c.method.as_str())).collect();
    assert_eq!(names, FINDINGS);
}

/// A row of the table.
fn line(claim: &Claim) -> String {
    let Claim { problem, method, says, sees, holds } = claim;
    let verdict = if *holds { "holds" } else { "**finding**" };
    format!("| `{problem}` | {method} | {says} | {sees} | {verdict} |\n")
}

/// A line of the page; a row of the table without its fourth cell.
fn without_measurement(line: &str) -> String {
    let cells: Vec<_> = line.split(" | ").collect();
    match cells[..] {
        [problem, method, says, _, verdict] => [problem, method, says, verdict].join(" | "),
        _ => line.to_owned(),
    }
}

fn replaced(text: &str, claims: &[Claim], table: &str) -> String {
    let (begin, end) = ("<!-- table of claims -->\n", "<!-- end of table -->");
    let from = text.find(begin).expect("CLAIMS.md has a table") + begin.len();
    let to = from + text[from..].find(end).expect("the table has an end");
    let held = claims.iter().filter(|claim| claim.holds).count();
    let head = format!(
        "{held} of {} claims hold.\n\n| problem | method | the source says | we see | verdict |\n|---|---|---|---|---|\n",
        claims.len()
    );
    format!("{}{head}{table}{}", &text[..from], &text[to..])
}

fn check(figure: &Figure) {
    let ends = figure.curves.iter().map(|curve| curve.points.last());
    assert!(ends.clone().all(|end| end.is_some_and(|point| point.1.is_finite())));
    assert!(ends.count() > 0, "{}", figure.name);
}
