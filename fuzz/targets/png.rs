#![no_main]

use bilevel_data::gray;
use bilevel_fuzz::{check, in_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| in_file("a.png", bytes, |file| check(gray::read(file))));
