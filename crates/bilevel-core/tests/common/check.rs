//! The check of methods, on the device of the binary that includes this file: it passes every exact
//! method, and names what is wrong with a wrong one.

use std::cell::Cell;

use bilevel_core::*;
use bilevel_program::Vector;

use crate::common::*;
use crate::device;

const STEPS: usize = 5;

fn gd() -> Descent {
    descent(Gd::new(0.5), STEPS)
}

fn logistic() -> PenaltiesOracle {
    penalties(Fit::Logistic, &device())
}

/// The report on a method made by `make`, at the start of `oracle`.
fn report_on<M: HypergradientMethod>(
    oracle: &PenaltiesOracle,
    make: impl FnMut() -> Result<M, Error>,
    reference: &Reference<'_>,
) -> HypergradientReport {
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    check_hypergradient(make, oracle, &x, &y, reference).unwrap()
}

/// The report on a method made by `make`, on logistic regression.
fn report<M: HypergradientMethod>(
    make: impl FnMut() -> Result<M, Error>,
    reference: &Reference<'_>,
) -> HypergradientReport {
    report_on(&logistic(), make, reference)
}

/// The lines that are wrong.
fn wrong(report: &HypergradientReport) -> Vec<&str> {
    report.wrong().map(|finding| finding.test).collect()
}

#[test]
fn every_exact_method_passes() {
    let oracle = penalties(Fit::Squares, &device());
    let known = Vector::from_slice(oracle.upper_layout(), &ridge_closed_form(), &device());
    for at in 0..exact_methods().len() {
        let make = || Ok(exact_methods().swap_remove(at).1);
        let reference = Reference::gradient(&known, 1e-8);
        report_on(&oracle, make, &reference).assert_ok();
    }
}

#[test]
fn truncated_methods_pass_by_differences_in_x_and_in_the_start() {
    let truncated = gd();
    let reference = Reference::differences(&truncated, 1e-8);
    report(|| Ok(Unrolled::rad(gd())), &reference).assert_ok();
    report(|| Ok(Fad::new(gd())), &reference).assert_ok();
    let start = report(|| Ok(Unrolled::ia_gm(gd())), &reference);
    start.assert_ok();
    assert!(start.findings.iter().any(|finding| finding.test == "start"), "{start}");
    // Fewer steps backwards than forwards.
    let truncated = report(|| Unrolled::trad(gd(), 2), &reference);
    assert_eq!(wrong(&truncated), ["gradient"], "{truncated}");
    assert!(truncated.to_string().contains("WRONG\n"), "{truncated}");
}

#[test]
fn the_function_that_is_differentiated_may_be_any() {
    let oracle = logistic();
    let once = descent(Gd::new(0.5), 1);
    // y starts at x.
    let value = |x: &Vector, _: &Vector| {
        let start = Vector::from_slice(oracle.lower_layout(), &x.to_vec(), &device());
        let problem = LowerProblem::new(&oracle, x, Samples::default());
        let end = once.run(&problem, &start)?;
        Ok(problem.value(Objective::Upper, &end.state.y).read())
    };
    let reference = Reference::value(&value, 1e-8);
    let maml = || Ok(Maml::new(descent(Gd::new(0.5), 1)));
    report_on(&oracle, maml, &reference).assert_ok();
    let fomaml = report_on(
        &oracle,
        || Ok(Fomaml::new(descent(Gd::new(0.5), 1))),
        &reference.without_products(),
    );
    assert_eq!(wrong(&fomaml), ["gradient"], "{fomaml}");
    let maml = report_on(&oracle, maml, &Reference::value(&value, 1e-8).without_products());
    assert_eq!(wrong(&maml), ["products"], "{maml}");
}

#[test]
fn state_is_to_be_said() {
    let (truncated, make) = (gd(), || Ok(OnlineFad::new(gd())));
    let reference = || Reference::differences(&truncated, 1e-8);
    assert_eq!(wrong(&report(make, &reference())), ["again"]);
    report(make, &reference().with_state()).assert_ok();
}

/// The error of a [`Toy`] in the hypergradient of `rad`.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing.
    None,
    /// The mixed term is dropped: F_x alone, which is 0 here.
    NoMixedTerm,
    /// A random number is added at each call.
    Random,
    /// Another F is reported.
    Lies,
    /// The lower point is that of the start.
    OtherPoint,
    /// The numbers are those of x, in the variables of y.
    Shapes,
    /// A gradient in the start is promised.
    NoStart,
    /// It gives NaN and reports success.
    Nan,
    /// It gives NaN where the lower level diverges.
    Silent,
}

#[derive(Debug)]
struct Toy {
    fault: Fault,
    rad: Unrolled,
}

thread_local! {
    static DRAWN: Cell<f64> = const { Cell::new(0.0) };
}

