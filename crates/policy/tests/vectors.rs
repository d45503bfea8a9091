//! Answers compared with those recorded from the real library; `vectors.py` makes the record.

use std::collections::BTreeMap;

use policy::{Credentials, Engine, ServiceCredentials, Target};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vectors {
    rules: BTreeMap<String, String>,
    credentials: Vec<Who>,
    targets: Vec<Target>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    rule: Value,
    who: usize,
    target: usize,
    allowed: bool,
}

#[derive(Deserialize)]
struct Who {
    user_id: String,
    user_domain_id: String,
    project_id: Option<String>,
    project_domain_id: Option<String>,
    domain_id: Option<String>,
    #[serde(default)]
    system: bool,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    service: Service,
}

#[derive(Default, Deserialize)]
struct Service {
    user_id: Option<String>,
    user_domain_id: Option<String>,
    project_id: Option<String>,
    project_domain_id: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
}

impl From<Who> for Credentials {
    fn from(who: Who) -> Self {
        let Service { user_id, user_domain_id, project_id, project_domain_id, roles } = who.service;
        Self {
            user_id: who.user_id,
            user_domain_id: who.user_domain_id,
            project_id: who.project_id,
            project_domain_id: who.project_domain_id,
            domain_id: who.domain_id,
            system: who.system,
            roles: who.roles,
            service: ServiceCredentials { user_id, user_domain_id, project_id, project_domain_id, roles },
            ..Self::default()
        }
    }
}

/// Every rule goes the way of an operator's: through a policy file, which is JSON here and so YAML.
#[test]
fn the_library_answers_the_same() {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let who: Vec<Credentials> = vectors.credentials.into_iter().map(Credentials::from).collect();
    let base = Engine::new(&[]).unwrap().with_file(&serde_json::to_string(&vectors.rules).unwrap()).unwrap();
    let file: BTreeMap<String, &Value> =
        vectors.cases.iter().enumerate().map(|(number, case)| (format!("case {number}"), &case.rule)).collect();
    let engine = base.with_file(&serde_json::to_string(&file).unwrap()).unwrap();
    // What is printed for a rule says the same as what was read.
    let printed: BTreeMap<&str, &str> = engine.rules().map(|rule| (rule.name.as_str(), rule.check.as_str())).collect();
    let printable = |rule: &Value| !rule.to_string().contains("two words");

    assert!(vectors.cases.len() > 500);
    let mut wrong = Vec::new();
    for (number, case) in vectors.cases.iter().enumerate() {
        let name = format!("case {number}");
        let (who, target) = (&who[case.who], &vectors.targets[case.target]);
        let explained = engine.explain(&name, who, target);
        let mut answers = vec![engine.allows(&name, who, target), explained.allowed, explained.step.as_ref().unwrap().holds];
        if printable(&case.rule) {
            let again = serde_json::json!({ "again": printed[name.as_str()] }).to_string();
            answers.push(base.with_file(&again).unwrap().allows("again", who, target));
        }
        if answers.iter().any(|answer| *answer != case.allowed) {
            wrong.push(format!("{} expected {}, {answers:?}\n{explained}", case.rule, case.allowed));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), vectors.cases.len(), wrong.join("\n"));
}
