#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ctpulse_fuzz::invalid_record(bytes));
