//! The claims of the sources against our results. A claim that does not hold is a finding. All findings are
//! listed here: a new one, or one that disappears, fails the test.

use bilevel_problems::claims;
use burn::tensor::{Device, FloatDType, IntDType};

/// (problem, method) for which our result differs from the source.
const FINDINGS: [(&str, &str); 4] = [
    ("iaptt-numeric", "ia-gm"),
    ("penalty-smooth", "rmd, (b), T = 10"),
    ("penalty-smooth", "approx-grad, (b), T = 1"),
    ("penalty-smooth", "approx-grad, (b), T = 5"),
];

#[test]
fn the_findings_are_those_that_are_known() {
    Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap();
    let found = claims::run(None, &Device::flex()).unwrap();
    for claim in &found.claims {
        let verdict = if claim.holds { "holds  " } else { "FINDING" };
        println!("{verdict} {}: {}: {} | {}", claim.problem, claim.method, claim.says, claim.sees);
    }
    let findings: Vec<_> = found.claims.iter().filter(|claim| !claim.holds).collect();
    let names: Vec<_> = findings.iter().map(|c| (c.problem, c.method.as_str())).collect();
    assert_eq!(names, FINDINGS);
    for figure in &found.figures {
        let ends = figure.curves.iter().map(|curve| curve.points.last());
        assert!(ends.clone().all(|end| end.is_some_and(|point| point.1.is_finite())));
        assert!(ends.count() > 0, "{}", figure.name);
    }
}
