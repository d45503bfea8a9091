//! `cofferdam policy`: the rules of access, and why one answers as it does.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};
use policy::{Credentials, Engine, RuleInfo, Scope, Target};
use serde_json::{Map, Value, json};

/// Roles that hold others, as a new installation has them.
const IMPLIED: [(&str, &str); 3] = [("admin", "manager"), ("manager", "member"), ("member", "reader")];

/// `cofferdam policy`
#[derive(Subcommand)]
pub enum Command {
    /// List the rules in force, in the form of a policy.yaml.
    List(List),
    /// Ask one rule, and show every check of it with its answer. Exit status: 0 allowed, 1 denied, 2 the question makes no sense.
    Check(Box<Check>),
}

/// Where the rules of the operator are.
#[derive(Args)]
struct At {
    /// The state directory of the server, in which policy.yaml may lie.
    #[arg(long, env = "COFFERDAM_STATE_DIR", default_value = "/var/lib/cofferdam")]
    state_dir: PathBuf,
    /// The policy file, if it is another one.
    #[arg(long)]
    file: Option<PathBuf>,
}

impl At {
    fn engine(&self) -> anyhow::Result<Engine> {
        // As the server has it.
        let engine = Engine::new(&api::policy_rules())?.with_unscoped(Some(Scope::Project));
        let usual = self.state_dir.join("policy.yaml");
        let path = self.file.as_ref().unwrap_or(&usual);
        match std::fs::read_to_string(path) {
            Ok(text) => engine.with_file(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound && self.file.is_none() => Ok(engine),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// `cofferdam policy list`
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    at: At,
    /// Only the rules of one service: identity, network, baremetal, image, compute, container-infra.
    #[arg(long)]
    service: Option<String>,
    /// Only the rules that policy.yaml has.
    #[arg(long)]
    overridden: bool,
    /// Print JSON, with scopes, operations and defaults.
    #[arg(long)]
    json: bool,
}

/// `cofferdam policy check`
#[derive(Args)]
#[command(group = ArgGroup::new("scope").args(["project_id", "domain_id", "system"]))]
pub struct Check {
    /// The rule, such as create_network or identity:get_user.
    rule: String,
    #[command(flatten)]
    at: At,
    /// The roles of the one who asks, by name, divided by commas; those they imply in a new installation are added.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    /// Take the roles as they are given.
    #[arg(long)]
    exact_roles: bool,
    /// The user.
    #[arg(long, default_value = "")]
    user_id: String,
    /// The domain the user is of.
    #[arg(long, default_value = "")]
    user_domain_id: String,
    /// The project the token is for.
    #[arg(long)]
    project_id: Option<String>,
    /// The domain that project is of.
    #[arg(long, requires = "project_id")]
    project_domain_id: Option<String>,
    /// The domain the token is for.
    #[arg(long)]
    domain_id: Option<String>,
    /// The token is for the system.
    #[arg(long)]
    system: bool,
    /// What is acted on: an attribute as rules name it, such as project_id=… or target.user.domain_id=…; true, false and null are values.
    #[arg(long, value_name = "KEY=VALUE", value_parser = attribute)]
    target: Vec<(String, Value)>,
}

fn attribute(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("key=value")?;
    let value = match value {
        "true" => json!(true),
        "false" => json!(false),
        "null" => Value::Null,
        text => json!(text),
    };
    Ok((key.to_owned(), value))
}

impl Command {
    /// Does it. What cannot be answered is said on the error output.
    pub fn run(&self) -> ExitCode {
        let answer = match self {
            Self::List(list) => list.text().map(|text| (text, ExitCode::SUCCESS)),
            Self::Check(check) => check.text(),
        };
        let (text, code) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                eprintln!("cofferdam policy: {error:#}");
                return ExitCode::from(2);
            }
        };
        match writeln!(std::io::stdout().lock(), "{text}") {
            // Whoever read it has seen enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                eprintln!("cofferdam policy: {error}");
                ExitCode::from(2)
            }
            _ => code,
        }
    }
}

impl List {
    fn text(&self) -> anyhow::Result<String> {
        let engine = self.at.engine()?;
        let known = |service: &str| engine.rules().any(|rule| api::policy_service(&rule.name) == Some(service));
        if let Some(service) = self.service.as_deref().filter(|service| !known(service)) {
            anyhow::bail!("there is no service {service}: identity, network, baremetal, image, compute, container-infra");
        }
        let wanted = |rule: &&RuleInfo| {
            let of_service = self.service.is_none() || api::policy_service(&rule.name) == self.service.as_deref();
            of_service && (rule.is_overridden || !self.overridden)
        };
        let rules: Vec<&RuleInfo> = engine.rules().filter(wanted).collect();
        if self.json {
            return Ok(serde_json::to_string_pretty(&rules.into_iter().map(shown).collect::<Vec<_>>())?);
        }
        let lines: Vec<String> = rules.into_iter().map(line).collect();
        Ok(if lines.is_empty() { "{}".to_owned() } else { lines.join("\n") })
    }
}

/// A rule as a line of a policy.yaml: JSON's strings are YAML's too.
fn line(rule: &RuleInfo) -> String {
    let entry = format!("{}: {}", json!(rule.name), json!(rule.check));
    match rule.default {
        Some(default) if rule.is_overridden => format!("{entry}  # the default is {}", json!(default)),
        None => format!("{entry}  # of policy.yaml alone"),
        Some(_) => entry,
    }
}

fn shown(rule: &RuleInfo) -> Value {
    let operations: Vec<Value> = rule.operations.iter().map(|(method, path)| json!({"method": method, "path": path})).collect();
    json!({
        "name": rule.name,
        "service": api::policy_service(&rule.name),
        "check": rule.check,
        "default": rule.default,
        "overridden": rule.is_overridden,
        "scopes": rule.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>(),
        "description": rule.about,
        "operations": operations,
    })
}

impl Check {
    fn credentials(&self) -> Credentials {
        let mut roles: Vec<String> = Vec::new();
        let mut add = |role: &str| {
            if !roles.iter().any(|it| it == role) {
                roles.push(role.to_owned());
            }
        };
        for role in self.roles.iter().map(|role| role.trim()).filter(|role| !role.is_empty()) {
            add(role);
            let mut holds = role;
            while let Some((_, implied)) = IMPLIED.iter().find(|(role, _)| !self.exact_roles && *role == holds) {
                add(implied);
                holds = implied;
            }
        }
        Credentials {
            user_id: self.user_id.clone(),
            user_domain_id: self.user_domain_id.clone(),
            project_id: self.project_id.clone(),
            project_domain_id: self.project_domain_id.clone(),
            domain_id: self.domain_id.clone(),
            system: self.system,
            roles,
            ..Credentials::default()
        }
    }

    fn text(&self) -> anyhow::Result<(String, ExitCode)> {
        let engine = self.at.engine()?;
        anyhow::ensure!(engine.rules().any(|rule| rule.name == self.rule), "there is no rule {}", self.rule);
        let target = Target::Object(self.target.iter().cloned().collect::<Map<_, _>>());
        let explained = engine.explain(&self.rule, &self.credentials(), &target);
        Ok((explained.to_string(), if explained.allowed { ExitCode::SUCCESS } else { ExitCode::from(1) }))
    }
}
