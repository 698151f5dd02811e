//! Runs every example and looks at the numbers it prints.

#[allow(dead_code)]
#[path = "../custom_network.rs"]
mod custom_network;
#[allow(dead_code)]
#[path = "../hvp_of_a_module.rs"]
mod hvp_of_a_module;
#[allow(dead_code)]
#[path = "../ridge.rs"]
mod ridge;

use std::sync::{Mutex, PoisonError};

/// Flex has one random generator a process: examples that seed it take turns.
static GENERATOR: Mutex<()> = Mutex::new(());

#[test]
fn hvp_of_a_module_finds_an_eigenvalue() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (value, residual) = hvp_of_a_module::run();
    assert!(value > 0.0, "{value}");
    assert!(residual < 1e-3, "{residual}");
}

#[test]
fn ridge_agrees_with_its_closed_form() {
    let [rad, cg, expected] = ridge::run().unwrap();
    for (found, expected) in rad.iter().chain(&cg).zip(expected.iter().cycle()) {
        assert!((found - expected).abs() <= 1e-10, "{found} is not {expected}");
    }
}

#[test]
fn custom_network_learns_its_decay() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let losses = custom_network::run().unwrap();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.5 * first, "the validation loss went from {first} to {last}");
}
