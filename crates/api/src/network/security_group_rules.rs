//! `/v2.0/security-group-rules`. Nothing here looks at the other rules of the group, however many there are: that no two say the same is
//! seen to by a pool of the group, in which each rule holds its normal form.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::security::{AddressGroup, Direction, Ethertype, RuleMatch, SecurityGroup, SecurityGroupRule, SecurityGroupRuleDesired};
use model::{Id, Object};
use network::rules::{Fault, PROTOCOLS, check, make_canonical, normal_form, prefix, protocol_number};
use policy::Target;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::{Query, Term};

use super::noun::{Body, Field, Form, Noun, Sight, Work, field, named, routes as noun_routes, shared_to};
use super::policies::{of_project, owned};
use super::{Ask, Extension, extension, security_groups};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "security-groups-normalized-cidr",
        "Normalized CIDR field for security group rules",
        "Add new field with normalized remote_ip_prefix cidr in SG rule",
        "2020-07-28T10:00:00-00:00",
    ),
    extension(
        "security-groups-remote-address-group",
        "Remote address group id field for security group rules",
        "Add new field of remote address group id in SG rules",
        "2020-08-25T10:00:00-00:00",
    ),
    extension(
        "security-groups-rules-belongs-to-default-sg",
        "Security group rule belongs to the project's default security group",
        "Flag to determine if the security group rule belongs to the project's default security group",
        "2023-05-23T10:00:00-00:00",
    ),
];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<SecurityGroupRule>()
}

/// The pool in which the rules of a group hold what they say.
pub(super) fn pool(group: &Id<SecurityGroup>) -> String {
    format!("sgr:{group}")
}

/// Fields whose values [`Noun::admit`] reads, because what is wrong with them has names of its own.
pub(super) fn later<K: Noun>(name: &'static str, get: super::noun::Get<K>) -> Field<K> {
    field(name, get).set_once(|_, _| Ok(())).sort()
}

/// What rules let through, as fields.
macro_rules! matching {
    ($kind:ty, $around:ty) => {
        vec![
            later("ethertype", |it: &Object<$kind>, _: &$around| json!(it.desired.matches.ethertype)),
            field("direction", |it: &Object<$kind>, _: &$around| json!(it.desired.matches.direction))
                .set_once(|it, v| put(&mut it.desired.matches.direction, super::security_group_rules::direction(v)))
                .required()
                .sort(),
            later("protocol", |it: &Object<$kind>, _: &$around| json!(it.desired.matches.protocol)),
            later("port_range_min", |it: &Object<$kind>, _: &$around| json!(it.desired.matches.port_range_min)),
            later("port_range_max", |it: &Object<$kind>, _: &$around| json!(it.desired.matches.port_range_max)),
            later("remote_ip_prefix", |it: &Object<$kind>, _: &$around| json!(it.desired.matches.remote_ip_prefix)),
        ]
    };
}
pub(super) use matching;

/// What is read beside rules: the projects of their groups.
#[derive(Default)]
pub(crate) struct Around {
    projects: HashMap<String, Option<Id<Project>>>,
}

static FORM: LazyLock<Form<SecurityGroupRule>> = LazyLock::new(|| {
    Form::new("security_group_rule", "security_group_rules", "security-group-rules", "SecurityGroupRuleNotFound", "Security group rule")
        .not_found_says(|id| format!("Security group rule {id} does not exist"))
        .no_update()
        .fields(vec![
            field("security_group_id", |it: &Object<SecurityGroupRule>, _: &Around| json!(it.desired.security_group_id))
                .set_once(|_, v| group_text(v).map(drop))
                .required()
                .sort()
                .column("security_group_id"),
        ])
        .fields(matching!(SecurityGroupRule, Around))
        .fields(vec![
            later("remote_group_id", |it: &Object<SecurityGroupRule>, _: &Around| json!(it.desired.matches.remote_group_id))
                .column("remote_group_id"),
            later("remote_address_group_id", |it: &Object<SecurityGroupRule>, _: &Around| {
                json!(it.desired.matches.remote_address_group_id)
            })
            .column("remote_address_group_id"),
            field("normalized_cidr", |it: &Object<SecurityGroupRule>, _: &Around| normalized(it)).sort(),
            field("belongs_to_default_sg", |it: &Object<SecurityGroupRule>, _: &Around| json!(it.desired.belongs_to_default_sg)).filter(),
            field("description", |it: &Object<SecurityGroupRule>, _: &Around| json!(it.desired.description))
                .set_once(|it, v| put(&mut it.desired.description, value::text(v, 255)))
                .sort(),
        ])
        .stamped()
});

