//! `solve` at a size at which no matrix is assembled.

use bilevel_core::Conclusion;
use bilevel_problems::Capacities;

use crate::device;

#[test]
fn the_capacities_are_found() {
    let problem = Capacities::new(210).unwrap();
    let answer = problem.solve(&device()).unwrap();
    println!("{}: {}", answer.end, answer.account);
    assert!(matches!(answer.end, Conclusion::Stationary { .. }), "{}", answer.end);
    assert!(answer.violation <= 1e-6, "{:e}", answer.violation);
    let [upper, lower] = problem.best();
    for (found, expected) in [(answer.upper_loss, upper), (answer.lower_loss, lower)] {
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} {expected}");
    }
    for (found, expected) in [(answer.x, problem.x()), (answer.y, problem.y())] {
        for (found, expected) in found.val().into_data().iter::<f64>().zip(expected) {
            assert!((found - expected).abs() <= 1e-4, "{found} {expected}");
        }
    }
    // A bound on the work, of losses and of constraints: more would be a linear system for each constraint.
    assert!(answer.account.cost.total() < 16_000, "{}", answer.account);
}
