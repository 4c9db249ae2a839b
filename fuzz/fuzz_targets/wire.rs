//! Hostile bytes against the protocol's codec. The body is `fuzz_one`, which the crate's own tests
//! run for a bounded time as well.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| millstream_wire::testing::fuzz_one(data));
