//! Fuzzes the reader of a suite's YAML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| preheat_fuzz::suite(data));
