//! Whether wgpu can run here.

use burn::backend::read_sync;
use wgpu::{Backends, Instance, InstanceDescriptor};

/// Whether there is a graphics adapter. Without one Burn's runtime panics, so the test is skipped with a
/// message; if `BILEVEL_REQUIRE_GPU` is set, the test fails instead.
pub fn adapter() -> bool {
    let usable = Backends::VULKAN | Backends::METAL | Backends::DX12;
    let descriptor =
        InstanceDescriptor { backends: usable, ..InstanceDescriptor::new_without_display_handle() };
    let found = !read_sync(Instance::new(descriptor).enumerate_adapters(usable)).is_empty();
    let required = std::env::var_os("BILEVEL_REQUIRE_GPU").is_some();
    assert!(found || !required, "no graphics adapter was found, and BILEVEL_REQUIRE_GPU is set");
    if !found {
        eprintln!("skipped: no graphics adapter was found");
    }
    found
}
