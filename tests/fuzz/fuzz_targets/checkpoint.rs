//! Fuzzes the reader of a checkpoint's file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| preheat_fuzz::checkpoint(data));
