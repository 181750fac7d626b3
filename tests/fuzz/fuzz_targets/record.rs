//! Fuzzes the reader of a record's file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| preheat_fuzz::record(data));
