//! Runs the example in f64, in its own process: a device has one precision per process.

#[allow(dead_code)]
#[path = "../ridge.rs"]
mod ridge;

#[test]
fn ridge_agrees_with_its_closed_form() {
    let [rad, cg, expected] = ridge::run().unwrap();
    for (found, expected) in rad.iter().chain(&cg).zip(expected.iter().cycle()) {
        assert!((found - expected).abs() <= 1e-10, "{found} is not {expected}");
    }
}
