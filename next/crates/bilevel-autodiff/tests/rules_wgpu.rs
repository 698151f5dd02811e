//! Every tangent rule on the wgpu backend in f32; skipped where there is no graphics adapter.

mod graphics;
#[path = "rules/mod.rs"]
mod rules;

type Inner = burn_wgpu::Wgpu;

const SUITE: rules::Suite = rules::SINGLE;

fn set_up() -> bool {
    graphics::adapter()
}
