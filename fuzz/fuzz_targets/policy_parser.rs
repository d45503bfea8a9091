//! Rules and policy files from any bytes. `crates/policy/tests/random.rs` has the same body as a test.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::{Credentials, Engine, Template, parse, parse_lists};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(check) = parse(text) {
        let printed = check.to_string();
        assert_eq!(parse(&printed).as_ref(), Ok(&check), "{text:?} printed as {printed:?}");
    }
    let _read = parse_lists(&[text.split('\n').collect(), vec![text]]);
    let _read = Template::parse(text);
    if let Ok(engine) = Engine::new(&[]).and_then(|engine| engine.with_file(text)) {
        let (who, target) = (Credentials::default(), serde_json::json!({}));
        for rule in engine.rules() {
            let explained = engine.explain(&rule.name, &who, &target);
            assert_eq!(explained.allowed, engine.allows(&rule.name, &who, &target));
            let _printed = explained.to_string();
        }
    }
});
