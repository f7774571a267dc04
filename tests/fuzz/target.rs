//! A fuzzer for the module that has this binary's name: whatever its members answer, no op panics or hangs.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lockstep_tests::answers::fuzzed(env!("CARGO_BIN_NAME"), data);
});