fn group_text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("'{}' is not a valid string", python(value)))
}

fn normalized(rule: &Object<SecurityGroupRule>) -> Value {
    json!(rule.desired.matches.remote_ip_prefix.map(|it| it.trunc()))
}

/// A rule as its group shows it.
pub(super) fn shown(rule: &Object<SecurityGroupRule>) -> Value {
    let (it, matches) = (&rule.desired, &rule.desired.matches);
    let project = rule.project_id.as_ref().map_or("", |it| it.as_str());
    json!({
        "id": rule.id,
        "project_id": project,
        "tenant_id": project,
        "security_group_id": it.security_group_id,
        "ethertype": matches.ethertype,
        "direction": matches.direction,
        "protocol": matches.protocol,
        "port_range_min": matches.port_range_min,
        "port_range_max": matches.port_range_max,
        "remote_ip_prefix": matches.remote_ip_prefix,
        "remote_group_id": matches.remote_group_id,
        "remote_address_group_id": matches.remote_address_group_id,
        "normalized_cidr": normalized(rule),
        "belongs_to_default_sg": it.belongs_to_default_sg,
        "description": it.description,
        "tags": [],
        "created_at": rule.created_at.iso_seconds(),
        "updated_at": rule.updated_at.unwrap_or(rule.created_at).iso_seconds(),
        "revision_number": rule.generation,
    })
}

impl Noun for SecurityGroupRule {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<SecurityGroupRuleDesired, Failure> {
        Ok(SecurityGroupRuleDesired {
            // Both are required: the body has others.
            security_group_id: Id::random(),
            matches: RuleMatch::all(Direction::Ingress, Ethertype::IPv4),
            description: String::new(),
            belongs_to_default_sg: false,
        })
    }

    async fn around(ask: &Ask, rules: &[Object<Self>]) -> Result<Around, Failure> {
        let mut projects = HashMap::new();
        if let [one] = rules {
            let group: Option<Object<SecurityGroup>> = ask.app.store.get(&one.desired.security_group_id).await?;
            projects.extend(group.map(|it| (it.id.to_string(), it.project_id)));
        } else {
            let mut groups: Vec<String> = rules.iter().map(|it| it.desired.security_group_id.to_string()).collect();
            groups.sort_unstable();
            groups.dedup();
            if !groups.is_empty() {
                let groups = ask.app.store.list(&Query::<SecurityGroup>::new().ids(groups)).await?;
                projects.extend(groups.into_iter().map(|it| (it.id.to_string(), it.project_id)));
            }
        }
        Ok(Around { projects })
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        let mut target = of_project(object.project_id.as_ref());
        if let (Some(target), Some(project)) = (target.as_object_mut(), around.projects.get(object.desired.security_group_id.as_str())) {
            owned(project.as_ref(), target, ["security_group:project_id", "security_group:tenant_id"]);
            target.insert("belongs_to_default_sg".into(), json!(object.desired.belongs_to_default_sg));
        }
        target
    }

    async fn seen(ask: &Ask) -> Result<Vec<Term>, Failure> {
        Ok(ask.caller.project_id.iter().map(|project| Term::of_project::<SecurityGroup>("security_group_id", project)).collect())
    }

    async fn before_list(ask: &Ask) -> Result<(), Failure> {
        security_groups::before_list(ask).await
    }

    async fn admit(work: &mut Work<'_>, rule: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let text = body.get("security_group_id").and_then(Value::as_str).unwrap_or_default();
        fill(&mut rule.desired.matches, body)?;
        let group: Option<Object<SecurityGroup>> = match Id::parse(text) {
            Some(id) => work.ask.app.store.get(&id).await?,
            None => None,
        };
        let group = group.ok_or_else(|| security_groups::not_found(text))?;
        rule.desired.belongs_to_default_sg = group.desired.is_default;
        rule.desired.security_group_id = group.id;
        Ok(())
    }

