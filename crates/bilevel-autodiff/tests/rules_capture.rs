//! Every tangent rule on the backend that records operations instead of executing them, in f64.

use rules::InnerDevice;

#[path = "rules/mod.rs"]
mod rules;

type Inner = burn::backend::Capture;

const SUITE: rules::Suite =
    rules::Suite { cases: 2, on: rules::On::Capture, record: Some(record), ..rules::DOUBLE };

fn set_up() -> bool {
    true
}

fn record(operations: &dyn Fn(InnerDevice)) {
    let device = InnerDevice::default();
    let recording = device.capture_scope(|scope| {
        operations(device);
        scope.complete([], [])
    });
    recording.expect("nothing is missing");
}
