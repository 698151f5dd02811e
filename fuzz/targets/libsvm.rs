#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilevel_fuzz::check(bilevel_data::libsvm::parse(
    bytes, None
)));
