//! How the binary ends when a thread panics, of a device or not: this binary starts itself again, with the case in its
//! environment.

use std::process::{Command, ExitCode};
use std::sync::Arc;

use bilevel_bench::BenchError;
use bilevel_bench::failure;
use cubecl_common::device::{DeviceId, DeviceService, ServerUtilitiesHandle};
use cubecl_common::device_handle::{CallResultExt, DeviceHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const CASE: &str = "BILEVEL_FAILURE_TEST";
const SAYS: &str = "no memory for this kernel";
/// What a panic says that ends nothing, and that no error quotes.
const HANDLED: &str = "this kernel takes too many threads";

/// Its name, what happens, the exit code, and whether the panic is told as one.
type Case = (&'static str, fn(&Device), i32, bool);

#[rustfmt::skip]
const CASES: [Case; 15] = [
    ("nothing", |_| (), 0, false),
    ("work that nobody waits for panics", |device| device.submit(|_| panic!("{SAYS}")), 4, false),
    ("an error of the device that is not text", |device| device.submit(|_| says_nothing()), 4, false),
    // As autotune does with a kernel that it tries.
    ("a panic is handed to who waits, and another way is found", |device| assert!(device.exclusive(panics).is_err()), 0, false),
    ("a panic within the work of who waits", within, 0, false),
    ("a panic is handed to who waits, and ends it", |device| device.exclusive(panics).unwrap_or_resume(), 4, false),
    ("a panic is handed to who waits, and ends it after another one was handled", |device| {
        let ends = device.exclusive(panics);
        assert!(device.exclusive(|| panic!("{HANDLED}")).is_err());
        ends.unwrap_or_resume();
    }, 4, false),
    ("who waits panics about it", |device| device.submit_blocking(|_| panics()).unwrap(), 4, false),
    ("the device says so at a read", |_| panic!("the device failed while a tensor was read: {SAYS}"), 4, false),
    ("we panic", |_| panics(), 101, true),
    ("we panic after another way was found", |device| {
        assert!(device.exclusive(panics).is_err());
        panic!("an index out of bounds")
    }, 101, true),
    ("we panic in the words of what was handled", |device| {
        assert!(device.exclusive(panics).is_err());
        panics()
    }, 101, true),
    ("we panic in the words for what says nothing", |device| {
        assert!(device.exclusive(says_nothing).is_err());
        panic!("it does not say why")
    }, 101, true),
    ("what says nothing is handed to who waits", |device| device.exclusive(says_nothing).unwrap_or_resume(), 4, false),
    ("work is lost after another way was found", |device| {
        assert!(device.exclusive(|| panic!("{HANDLED}")).is_err());
        device.submit(|_| says_nothing());
    }, 4, false),
];

type Device = DeviceHandle<Nothing>;

/// What runs on a thread of CubeCL, as a backend does.
struct Nothing;

impl DeviceService for Nothing {
    fn init(_: DeviceId) -> Self {
        Self
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        Arc::new(())
    }
}

fn panics() {
    panic!("{SAYS}")
}

fn says_nothing() {
    std::panic::panic_any(1)
}

/// Work on the device that asks the device for more, which fails.
fn within(device: &Device) {
    let asks = || device.exclusive(panics).is_err();
    assert!(device.exclusive(asks).unwrap());
}

fn main() -> ExitCode {
    match std::env::var(CASE) {
        Ok(case) => child(&case),
        Err(_) => {
            every_panic_ends_with_its_code();
            #[cfg(feature = "wgpu")]
            what_an_adapter_fails_at_ends_with_code_4_where_it_is_read();
            ExitCode::SUCCESS
        }
    }
}

/// What the binary does around a command.
fn child(case: &str) -> ExitCode {
    tracing_subscriber::registry().with(failure::watch()).init();
    let ended = failure::caught(|| {
        match CASES.iter().find(|(name, ..)| *name == case) {
            Some((_, happens, ..)) => on_device(*happens),
            None => on_adapter(case),
        }
        Ok::<_, BenchError>(())
    });
    let Err(error) = ended else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    error.exit_code().into()
}

fn on_device(happens: fn(&Device)) {
    let device = Device::new(DeviceId { type_id: 7, index_id: 0 });
    happens(&device);
    // All that was asked for is done when this is.
    device.submit_blocking(|_| ()).unwrap();
}

/// Starts this binary with a case; its exit code, and what it printed.
fn ended(case: &str) -> (Option<i32>, String) {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).env(CASE, case).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn every_panic_ends_with_its_code() {
    for (case, _, expected, told) in CASES {
        let (code, errors) = ended(case);
        assert_eq!(code, Some(expected), "{case}: {errors}");
        assert_eq!(errors.contains("panicked"), told, "{case}: {errors}");
        let says = "error: the device failed: ";
        assert_eq!(errors.contains(says), expected == 4, "{case}: {errors}");
        assert!(!errors.contains(HANDLED), "{case}: {errors}");
        println!("{case}: code {expected}");
    }
}

/// An array that no adapter has room for: read, or not.
#[cfg(feature = "wgpu")]
fn on_adapter(case: &str) {
    use burn::tensor::{Device, DeviceType, Tensor};
    let Some(device) = Device::enumerate(DeviceType::Wgpu).into_iter().next() else { return };
    let sum = (Tensor::<1>::zeros([(128 << 30) / size_of::<f32>()], &device) + 1.0).sum();
    if case == "read" {
        println!("{}", sum.into_scalar::<f32>());
    }
    assert_eq!(Tensor::<1>::ones([2], &device).sum().into_scalar::<f32>(), 2.0);
}

#[cfg(not(feature = "wgpu"))]
fn on_adapter(_: &str) {}

#[cfg(feature = "wgpu")]
fn what_an_adapter_fails_at_ends_with_code_4_where_it_is_read() {
    if bilevel_bench::backend::adapters().is_empty() {
        assert!(std::env::var_os("BILEVEL_REQUIRE_GPU").is_none(), "there is no graphics adapter");
        println!("skipped: there is no graphics adapter");
        return;
    }
    for (case, expected) in [("read", 4), ("not read", 0)] {
        let (code, errors) = ended(case);
        assert_eq!(code, Some(expected), "{case}: {errors}");
        assert!(!errors.contains("panicked"), "{case}: {errors}");
        println!("an array too large for an adapter, {case}: code {expected}");
    }
}
