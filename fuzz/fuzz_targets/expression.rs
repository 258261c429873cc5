//! See `expression` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| avtomatika_fuzz::expression(bytes));