    async fn create(work: &mut Work<'_>, rule: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let group = rule.desired.security_group_id.clone();
        if let Some(first) = work.made::<SecurityGroupRule>().next() {
            if first.desired.security_group_id != group {
                let text = "Only allowed to update rules for one security profile at a time";
                return Err(bad("SecurityGroupNotSingleGroupRules", text));
            }
            if first.project_id != rule.project_id {
                let text = "Multiple project_ids in bulk security group rule create not allowed";
                return Err(bad("SecurityGroupRulesNotSingleProject", text));
            }
        }
        let matches = &mut rule.desired.matches;
        make_canonical(matches);
        check(matches).map_err(|fault| refused(&fault))?;
        remotes(work, rule.project_id.as_ref(), matches, body, &group).await?;
        let (pool, normal) = (pool(&group), normal_form(matches));
        if !work.claim(&pool, digest(&normal)) {
            return Err(conflict("DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST."));
        }
        if let Some(held) = work.ask.app.store.allocation(&pool, &normal).await? {
            let text = format!("Security group rule already exists. Rule id is {}.", held.holder);
            return Err(conflict("SecurityGroupRuleExists", text));
        }
        work.gone_means::<SecurityGroup>(security_groups::not_found(group.as_str()));
        let id = rule.id.clone();
        work.step(|batch| batch.touch::<SecurityGroup>(&group).hold(&pool, &normal, id.as_str()));
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, rule: &Object<Self>) -> Result<(), Failure> {
        let group = &rule.desired.security_group_id;
        work.step(|batch| batch.touch::<SecurityGroup>(group).free(&pool(group), &normal_form(&rule.desired.matches)).remove(rule));
        Ok(())
    }
}

/// A number that stands for a text: two that differ have two.
fn digest(text: &str) -> u128 {
    Sha256::digest(text.as_bytes()).iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

/// What a rule names must be there for its project, and stay.
async fn remotes(
    work: &mut Work<'_>,
    project: Option<&Id<Project>>,
    matches: &mut RuleMatch,
    body: &Body,
    group: &Id<SecurityGroup>,
) -> Result<(), Failure> {
    let ask = work.ask;
    if let Some(remote) = matches.remote_group_id.clone() {
        if remote != *group {
            let found: Option<Object<SecurityGroup>> = ask.app.store.get(&remote).await?;
            let Some(found) = found else { return Err(security_groups::not_found(remote.as_str())) };
            let target = shared_to(&found, &*ask.shares().await?, project);
            let is_seen = found.project_id.as_ref() == project || Sight::<SecurityGroup>::of(ask).sees(|| target);
            if !is_seen {
                return Err(security_groups::not_found(remote.as_str()));
            }
            work.step(|batch| batch.require::<SecurityGroup>(&remote));
        }
    } else if let Some(remote) = named_text(body, "remote_group_id") {
        return Err(security_groups::not_found(&remote));
    }
    if let Some(remote) = matches.remote_address_group_id.clone() {
        named::<AddressGroup>(ask, &remote).await?;
        work.gone_means::<AddressGroup>(AddressGroup::form().missing(remote.as_str()));
        work.step(|batch| batch.require::<AddressGroup>(&remote));
    } else if let Some(remote) = named_text(body, "remote_address_group_id") {
        return Err(AddressGroup::form().missing(&remote));
    }
    Ok(())
}

/// Whether the groups that a rule names are there.
///
/// # Errors
/// The store failed.
pub(super) async fn has_remotes(ask: &Ask, matches: &RuleMatch) -> Result<bool, Failure> {
    if let Some(id) = &matches.remote_group_id
        && ask.app.store.get(id).await?.is_none()
    {
        return Ok(false);
    }
    match &matches.remote_address_group_id {
        Some(id) => Ok(ask.app.store.get(id).await?.is_some()),
        None => Ok(true),
    }
}

/// What a body names, if it names anything.
fn named_text(body: &Body, name: &str) -> Option<String> {
    match body.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()).filter(|it| !it.is_empty()),
        other => Some(other.to_string()),
    }
}

