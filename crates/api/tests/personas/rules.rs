//! The table against the declared rules: it has all of them, and where a rule alone decides, what was recorded is what the rule says.

use std::collections::BTreeSet;

use policy::{Credentials, Engine, Rule};
use serde_json::{Map, Value, json};

use crate::table::{Operation, Persona, Recorded, Row, Scope, Table, Target};

/// How rows begin that the rule does not decide alone, and what else does.
const NOT_ALONE: &[(&str, &str)] = &[
    ("identity:get_auth_catalog ", "a catalog is of a project"),
    ("identity:get_security_compliance_domain_config GET /v3/domains/{domain}", "only the default domain's are shown"),
    ("identity:get_security_compliance_domain_config HEAD /v3/domains/{domain}", "only the default domain's are shown"),
    ("identity:list_users ", "whose token is for a domain is shown its own"),
    ("identity:list_groups ", "whose token is for a domain is shown its own"),
    ("identity:list_projects ", "whose token is for a domain is shown its own"),
    ("identity:list_domains ", "whose token is for a domain is shown that"),
    ("identity:list_role_assignments ", "whose token is for a domain is shown its own"),
    ("identity:list_credentials ", "everybody is shown its own"),
];

fn declared() -> Vec<&'static Rule> {
    let rules: Vec<&Rule> = api::policy_rules().into_iter().flatten().filter(|it| it.name.starts_with("identity:")).collect();
    assert!(rules.len() > 180, "only {} rules", rules.len());
    rules
}

/// Whether a path of the table is one a rule declares.
fn is_of(declared: &str, path: &str) -> bool {
    let parts = |it: &str| it.split('?').next().unwrap_or_default().split('/').map(str::to_owned).collect::<Vec<_>>();
    let (declared, path) = (parts(declared), parts(path));
    declared.len() == path.len() && declared.iter().zip(&path).all(|(want, got)| want.starts_with('{') || want == got)
}

