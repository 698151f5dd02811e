#![no_main]

use bilevel_data::ImageClasses;
use bilevel_fuzz::{check, in_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| in_file("t.tar", bytes, |file| check(
    ImageClasses::read(file, [3, 4], 1 << 16)
)));
