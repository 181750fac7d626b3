//! Fuzzes the reader of a file of tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| preheat_fuzz::tokens(data));