#[test]
fn every_declared_operation_is_in_the_table_and_no_other() {
    let (table, rules) = (Table::load(), declared());
    let mut wrong = Vec::new();
    for rule in &rules {
        for (method, path) in rule.operations {
            let has = |it: &Operation| it.rule == rule.name && it.methods.iter().any(|it| it == method) && is_of(path, &it.path);
            if !table.operations.iter().any(has) {
                wrong.push(format!("{}: {method} {path} is not in the table", rule.name));
            }
        }
        if rule.operations.is_empty() {
            wrong.push(format!("{} guards nothing", rule.name));
        }
    }
    for operation in &table.operations {
        let rule = rules.iter().find(|it| it.name == operation.rule);
        for method in &operation.methods {
            if !rule.is_some_and(|it| it.operations.iter().any(|(verb, path)| verb == method && is_of(path, &operation.path))) {
                wrong.push(format!("{} does not guard {method} {}", operation.rule, operation.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_is_recorded_once() {
    let (table, recorded) = (Table::load(), Recorded::load());
    let names: Vec<String> = table.rows().map(|it| it.name()).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
    assert_eq!(distinct, recorded.cells.keys().collect(), "run record.py");
    assert!(recorded.cells.values().all(|it| it.len() == table.personas.len()));
}

fn credentials(persona: &Persona) -> Credentials {
    let some = |scope: Scope, text: &str| (persona.scope == scope).then(|| text.to_owned());
    // Each role implies those after it.
    let ladder = ["admin", "manager", "member", "reader"];
    let roles = match persona.role.as_deref() {
        None => Vec::new(),
        Some(role) => match ladder.iter().position(|it| *it == role) {
            Some(from) => ladder[from..].iter().map(|&it| it.to_owned()).collect(),
            None => vec![role.to_owned()],
        },
    };
    Credentials {
        user_id: "user".into(),
        user_domain_id: "domain".into(),
        project_id: some(Scope::Project, "project"),
        project_domain_id: some(Scope::Project, "domain"),
        domain_id: some(Scope::Domain, "domain"),
        system: persona.scope == Scope::System,
        roles,
        ..Credentials::default()
    }
}

/// What rules are told of the target of a row, as far as the table tells.
fn target(row: &Row<'_>, persona: &Persona) -> Value {
    let operation = row.operation;
    let text = format!("{} {} {}", operation.path, operation.body.clone().unwrap_or_default(), json!(operation.headers));
    let has = |places: &[&str]| places.iter().any(|it| text.contains(&format!("{{{it}}}")));
    let (domain, user) = match row.target {
        Target::Itself => ("domain", "user"),
        Target::Own | Target::Any => ("domain", "own-user"),
        Target::Other | Target::Absent => ("other-domain", "other-user"),
    };
    let project = if row.target == Target::Itself && persona.scope == Scope::Project { "project" } else { "further-project" };
    let mut told = Map::new();
    if has(&["domain"]) {
        // What is made in a domain or looked for in it is of it.
        let within = json!({"domain_id": domain});
        told.extend([("domain_id".to_owned(), json!(domain)), ("domain".to_owned(), json!({"id": domain}))]);
        told.extend(["user", "group", "project"].map(|it| (it.to_owned(), within.clone())));
    }
    if has(&["user", "credential", "ec2", "app_cred", "access_rule", "token", "trust", "trust_to"]) {
        let owned = json!({"user_id": user});
        told.insert("user".into(), json!({"id": user, "domain_id": domain}));
        told.extend(["credential", "token"].map(|it| (it.to_owned(), owned.clone())));
        let (trustor, trustee) = match &operation.path {
            path if path.contains("{trust_to}") => (Some("peer"), Some(user)),
            path if path.contains("{trust}") => (Some(user), Some("peer")),
            path if path.contains("trustee") => (None, Some(user)),
            _ => (Some(user), None),
        };
        told.insert("trust".into(), json!({"trustor_user_id": trustor, "trustee_user_id": trustee}));
    }
    if has(&["group"]) {
        told.insert("group".into(), json!({"domain_id": domain}));
    }
    if has(&["project"]) {
        told.insert("project".into(), json!({"id": project, "domain_id": domain}));
        told.entry("domain_id").or_insert(json!(domain));
    }
    if let Some(role) = ["member", "admin", "reader"].into_iter().find(|it| has(&[&format!("{it}_role")])) {
        told.insert("role".into(), json!({"name": role, "domain_id": null}));
    } else if has(&["domain_role"]) {
        told.insert("role".into(), json!({"name": "some", "domain_id": domain}));
    } else if has(&["role"]) {
        told.insert("role".into(), json!({"name": "some", "domain_id": null}));
    }
    if has(&["limit"]) {
        told.insert("limit".into(), json!({"project_id": project, "project": {"domain_id": domain}}));
    } else if has(&["domain_limit"]) {
        told.insert("limit".into(), json!({"project_id": null, "domain": {"id": domain}}));
    }
    json!({"target": told, "user_id": user})
}

#[test]
fn where_a_rule_alone_decides_it_decides_as_recorded() {
    let (table, recorded) = (Table::load(), Recorded::load());
    let tables = api::policy_rules();
    let engine = Engine::new(&tables).unwrap().with_unscoped(Some(policy::Scope::Project));
    let (mut wrong, mut cells) = (Vec::new(), 0);
    for row in table.rows() {
        let (name, rule) = (row.name(), row.operation.rule.as_str());
        if row.target == Target::Absent || NOT_ALONE.iter().any(|(it, _)| name.starts_with(it)) {
            continue;
        }
        for (persona, status) in table.personas.iter().zip(&recorded.cells[&name]).filter(|(it, _)| it.scope != Scope::None) {
            cells += 1;
            let allows = engine.allows(rule, &credentials(persona), &target(&row, persona));
            if allows == matches!(status, 401 | 403) {
                wrong.push(format!("{name}, {}: the rule says {allows}, Keystone {status}", persona.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 5000, "only {cells} cells");
}
