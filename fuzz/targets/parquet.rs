#![no_main]

use bilevel_data::table::Table;
use bilevel_fuzz::{check, in_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| in_file("t.parquet", bytes, |file| check(Table::read(
    &[file],
    None
))));
