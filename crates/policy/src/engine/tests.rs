use serde_json::json;

use super::*;
use crate::{ParseError, rule};

const TABLE: &[Rule] = &[
    rule("admin_required", "role:admin"),
    rule("owner", "user_id:%(user_id)s"),
    rule("get", "rule:admin_required or rule:owner")
        .scopes(&[Scope::Domain, Scope::Project])
        .about("Shows it.")
        .guards(&[("GET", "/v3/things/{thing_id}")]),
    rule("open", ""),
    rule("scoped", "@").scopes(&[Scope::System]),
];

fn engine() -> Engine {
    Engine::new(&[TABLE]).unwrap()
}

fn member() -> Credentials {
    Credentials { user_id: "u".into(), project_id: Some("p".into()), roles: vec!["member".into()], ..Credentials::default() }
}

#[test]
fn the_scope_is_asked_before_the_check() {
    let engine = engine();
    let who = member();
    assert!(engine.allows("get", &who, &json!({"user_id": "u"})));
    assert!(!engine.allows("get", &who, &json!({"user_id": "other"})));
    let denied = engine.enforce("scoped", &who, &json!({})).unwrap_err();
    assert_eq!(denied.why, Why::Scope { needs: &[Scope::System], has: Some(Scope::Project) });
    assert_eq!(denied.to_string(), "scoped: needs a token of scope system, this one is project");
    let admin = Credentials { system: true, roles: vec!["admin".into()], ..member() };
    let denied = engine.enforce("get", &admin, &json!({"user_id": "u"})).unwrap_err();
    assert_eq!(denied.to_string(), "get: needs a token of scope domain or project, this one is system");
    assert_eq!(engine.enforce("scoped", &admin, &json!({})), Ok(()));
    // Scopes are those of the rule that is asked, not of those it refers to.
    let engine = engine.with_file("again: rule:scoped").unwrap();
    assert!(engine.allows("again", &who, &json!({})));
}

#[test]
fn an_unscoped_token_has_no_scope_unless_told() {
    let engine = engine();
    let who = Credentials { project_id: None, ..member() };
    let target = json!({"user_id": "u"});
    assert_eq!(
        engine.enforce("get", &who, &target).unwrap_err().to_string(),
        "get: needs a token of scope domain or project, this one is unscoped"
    );
    assert!(engine.allows("open", &who, &target));
    let engine = engine.with_unscoped(Some(Scope::Project)).with_file("").unwrap();
    assert!(engine.allows("get", &who, &target));
    assert!(!engine.allows("scoped", &who, &target));
}

#[test]
fn settled_is_what_no_target_changes() {
    let engine = engine();
    let admin = Credentials { roles: vec!["Admin".into()], ..member() };
    let system = Credentials { system: true, ..admin.clone() };
    let cases = [
        ("admin_required", &admin, Some(true)),
        ("admin_required", &member(), Some(false)),
        ("owner", &admin, None),
        // The role is enough, whosever the thing is.
        ("get", &admin, Some(true)),
        ("get", &member(), None),
        // The scope refuses before anything is looked at.
        ("get", &system, Some(false)),
        ("scoped", &system, Some(true)),
        ("open", &Credentials::default(), Some(true)),
        ("nothing", &admin, Some(false)),
    ];
    for (rule, who, settled) in cases {
        assert_eq!(engine.settled(rule, who), settled, "{rule}");
    }
}

#[test]
fn a_rule_that_does_not_exist_refuses() {
    let engine = engine();
    assert!(!engine.allows("nothing", &member(), &json!({})));
    assert_eq!(engine.enforce("nothing", &member(), &json!({})), Err(Denied { rule: "nothing".into(), why: Why::Check }));
    assert!(engine.explain("nothing", &member(), &json!({})).to_string().contains("no such rule"));
}

#[test]
fn a_file_overrides_checks_only() {
    let engine = engine()
        .with_file("# ours\nget: role:auditor and rule:local  # more\nlocal: [[\"role:member\"], [\"role:reader\", \"user_id:%(user_id)s\"]]\nopen: \"!\"\n")
        .unwrap();
    let info: Vec<&RuleInfo> = engine.rules().filter(|rule| rule.is_overridden).collect();
    assert_eq!(info.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["get", "local", "open"]);
    assert_eq!(info[0].check, "role:auditor and rule:local");
    assert_eq!(info[0].default, Some("rule:admin_required or rule:owner"));
    assert_eq!(info[0].scopes, [Scope::Domain, Scope::Project]);
    assert_eq!(info[0].operations, [("GET", "/v3/things/{thing_id}")]);
    assert_eq!(info[0].about, "Shows it.");
    assert_eq!((info[1].default, info[1].check.as_str()), (None, "role:member or (role:reader and user_id:%(user_id)s)"));
    assert!(!engine.allows("open", &member(), &json!({})));
    assert_eq!(engine.rules().filter(|rule| !rule.is_overridden).count(), 3);
}

#[test]
fn empty_files_and_comments_change_nothing() {
    for yaml in ["", "\n\n", "# only this\n", "---\n", "{}", "--- {}\n..."] {
        assert_eq!(engine().with_file(yaml).unwrap().rules().filter(|rule| rule.is_overridden).count(), 0, "{yaml:?}");
    }
}