pub(super) fn bad(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

pub(super) fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

/// Reads a direction.
///
/// # Errors
/// It is none.
pub(super) fn direction(value: &Value) -> Result<Direction, String> {
    serde_json::from_value(value.clone()).map_err(|_| format!("{} is not in valid_values", python(value)))
}

/// A value as Neutron's messages spell it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads what a rule lets through from its body, all but the direction. What names no group stays none: [`named_text`] has it.
///
/// # Errors
/// A value that is none, by Neutron's name for it.
pub(super) fn fill(matches: &mut RuleMatch, body: &Body) -> Result<(), Failure> {
    if let Some(value) = body.get("ethertype") {
        matches.ethertype = match value.as_str() {
            Some(it) if it.eq_ignore_ascii_case("ipv4") => Ethertype::IPv4,
            Some(it) if it.eq_ignore_ascii_case("ipv6") => Ethertype::IPv6,
            _ => {
                let kind = python(value);
                let text = format!("Security group rule for ethertype '{kind}' not supported. Allowed values are ['IPv4', 'IPv6'].");
                return Err(bad("SecurityGroupRuleInvalidEtherType", text));
            }
        };
    }
    matches.protocol = protocol(body.get("protocol").unwrap_or(&Value::Null))?;
    matches.port_range_min = port(body.get("port_range_min").unwrap_or(&Value::Null))?;
    matches.port_range_max = port(body.get("port_range_max").unwrap_or(&Value::Null))?;
    matches.remote_ip_prefix = match body.get("remote_ip_prefix") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(value) => {
            let found = value.as_str().and_then(prefix);
            Some(found.ok_or_else(|| bad("InvalidCIDR", format!("Invalid CIDR {} given as IP prefix.", python(value))))?)
        }
    };
    matches.remote_group_id = named_text(body, "remote_group_id").and_then(|it| Id::parse(&it));
    matches.remote_address_group_id = named_text(body, "remote_address_group_id").and_then(|it| Id::parse(&it));
    Ok(())
}

fn protocol(value: &Value) -> Result<Option<String>, Failure> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.to_lowercase(),
        Value::Number(number) => number.to_string(),
        other => other.to_string(),
    };
    if text == "any" {
        return Ok(None);
    }
    // A number is stored without leading zeros or a sign.
    if PROTOCOLS.iter().any(|(name, _)| *name == text) {
        return Ok(Some(text));
    }
    match protocol_number(&text) {
        Some(number) => Ok(Some(number.to_string())),
        None => {
            let names: Vec<String> = PROTOCOLS.iter().map(|(name, _)| format!("'{name}'")).collect();
            let text = format!(
                "Security group rule protocol {} not supported. Only protocol values (None, 'any', {}) and integer representations [0 to \
                 255] are supported.",
                python(value),
                names.join(", ")
            );
            Err(bad("SecurityGroupRuleInvalidProtocol", text))
        }
    }
}

fn port(value: &Value) -> Result<Option<u16>, Failure> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_u64().and_then(|it| u16::try_from(it).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.map(Some).ok_or_else(|| bad("SecurityGroupInvalidPortValue", format!("Invalid value for port {}", python(value))))
}

/// A fault by Neutron's name and in its words.
pub(super) fn refused(fault: &Fault) -> Failure {
    let icmp = |field: &str, attr: &str, value: u16| {
        bad("SecurityGroupInvalidIcmpValue", format!("Invalid value for ICMP {field} ({attr}) {value}. It must be 0 to 255."))
    };
    match fault {
        Fault::PortsWithoutProtocol => bad("SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given."),
        Fault::PortZero => bad("SecurityGroupInvalidPortValue", "Invalid value for port 0"),
        Fault::PortRange => bad("SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max"),
        Fault::PortsOf(number) => {
            let text =
                format!("Ports cannot be specified for protocol {number}. Ports are only supported for DCCP, SCTP, TCP, UDP, UDPLITE.");
            bad("SecurityGroupInvalidProtocolForPort", text)
        }
        Fault::IcmpType(value) => icmp("type", "port_range_min", *value),
        Fault::IcmpCode(value) => icmp("code", "port_range_max", *value),
        Fault::IcmpCodeAlone(value) => {
            let text = format!("ICMP code (port-range-max) {value} is provided but ICMP type (port-range-min) is missing.");
            bad("SecurityGroupMissingIcmpType", text)
        }
        Fault::PrefixOf(ethertype, prefix) => {
            let text = format!("Conflicting value ethertype {} for CIDR {prefix}", ethertype.as_str());
            bad("SecurityGroupRuleParameterConflict", text)
        }
        Fault::ProtocolOf(ethertype, protocol) => {
            let text = format!("Invalid ethertype {} for protocol {protocol}.", ethertype.as_str());
            bad("SecurityGroupEthertypeConflictWithProtocol", text)
        }
        Fault::ManyRemotes => {
            let text = "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.";
            bad("SecurityGroupMultipleRemoteEntites", text)
        }
    }
}
