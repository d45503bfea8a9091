use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static LEAF: Schema = closed(&[("kind", choice(&["a", "b"])), ("url", URL)]).required(&["kind"]);
static WHOLE: Schema = open(&[
    ("a", TEXT.or_null()),
    ("b", WORD),
    ("c", integer(-1, 9)),
    ("d", array(&object(&LEAF)).at_least(1).at_most(2).unique()),
    ("e", shape(Kind::ObjectOrText(&LEAF))),
    ("f", UUID),
    ("g", PAGE_LENGTH),
    ("h", BOOLEAN),
    ("i", ID),
])
.bound(&[Bond::AtMostOne(&["x", "y"]), Bond::Needs("x", "z"), Bond::Never(&["a", "b", "c"]), Bond::OneOf(&[&[], &["q"]])]);

fn complaint(body: Value) -> String {
    WHOLE.check_value(&body).unwrap_err()
}

#[test]
fn kinds_are_told_apart() {
    let good = json!({"a": null, "b": "off", "c": 3.0, "d": [{"kind": "a"}], "e": "text", "g": "12", "h": false, "i": "a-1"});
    let mut body = good.clone();
    body.as_object_mut().unwrap().remove("c");
    assert_eq!(WHOLE.check_value(&body), Ok(()));
    assert!(complaint(good).contains("should not be valid under {'required': ['a', 'b', 'c']}"));
    assert_eq!(complaint(json!({"a": 3})), "Invalid input for field/attribute a. Value: 3. 3 is not of type 'string', 'null'");
    assert!(
        complaint(json!({"b": null})).starts_with("Invalid input for field/attribute b. Value: None. None is not one of [True, 'True', ")
    );
    assert!(complaint(json!({"b": 1})).ends_with("1 is not of type 'boolean', 'string', 'null'"));
    assert!(complaint(json!({"c": 10})).ends_with("10 is greater than the maximum of 9"));
    assert!(complaint(json!({"c": true})).ends_with("True is not of type 'integer'"));
    assert!(complaint(json!({"d": []})).ends_with("[] should be non-empty"));
    assert!(complaint(json!({"d": [{"kind": "c"}]})).ends_with("'c' is not one of ['a', 'b']"));
    assert!(complaint(json!({"d": [{"kind": "a", "url": "nowhere"}]})).ends_with("'nowhere' does not match '^[a-zA-Z0-9+.-]+:.+'"));
    assert!(complaint(json!({"f": "1"})).ends_with("'1' is not a 'uuid'"));
    assert!(complaint(json!({"h": "true"})).ends_with("'true' is not of type 'boolean'"));
    assert_eq!(complaint(json!([1])), "[1] is not of type 'object'");
}

#[test]
fn what_is_only_a_part_is_checked_from_there() {
    static PART: Schema = open(&[("leaf", object(&LEAF))]).only("leaf");
    assert_eq!(PART.check_value(&json!({})).unwrap_err(), "'kind' is a required property");
    assert_eq!(PART.check_value(&json!({"leaf": {"kind": 1}})).unwrap_err(), "Invalid input for field 'kind': 1 is not of type 'string'");
}

#[test]
fn a_document_says_all_of_it() {
    let document = LEAF.document();
    assert_eq!(
        document,
        json!({"type": "object", "additionalProperties": false, "required": ["kind"], "properties": {
            "kind": {"type": "string", "enum": ["a", "b"]},
            "url": {"type": "string", "maxLength": 225, "pattern": "^[a-zA-Z0-9+.-]+:.+"},
        }})
    );
    assert_eq!(WHOLE.document()["properties"]["e"]["type"], json!(["object", "string"]));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}|[a-b]|\\s{0,3}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-i]|kind|url|[xyzq]|password|.{0,3}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics(body in any_json()) {
        if let Err(complaint) = WHOLE.check_value(&body) {
            prop_assert!(!complaint.is_empty());
        }
    }
}