#[test]
fn errors_of_a_file_name_line_and_rule() {
    let error = engine().with_file("# first\nopen: \"\"\nget: \"role:admin or\"\n").unwrap_err();
    assert_eq!(error, PolicyError::Rule { rule: "get".into(), line: Some(3), source: ParseError::Unfinished });
    assert_eq!(error.to_string(), "rule \"get\" (line 3): a check is missing at the end");
    let error = engine().with_file("a: '@'\nget: rule:admin_requird\n").unwrap_err();
    assert_eq!(error.to_string(), "rule \"get\" (line 2) refers to rule \"admin_requird\", which does not exist");
    let error = engine().with_file("a: https://example.org/%(x)s\n").unwrap_err();
    assert!(error.to_string().contains("another server"), "{error}");
}

#[test]
fn values_that_are_no_rules() {
    for yaml in [
        "- role:admin",
        "text",
        "get:",
        "get: ~",
        "get: null",
        "get: !",
        "get: true",
        "get: 5",
        "get: {a: b}",
        "get: [[[role:a]]]",
        "get: [5]",
        "get: [null]",
        "get: role:a\nget: role:b",
        "get: \"role:a",
        "get: @",
        "get: role: admin",
        "a: &x role:a\nb: *y",
        "get: !!str",
        "get: !role:a",
        "get: [!]",
        "get: [[!]]",
        "get: [[!role:a, role:b]]",
        "get: ! \"role:a\"",
    ] {
        let error = match engine().with_file(yaml) {
            Err(error) => error.to_string(),
            Ok(engine) => panic!("{yaml:?} was read as {:?}", engine.rules().find(|rule| rule.is_overridden)),
        };
        assert!(!error.contains('\n'), "{yaml:?}: {error}");
        assert!(
            error.contains("line 1") || error.contains("line 2") || error.contains("a mapping of rule names to rules"),
            "{yaml:?}: {error}"
        );
    }
}

#[test]
fn files_are_bounded() {
    assert_eq!(engine().with_file(&"#".repeat(file::MAX_FILE + 1)).unwrap_err(), PolicyError::Large { limit: file::MAX_FILE });
    for yaml in [format!("a: {}", "[".repeat(100_000)), "- ".repeat(100_000), "{a: ".repeat(100_000), format!("a: {}", "(".repeat(60_000))]
    {
        assert!(engine().with_file(&yaml).is_err());
    }
    // A long chain, and one in which every link doubles what it refers to.
    let chain = |body: &dyn Fn(usize) -> String| (1..5000).map(|n| format!("r{n}: {}\n", body(n - 1))).collect::<String>() + "r0: role:a\n";
    let error = engine().with_file(&chain(&|n| format!("rule:r{n}"))).unwrap_err();
    assert!(matches!(error, PolicyError::Deep { .. }), "{error}");
    let error = engine().with_file(&chain(&|n| format!("rule:r{n} or rule:r{n}"))).unwrap_err();
    assert!(matches!(error, PolicyError::Deep { .. } | PolicyError::Heavy { .. }), "{error}");
    let doubling: String = (1..40).map(|n| format!("r{n}: rule:r{0} or rule:r{0}\n", n - 1)).collect::<String>() + "r0: role:a\n";
    assert!(matches!(engine().with_file(&doubling), Err(PolicyError::Heavy { .. })));
}

#[test]
fn circles_are_found() {
    let error = engine().with_file("a: rule:b or role:x\nb: not rule:c\nc: (role:y and rule:b)\n").unwrap_err();
    assert_eq!(error, PolicyError::Cycle(vec!["b".into(), "c".into(), "b".into()]));
    assert_eq!(error.to_string(), "rules refer to each other in a circle: b -> c -> b");
    assert!(matches!(engine().with_file("owner: rule:owner"), Err(PolicyError::Cycle(_))));
}

#[test]
fn declared_rules_are_checked_too() {
    const TWICE: &[Rule] = &[rule("owner", "@")];
    const BAD: &[Rule] = &[rule("bad", "role")];
    const UNDEFINED: &[Rule] = &[rule("bad", "rule:gone")];
    assert_eq!(Engine::new(&[TABLE, TWICE]).unwrap_err(), PolicyError::Twice("owner".into()));
    assert_eq!(Engine::new(&[BAD]).unwrap_err().to_string(), "rule \"bad\": \"role\" is not a check: write kind:value, \"@\" or \"!\"");
    assert_eq!(Engine::new(&[UNDEFINED]).unwrap_err().to_string(), "rule \"bad\" refers to rule \"gone\", which does not exist");
}

#[test]
fn an_explanation_shows_every_check() {
    let shown = engine().explain("get", &member(), &json!({"user_id": "other"})).to_string();
    let expected = "get: denied
  no  or
    no  rule:admin_required
      no  role:admin  (roles are member)
    no  rule:owner
      no  user_id:%(user_id)s  (user_id is u, compared with other)";
    assert_eq!(shown, expected);
    let shown = engine().explain("get", &Credentials { system: true, ..member() }, &json!({})).to_string();
    assert!(shown.contains("scope") && shown.contains("the target has no user_id"), "{shown}");
}
