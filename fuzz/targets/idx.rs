#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilevel_fuzz::check(bilevel_data::idx::parse_within(
    bytes,
    1 << 24
)));
