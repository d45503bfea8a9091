//! Random rules: nothing makes the reader panic, and what is printed reads back as it was.

use policy::{Check, Credentials, Engine, Live, Template, parse, parse_lists};
use proptest::prelude::*;

fn template() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            "[a-z0-9_.:'\"=/é-]{1,6}".prop_map(|text| text),
            Just("%%".to_owned()),
            "[a-z_.]{1,12}".prop_map(|key| format!("%({key})s")),
        ],
        0..4,
    )
    .prop_map(|parts| parts.concat())
}

fn leaf() -> impl Strategy<Value = String> {
    let path = "[a-z_][a-z0-9_-]{0,5}(\\.[a-z_][a-z0-9_]{0,4}){0,2}";
    let literal = prop_oneof![
        "'[a-zA-Z0-9\"%=/]{0,6}'",
        "\"[a-zA-Z0-9'%=/]{0,6}\"",
        "-?[1-9][0-9]{0,5}",
        "[0-9]\\.[0-9]{1,3}",
        Just("None".to_owned()),
        Just("True".to_owned()),
    ];
    prop_oneof![
        Just("@".to_owned()),
        Just("!".to_owned()),
        template().prop_map(|text| format!("role:{text}")),
        "[a-z_:]{0,8}".prop_map(|name| format!("rule:{name}")),
        (path, template()).prop_map(|(left, right)| format!("{left}:{right}")),
        (literal, template()).prop_map(|(left, right)| format!("{left}:{right}")),
    ]
}

/// Trees as the reader makes them: no list of one, none directly in one of its own kind.
fn check() -> impl Strategy<Value = Check> {
    // Lists take a leaf that is no `'a':'a'` word, which reading refuses to take for a check.
    let leaf = leaf().prop_filter_map("a remote check", |text| parse_lists(&[vec![text]]).ok());
    leaf.prop_recursive(6, 48, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|check| Check::Not(Box::new(check))),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Check::And),
            proptest::collection::vec(inner, 2..4).prop_map(Check::Or),
        ]
    })
}

/// Text out of the pieces of the language, which gets further into the reader than any text.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        leaf(),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just(" and ".to_owned()),
        Just(" OR ".to_owned()),
        Just("not ".to_owned()),
        Just("%(".to_owned()),
        Just("'".to_owned()),
        Just(":".to_owned()),
        Just("\u{1c}".to_owned()),
        "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// The body of the fuzz target `policy_parser`: what is read prints, reads back the same, and answers.
fn read_any(data: &[u8]) {
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_reads_back(check in check()) {
        let printed = check.to_string();
        prop_assert_eq!(parse(&printed), Ok(check), "printed as {}", printed);
    }

    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_any(&data);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        read_any(text.as_bytes());
    }

    #[test]
    fn nearly_a_rule(text in nearly()) {
        read_any(text.as_bytes());
        read_any(format!("a: \"!\"\nb: {text}\n").as_bytes());
        read_any(serde_json::json!({ "a": text, "b": [[text]] }).to_string().as_bytes());
    }
}

#[test]
fn live_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Live>();
    shared::<Engine>();
}
