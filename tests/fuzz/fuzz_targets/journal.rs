#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pg_migrate_fuzz::journal::check(data));
