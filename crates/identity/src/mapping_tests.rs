use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../tests/vectors_mapping.json")).unwrap()
}

fn assertion(value: &Value) -> Assertion {
    value.as_object().unwrap().iter().map(|(name, text)| (name.clone(), split_values(text.as_str().unwrap()))).collect()
}

fn shown_domain(domain: &DomainRef) -> Value {
    let members = [("id", &domain.id), ("name", &domain.name)];
    Value::Object(members.into_iter().filter_map(|(key, it)| Some((key.to_owned(), it.clone()?.into()))).collect())
}

/// The form of Keystone's results.
fn shown(mapped: &Mapped) -> Value {
    let user = &mapped.user;
    let mut shown_user = Map::new();
    for (key, value) in [("id", &user.id), ("name", &user.name), ("email", &user.email)] {
        if let Some(value) = value {
            shown_user.insert(key.to_owned(), value.clone().into());
        }
    }
    if let Some(domain) = &user.domain {
        shown_user.insert("domain".to_owned(), shown_domain(domain));
    }
    shown_user.insert("type".to_owned(), if user.kind == UserKind::Local { "local" } else { "ephemeral" }.into());
    let projects: Vec<Value> = mapped
        .projects
        .iter()
        .map(|it| {
            let roles: Vec<Value> = it.roles.iter().map(|role| json!({"name": role})).collect();
            match &it.domain {
                Some(domain) => json!({"name": it.name, "roles": roles, "domain": shown_domain(domain)}),
                None => json!({"name": it.name, "roles": roles}),
            }
        })
        .collect();
    let names: Vec<Value> = mapped.group_names.iter().map(|it| json!({"name": it.name, "domain": shown_domain(&it.domain)})).collect();
    json!({"user": shown_user, "projects": projects, "group_ids": mapped.group_ids, "group_names": names})
}

/// Keystone says `"domain": null` where we say nothing.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            Value::Object(object.iter().filter(|(_, it)| !it.is_null()).map(|(key, it)| (key.clone(), without_nulls(it))).collect())
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// A list printed by Keystone has the order of a Python set, which is random: sorted letters compare what is in it.
fn without_order(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(object.iter().map(|(key, it)| (key.clone(), without_order(it))).collect()),
        Value::Array(list) => list.iter().map(without_order).collect(),
        Value::String(text) if text.contains("['") || text.contains("[\"") => {
            let mut letters: Vec<char> = text.chars().collect();
            letters.sort_unstable();
            letters.into_iter().collect::<String>().into()
        }
        other => other.clone(),
    }
}

#[test]
fn results_of_the_real_engine() {
    for case in vectors()["apply"].as_array().unwrap() {
        let mapping = Mapping::parse(&case["mapping"]).unwrap();
        let result = mapping.apply(&assertion(&case["assertion"]));
        let comparable = |it: &Value| {
            let mut it = without_order(&without_nulls(it));
            let names: BTreeSet<String> = it["group_names"].as_array().unwrap().iter().map(Value::to_string).collect();
            it["group_names"] = json!(names);
            it
        };
        assert_eq!(result.as_ref().ok().map(|it| comparable(&shown(it))), case.get("result").map(comparable), "{case} {result:?}");
        let Some(class) = case["error"].as_str() else { continue };
        let fits = match result.unwrap_err() {
            MappingError::NothingMapped | MappingError::GroupsWithoutDomain => class == "ValidationError",
            MappingError::NoSuchMatch(_) => class == "DirectMappingError" || class == "IndexError",
            MappingError::BadProjects(_) => class == "ValidationError" || class == "JSONDecodeError",
            MappingError::BadTemplate(_) => ["KeyError", "ValueError", "SchemaValidationError"].contains(&class),
            MappingError::BadRegex(_) => class == "error",
            MappingError::BadGroup => class == "JSONDecodeError",
            MappingError::SlowRegex(_) => false,
        };
        assert!(fits, "{case}");
    }
}

#[test]
fn complaints_of_the_real_validator() {
    for case in vectors()["validate"].as_array().unwrap() {
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let ours = Mapping::parse(&case["mapping"]).err().map(|it| lines(&it.to_string()));
        // The order of members in a printed object may differ: sorted letters compare the texts.
        let letters = |lines: Option<Vec<String>>| {
            lines.map(|lines| {
                let mut letters: Vec<char> = lines.concat().chars().collect();
                letters.sort_unstable();
                (lines.len(), letters)
            })
        };
        let (shown, expected) = (ours.clone(), case["complaint"].as_str().map(lines));
        assert_eq!(letters(ours), letters(expected.clone()), "{} {shown:?} {expected:?}", case["mapping"]);
    }
    assert!(Mapping::parse(&json!({"rules": [{"local": [], "remote": [{"type": "a"}]}], "schema_version": "4.0"})).is_err());
    assert!(Mapping::parse(&json!([])).is_err());
}

#[test]
fn slow_expressions_end() {
    for test in ["any_one_of", "not_any_of", "whitelist", "blacklist"] {
        let remote = json!([{"type": "a", test: ["^(?:(a+)\\1?)+$"], "regex": true}]);
        let mapping = Mapping::parse(&json!({"rules": [{"local": [], "remote": remote}]})).unwrap();
        let result = mapping.apply(&[("a".to_owned(), vec!["a".repeat(5_000) + "!"])].into());
        assert!(matches!(result, Err(MappingError::SlowRegex(_))), "{test} {result:?}");
    }
    let huge = json!({"rules": [{"local": [], "remote": [{"type": "a", "any_one_of": ["(?:a{999}){999}"], "regex": true}]}]});
    let result = Mapping::parse(&huge).unwrap().apply(&[("a".to_owned(), vec!["a".to_owned()])].into());
    assert!(matches!(result, Err(MappingError::BadRegex(_))), "{result:?}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[{}0-9\\[\\]a-z!]{0,6}".prop_map(Value::from)
    ];
    let names = prop_oneof![
        Just("rules"),
        Just("local"),
        Just("remote"),
        Just("type"),
        Just("user"),
        Just("name"),
        Just("groups"),
        Just("domain"),
        Just("projects"),
        Just("regex"),
        Just("whitelist"),
        Just("schema_version")
    ];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().map(|(key, it)| (key.to_owned(), it)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics(mapping in any_json(), template in any::<String>(), pattern in any::<String>(), value in any::<String>(), version in 1..4) {
        let values: Assertion = [("a".to_owned(), split_values(&value))].into();
        let _ = Mapping::parse(&mapping);
        let _ = Mapping::parse(&json!({"rules": [{"local": mapping, "remote": mapping}]}));
        let made = json!({"schema_version": format!("{version}.0"), "rules": [{
            "local": [{"user": {"name": template}, "groups": template, "group_ids": "{0}", "domain": {"id": "x"}}],
            "remote": [{"type": "a"}, {"type": "a", "whitelist": [pattern], "regex": true}],
        }]});
        let _ = Mapping::parse(&made).unwrap().apply(&values);
    }
}
