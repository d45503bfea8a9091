//! What is settled without a target is so for every target.

use policy::{Credentials, Engine, Target};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Few names, so that they meet.
const KEYS: [&str; 5] = ["project_id", "a", "a.b", "roles", "trust_id"];
const TEXTS: [&str; 7] = ["p", "q", "None", "True", "member", "ADMIN", ""];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(&TEXTS[..]).prop_map(str::to_owned),
        select(&KEYS[..]).prop_map(|key| format!("%({key})s")),
        (select(&TEXTS[..]), select(&KEYS[..])).prop_map(|(text, key)| format!("{text}%({key})s")),
    ]
}

/// A check, in which rules with a smaller number may be referred to.
fn check(number: usize) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        1 => Just("@".to_owned()),
        1 => Just("!".to_owned()),
        4 => text().prop_map(|name| format!("role:{name}")),
        4 => (select(&["project_id", "trust_id", "roles", "system_scope", "gone"][..]), text()).prop_map(|(left, right)| format!("{left}:{right}")),
        4 => (select(&["True", "None", "'p'", "1"][..]), text()).prop_map(|(left, right)| format!("{left}:{right}")),
        3 => (0..=number).prop_map(move |other| if other == number { "@".to_owned() } else { format!("rule:r{other}") }),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|check| format!("not ({check})")),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(|checks| format!("({})", checks.join(" and "))),
            proptest::collection::vec(inner, 2..4).prop_map(|checks| format!("({})", checks.join(" or "))),
        ]
    })
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    (1_usize..6).prop_flat_map(|many| (0..many).map(check).collect::<Vec<_>>())
}

fn who() -> impl Strategy<Value = Credentials> {
    let some = || proptest::option::of(select(&["p", "q"][..]).prop_map(str::to_owned));
    let roles = proptest::collection::vec(select(&["member", "Member", "admin", "é"][..]).prop_map(str::to_owned), 0..3);
    (some(), some(), any::<bool>(), roles).prop_map(|(project_id, trust_id, system, roles)| Credentials {
        project_id,
        trust_id,
        system,
        roles,
        ..Credentials::default()
    })
}

fn target() -> impl Strategy<Value = Target> {
    let value = prop_oneof![
        4 => select(&TEXTS[..]).prop_map(|text| json!(text)),
        1 => select(vec![json!(null), json!(true), json!(false), json!(1), json!(["p"]), json!({"b": "p"}), json!({"b": {"c": 1}})]),
    ];
    let object = proptest::collection::vec((select(&KEYS[..]), value), 0..5)
        .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>()));
    prop_oneof![8 => object, 1 => Just(json!(null)), 1 => Just(json!([1]))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_allowed_for_every_target(rules in rules(), who in who(), targets in proptest::collection::vec(target(), 1..24)) {
        let file: Map<String, Value> = rules.iter().enumerate().map(|(number, check)| (format!("r{number}"), json!(check))).collect();
        let engine = Engine::new(&[]).unwrap().with_file(&Value::Object(file).to_string()).unwrap();
        for (number, check) in rules.iter().enumerate() {
            let name = format!("r{number}");
            let settled = engine.settled(&name, &who);
            for target in &targets {
                let allowed = engine.allows(&name, &who, target);
                prop_assert!(settled.is_none_or(|verdict| verdict == allowed), "{} settled as {:?}, for {} it is {}", check, settled, target, allowed);
                prop_assert_eq!(engine.explain(&name, &who, target).step.unwrap().holds, allowed, "{}", check);
            }
            prop_assert!(settled.is_some() || check.contains("%(") || check.contains("rule:"), "{} is not settled", check);
        }
    }
}