impl HypergradientMethod for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn describe(&self) -> String {
        format!("{:?}", self.fault)
    }

    fn differentiates_start(&self) -> bool {
        matches!(self.fault, Fault::NoStart)
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let nan = |v: &Vector| v.scale(f64::NAN);
        let mut found = match self.rad.hypergradient(problem, start) {
            Err(_) if matches!(self.fault, Fault::Silent) => {
                return Ok(Hypergradient {
                    gradient: nan(problem.x),
                    start: None,
                    lower: nan(start),
                    upper_loss: problem.value(Objective::Upper, start),
                    lower_loss: 0.0,
                    status: Status::Exact,
                });
            }
            found => found?,
        };
        match self.fault {
            Fault::NoMixedTerm => found.gradient = found.gradient.zeros_like(),
            Fault::Random => {
                DRAWN.set(DRAWN.get() + 1e-12);
                let off = found.gradient.clone();
                found.gradient = found.gradient.axpy(DRAWN.get(), &off);
            }
            Fault::Lies => found.upper_loss = problem.value(Objective::Upper, &start.scale(0.5)),
            Fault::OtherPoint => found.lower = start.clone(),
            Fault::Shapes => {
                found.gradient =
                    Vector::from_slice(start.layout(), &found.gradient.to_vec(), &device());
            }
            Fault::Nan => found.gradient = nan(&found.gradient),
            Fault::None | Fault::NoStart | Fault::Silent => {}
        }
        Ok(found)
    }

    fn save(&self, _: &mut Snapshot) {}
}

#[test]
fn what_is_wrong_is_named() {
    let truncated = gd();
    for (fault, expected) in [
        (Fault::None, &[][..]),
        (Fault::NoMixedTerm, &["gradient"]),
        (Fault::Random, &["fresh", "again"]),
        (Fault::Lies, &["upper loss"]),
        (Fault::OtherPoint, &["upper loss"]),
        (Fault::Shapes, &["shapes"]),
        (Fault::NoStart, &["shapes"]),
        (Fault::Nan, &["finite", "gradient", "status"]),
        (Fault::Silent, &["divergence"]),
    ] {
        let make = || Ok(Toy { fault, rad: Unrolled::rad(gd()) });
        let report = report(make, &Reference::differences(&truncated, 1e-8));
        assert_eq!(wrong(&report), expected, "{report}");
        assert_eq!(report.is_ok(), expected.is_empty());
        // Each is told where to look.
        let text = report.to_string();
        assert!(expected.iter().all(|test| text.contains(&format!("\n{test}: "))), "{text}");
    }
    // By how much: nothing of the gradient is left.
    let make = || Ok(Toy { fault: Fault::NoMixedTerm, rad: Unrolled::rad(gd()) });
    let report = report(make, &Reference::differences(&truncated, 1e-8));
    let finding = report.wrong().next().unwrap();
    assert!(finding.measured > 0.99, "{report}");
    assert_eq!(finding.parameter.as_deref(), Some("values"));
}

#[test]
fn the_error_is_reported_as_it_is_beside_its_rounding() {
    let oracle = logistic();
    let (exact, _) = hypergradient(&oracle, &mut Unrolled::rad(gd()));
    for off in [1e-13, 1e-11, 1e-9, 1e-3] {
        let other: Vec<_> = exact.iter().map(|g| g * (1.0 + off)).collect();
        let other = Vector::from_slice(oracle.upper_layout(), &other, &device());
        let reference = Reference::gradient(&other, 1e-8);
        let report = report_on(&oracle, || Ok(Unrolled::rad(gd())), &reference);
        let finding = report.findings.iter().find(|finding| finding.test == "gradient").unwrap();
        let (measured, rounding) = (finding.measured, finding.rounding);
        assert!((0.1 * off..=1.01 * off).contains(&measured), "{off}: {report}");
        assert!(rounding > 0.0 && rounding < 1e-11, "{report}");
        let row = report.to_string();
        let row = row.lines().find(|line| line.starts_with("gradient")).unwrap();
        assert!(row.contains(&format!("{measured:.1e}  ")), "{row}");
        assert!(row.contains(&format!("{rounding:.1e}  ")), "{row}");
        assert_eq!(finding.is_ok(), off < 1e-8, "{row}");
    }
}

#[test]
fn repetitions_may_be_off_by_what_is_granted() {
    let truncated = gd();
    let make = || Ok(Toy { fault: Fault::Random, rad: Unrolled::rad(gd()) });
    let reference = Reference::differences(&truncated, 1e-8).with_repetitions_within(1e-6);
    report(make, &reference).assert_ok();
}

#[test]
fn vectors_of_another_problem_are_refused() {
    let (oracle, other) = (penalties(Fit::Squares, &device()), penalties(Fit::Squares, &device()));
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let make = || Ok(Unrolled::rad(gd()));
    let truncated = gd();
    let reference = Reference::differences(&truncated, 1e-8);
    let error = check_hypergradient(make, &oracle, &other.upper_start(), &y, &reference);
    assert!(matches!(error, Err(Error::UpperVariable { .. })), "{error:?}");
    let error = check_hypergradient(make, &oracle, &x, &other.lower_start(), &reference);
    assert!(matches!(error, Err(Error::StartShapes { .. })), "{error:?}");
    assert_eq!(oracle.cost(), Cost::default());
}
