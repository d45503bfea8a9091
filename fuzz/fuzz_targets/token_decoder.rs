//! The payload of a token from any bytes.
#![no_main]

use identity::payload::Payload;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(payload) = Payload::read(data)
        && let Ok(written) = payload.write()
    {
        assert_eq!(Payload::read(&written).as_ref(), Ok(&payload));
    }
});
