//! `/v2.0/qos`: policies, and the rules within each.

use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::Project;
use model::net::access::RbacAction;
use model::net::l3::{self, FloatingIp};
use model::net::qos::{PolicyRule, QosDirection, QosPolicy, QosPolicyDesired, QosRuleType};
use model::net::{Network, Port};
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, Shares, Work, field, find, named, shared_to, tagged_routes};
use super::policies::{of_project, owned};
use super::{Ask, Extension, access, extension};
use crate::App;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::resource::{parse, put, rooted, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("qos", "Quality of Service", "The Quality of Service extension.", "2015-06-08T10:00:00-00:00"),
    extension("qos-default", "QoS default policy", "Expose the QoS default policy per project", "2017-041-06T10:00:00-00:00"),
    extension(
        "qos-bw-limit-direction",
        "Direction for QoS bandwidth limit rule",
        "Allow to configure QoS bandwidth limit rule with specific direction: ingress or egress",
        "2017-04-10T10:00:00-00:00",
    ),
    extension(
        "qos-bw-minimum-ingress",
        "Ingress direction for QoS minimum bandwidth rule",
        "Allow to configure QoS minumum bandwidth rule with ingress direction.",
        "2018-07-09T10:00:00-00:00",
    ),
    extension("qos-pps", "QoS packet rate limit rule", "Allow to configure QoS packet rate limit rule.", "2021-06-09T20:00:00-00:00"),
    extension(
        "qos-pps-minimum",
        "QoS minimum packet rate rule",
        "Allow to configure QoS minimum packet rate rule.",
        "2021-07-06T20:00:00-00:00",
    ),
    extension(
        "qos-pps-minimum-rule-alias",
        "Ability to directly alter the minimum packet rate rule of the qos policy",
        "API to enable GET, PUT and DELETE operations on QoS minimum packet rate rule without specifying policy ID",
        "2021-11-04T10:00:00-00:00",
    ),
    extension(
        "qos-rule-type-details",
        "Details of QoS rule types",
        "Expose details about QoS rule types supported by loaded backend drivers",
        "2017-06-22T10:00:00-00:00",
    ),
    extension("qos-rule-type-filter", "QoS rule type filter", "Allow filtering QoS rule types", "2023-03-06T10:00:00-00:00"),
    extension(
        "qos-rules-alias",
        "Ability to directly alter the qos rules of a policy",
        "API to enable GET, PUT and DELETE operations on QoS policy rules without specifying policy ID",
        "2018-10-07T10:00:00-00:00",
    ),
];

/// Marks that can be set: the class selectors and the assured and expedited classes. Source: `neutron_lib.constants.VALID_DSCP_MARKS`.
const DSCP_MARKS: [u32; 22] = [0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 44, 46, 48, 56];
/// Greatest value of a rule.
const MOST: u32 = i32::MAX as u32;

pub(super) fn routes() -> Router<Arc<App>> {
    let mut routes = tagged_routes::<QosPolicy>().route("/qos/rule-types", get(rule_types)).route("/qos/rule-types/{type}", get(rule_type));
    for of in &RULES {
        let (many, one) = (format!("/qos/policies/{{id}}/{}", of.plural), format!("/qos/policies/{{id}}/{}/{{rule}}", of.plural));
        routes = routes
            .route(
                &many,
                get(async |ask: Ask, Path(id): Path<String>| list_rules(ask, &id, of).await)
                    .post(async |ask: Ask, Path(id): Path<String>, body: Bytes| create_rule(ask, &id, of, &body).await),
            )
            .route(
                &one,
                get(async |ask: Ask, Path((id, rule)): Path<(String, String)>| show_rule(ask, Some(&id), &rule, of, "policy").await)
                    .put(async |ask: Ask, Path((id, rule)): Path<(String, String)>, body: Bytes| {
                        update_rule(ask, Some(&id), &rule, of, "policy", &body).await
                    })
                    .delete(async |ask: Ask, Path((id, rule)): Path<(String, String)>| {
                        delete_rule(ask, Some(&id), &rule, of, "policy").await
                    }),
            );
        if of.has_alias {
            routes = routes.route(
                &format!("/qos/alias_{}/{{rule}}", of.plural),
                get(async |ask: Ask, Path(rule): Path<String>| show_rule(ask, None, &rule, of, "alias").await)
                    .put(async |ask: Ask, Path(rule): Path<String>, body: Bytes| update_rule(ask, None, &rule, of, "alias", &body).await)
                    .delete(async |ask: Ask, Path(rule): Path<String>| delete_rule(ask, None, &rule, of, "alias").await),
            );
        }
    }
    routes
}

/// What is read beside QoS policies.
#[derive(Default)]
pub(crate) struct Around {
    shares: Arc<Shares>,
    project: Option<Id<Project>>,
}

static FORM: LazyLock<Form<QosPolicy>> = LazyLock::new(|| {
    Form::new("policy", "policies", "qos/policies", "QosPolicyNotFound", "QoS policy").shareable("qos_policy").standard().fields(vec![
        field("shared", |it: &Object<QosPolicy>, around: &Around| json!(around.shares.is_shared(it.id.as_str(), around.project.as_ref())))
            .set(|_, v| value::boolean(v).map(drop))
            .free_default()
            .filter(),
        field("is_default", |it: &Object<QosPolicy>, _| json!(it.desired.is_default))
            .set(|it, v| put(&mut it.desired.is_default, value::boolean(v)))
            .filter(),
        field("rules", |it: &Object<QosPolicy>, _| {
            let shown = |rule: &PolicyRule| {
                let mut shown = rule_shown(rule);
                shown.insert("qos_policy_id".into(), json!(it.id));
                shown.insert("type".into(), json!(rule.rule_type.as_str()));
                Value::Object(shown)
            };
            it.desired.rules.iter().map(shown).collect()
        }),
    ])
});

impl Noun for QosPolicy {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<QosPolicyDesired, Failure> {
        Ok(QosPolicyDesired::default())
    }

    async fn around(ask: &Ask, _: &[Object<Self>]) -> Result<Around, Failure> {
        Ok(Around { shares: ask.shares().await?, project: ask.caller.project_id.clone() })
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        shared_to(object, &around.shares, around.project.as_ref())
    }

    async fn create(work: &mut Work<'_>, policy: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if !body.contains_key("name") {
            return Err(Failure::BadRequest("Failed to parse request. Required attribute 'name' not specified".into()));
        }
        if policy.desired.is_default {
            hold_default(work, policy);
        }
        access::share_at_creation(work, "qos_policy", policy, body)
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        match (before.desired.is_default, after.desired.is_default) {
            (false, true) => hold_default(work, after),
            (true, false) => free_default(work, before),
            _ => {}
        }
        let Some(wanted) = body.get("shared") else { return Ok(()) };
        let is_shared = work.ask.shares().await?.is_shared(before.id.as_str(), None);
        match (is_shared, value::boolean(wanted) == Ok(true)) {
            (false, true) => {
                access::share(work, "qos_policy", before, RbacAction::AccessAsShared, None);
            }
            (true, false) => {
                let text = format!("Unable to reconfigure sharing settings for network {}. Multiple tenants are using it.", before.name);
                let in_use = Failure::named(StatusCode::CONFLICT, "InvalidSharedSetting", text);
                access::unshare(work, before, RbacAction::AccessAsShared, in_use).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, policy: &Object<Self>) -> Result<(), Failure> {
        let in_use = |what: &str| {
            let text = format!("QoS Policy {} is used by {what}.", policy.id);
            Failure::named(StatusCode::CONFLICT, "QosPolicyInUse", text)
        };
        let store = &work.ask.app.store;
        let id = policy.id.to_string();
        if let Some(network) = store.list_few(&Query::<Network>::new().column("qos_policy_id", [id.clone()]).limit(1)).await?.first() {
            return Err(in_use(&format!("network {}", network.id)));
        }
        if let Some(port) = store.list_few(&Query::<Port>::new().column("qos_policy_id", [id.clone()]).limit(1)).await?.first() {
            return Err(in_use(&format!("port {}", port.id)));
        }
        work.referenced_means::<Network>("qos_policy_id", in_use("a network"));
        work.referenced_means::<Port>("qos_policy_id", in_use("a port"));
        work.referenced_means::<l3::Router>("qos_policy_id", in_use("a router"));
        work.referenced_means::<FloatingIp>("qos_policy_id", in_use("a floating IP"));
        if policy.desired.is_default {
            free_default(work, policy);
        }
        let free = |batch: store::Batch<store::Wishes>| {
            batch
                .unless_referenced_by_living::<Network>("qos_policy_id", &id)
                .unless_referenced_by_living::<Port>("qos_policy_id", &id)
                .unless_referenced::<l3::Router>("qos_policy_id", &id)
                .unless_referenced::<FloatingIp>("qos_policy_id", &id)
                .remove(policy)
        };
        work.step(free);
        access::unshare_all(work, policy).await
    }
}

/// Where it is written which policy is a project's default.
fn default_key(policy: &Object<QosPolicy>) -> String {
    policy.project_id.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn hold_default(work: &mut Work<'_>, policy: &Object<QosPolicy>) {
    let key = default_key(policy);
    let text = format!("A default QoS policy exists for project {key}.");
    work.taken_means("qos-default", Failure::named(StatusCode::CONFLICT, "QoSPolicyDefaultAlreadyExists", text));
    work.step(|batch| batch.hold("qos-default", &key, policy.id.as_str()));
}

fn free_default(work: &mut Work<'_>, policy: &Object<QosPolicy>) {
    work.step(|batch| batch.free("qos-default", &default_key(policy)));
}

/// The default QoS policy of a project, if it has one.
///
/// # Errors
/// The store failed.
pub(super) async fn default_of(ask: &Ask, project: &Id<Project>) -> Result<Option<Id<QosPolicy>>, Failure> {
    Ok(ask.app.store.allocation("qos-default", project.as_str()).await?.and_then(|held| Id::parse(&held.holder)))
}

/// Checks that a QoS policy something is to have is there for the caller, and keeps it from being removed meanwhile.
///
/// # Errors
/// There is none for the caller.
pub(super) async fn used(work: &mut Work<'_>, policy: Option<&Id<QosPolicy>>) -> Result<(), Failure> {
    if let Some(id) = policy {
        named::<QosPolicy>(work.ask, id).await?;
        work.gone_means::<QosPolicy>(QosPolicy::form().missing(id.as_str()));
        work.step(|batch| batch.require(id));
    }
    Ok(())
}

/// What rules of one type are like.
struct RuleForm {
    rule_type: QosRuleType,
    singular: &'static str,
    plural: &'static str,
    /// What the value is called.
    value: &'static str,
    /// What the burst is called, of limits.
    burst: Option<&'static str>,
    directions: &'static [QosDirection],
    /// Whether `/qos/alias_…` leads to it.
    has_alias: bool,
}

const ONE_WAY: &[QosDirection] = &[QosDirection::Ingress, QosDirection::Egress];
const ANY_WAY: &[QosDirection] = &[QosDirection::Any, QosDirection::Ingress, QosDirection::Egress];

static RULES: [RuleForm; 5] = [
    RuleForm {
        rule_type: QosRuleType::BandwidthLimit,
        singular: "bandwidth_limit_rule",
        plural: "bandwidth_limit_rules",
        value: "max_kbps",
        burst: Some("max_burst_kbps"),
        directions: ONE_WAY,
        has_alias: true,
    },
    RuleForm {
        rule_type: QosRuleType::DscpMarking,
        singular: "dscp_marking_rule",
        plural: "dscp_marking_rules",
        value: "dscp_mark",
        burst: None,
        directions: &[],
        has_alias: true,
    },
    RuleForm {
        rule_type: QosRuleType::MinimumBandwidth,
        singular: "minimum_bandwidth_rule",
        plural: "minimum_bandwidth_rules",
        value: "min_kbps",
        burst: None,
        directions: ONE_WAY,
        has_alias: true,
    },
    RuleForm {
        rule_type: QosRuleType::PacketRateLimit,
        singular: "packet_rate_limit_rule",
        plural: "packet_rate_limit_rules",
        value: "max_kpps",
        burst: Some("max_burst_kpps"),
        directions: ONE_WAY,
        has_alias: false,
    },
    RuleForm {
        rule_type: QosRuleType::MinimumPacketRate,
        singular: "minimum_packet_rate_rule",
        plural: "minimum_packet_rate_rules",
        value: "min_kpps",
        burst: None,
        directions: ANY_WAY,
        has_alias: true,
    },
];

fn form_of(rule_type: QosRuleType) -> &'static RuleForm {
    let [bandwidth, dscp, minimum, packets, least] = &RULES;
    match rule_type {
        QosRuleType::BandwidthLimit => bandwidth,
        QosRuleType::DscpMarking => dscp,
        QosRuleType::MinimumBandwidth => minimum,
        QosRuleType::PacketRateLimit => packets,
        QosRuleType::MinimumPacketRate => least,
    }
}

fn rule_shown(rule: &PolicyRule) -> Map<String, Value> {
    let form = form_of(rule.rule_type);
    let mut shown = Map::new();
    shown.insert(form.value.into(), json!(rule.value));
    if let Some(name) = form.burst {
        shown.insert(name.into(), json!(rule.burst));
    }
    if let Some(direction) = rule.direction {
        shown.insert("direction".into(), json!(direction.as_str()));
    }
    shown.insert("id".into(), json!(rule.id));
    shown
}

impl RuleForm {
    fn bad(name: &str, why: &str) -> Failure {
        Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", format!("Invalid input for {name}. Reason: {why}."))
    }

    /// Writes a body's values into a rule.
    fn write(&self, rule: &mut PolicyRule, body: &Body) -> Result<(), Failure> {
        for (name, v) in body {
            let number = || {
                let number = value::number(v, 0, i64::from(MOST)).map_err(|why| Self::bad(name, &why))?;
                u32::try_from(number).map_err(|_| Self::bad(name, "it is too great"))
            };
            if name == self.value {
                rule.value = number()?;
                if self.rule_type == QosRuleType::DscpMarking && !DSCP_MARKS.contains(&rule.value) {
                    return Err(Self::bad(name, &format!("{} is not in valid_values", rule.value)));
                }
            } else if Some(name.as_str()) == self.burst {
                rule.burst = number()?;
            } else if name == "direction" && !self.directions.is_empty() {
                let wanted = self.directions.iter().find(|it| v == it.as_str());
                rule.direction = Some(*wanted.ok_or_else(|| {
                    let all: Vec<&str> = self.directions.iter().map(|it| it.as_str()).collect();
                    Self::bad(name, &format!("{v} is not in {all:?}"))
                })?);
            } else {
                return Err(Failure::BadRequest(format!("Unrecognized attribute(s) '{name}'")));
            }
        }
        Ok(())
    }
}

/// Holds a rule against the others of its policy. Source: `neutron/objects/qos/qos_policy_validator.py`.
fn check(policy: &Object<QosPolicy>, rule: &PolicyRule) -> Result<(), Failure> {
    let clash = |text: String, kind: &'static str| Err(Failure::named(StatusCode::CONFLICT, kind, text));
    for has in policy.desired.rules.iter().filter(|has| has.id != rule.id) {
        let parameter = |value: &str, existing: &str| {
            let text = format!(
                "Unable to add the rule with value {value} to the policy {} as the existing rule of type {} has value {existing}.",
                policy.id,
                has.rule_type.as_str()
            );
            clash(text, "QoSRuleParameterConflict")
        };
        match (rule.rule_type, has.rule_type) {
            (QosRuleType::MinimumBandwidth, QosRuleType::BandwidthLimit) if has.value < rule.value => {
                return parameter(&rule.value.to_string(), &has.value.to_string());
            }
            (QosRuleType::BandwidthLimit, QosRuleType::MinimumBandwidth) if has.value > rule.value => {
                return parameter(&rule.value.to_string(), &has.value.to_string());
            }
            (new, old) if new == old && rule.direction == has.direction => {
                let text =
                    format!("Rule {} conflicts with rule {} which already exists in QoS Policy {}.", new.as_str(), has.id, policy.id);
                return clash(text, "QoSRulesConflict");
            }
            (QosRuleType::MinimumPacketRate, QosRuleType::MinimumPacketRate)
                if (rule.direction == Some(QosDirection::Any)) != (has.direction == Some(QosDirection::Any)) =>
            {
                let way = |it: Option<QosDirection>| it.map_or("", QosDirection::as_str);
                return parameter(way(rule.direction), way(has.direction));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What rules of access see of a rule: whose its policy is.
fn target(policy: &Object<QosPolicy>) -> Target {
    let mut target = Map::new();
    owned(policy.project_id.as_ref(), &mut target, ["ext_parent:project_id", "ext_parent:tenant_id"]);
    if let Value::Object(own) = of_project(policy.project_id.as_ref()) {
        target.extend(own);
    }
    Value::Object(target)
}

fn no_rule(policy: &str, rule: &str) -> Failure {
    let text = format!("QoS rule {rule} for policy {policy} could not be found.");
    Failure::named(StatusCode::NOT_FOUND, "QosRuleNotFound", text)
}

/// The policy of that id, or that in which the rule is, and the rule's place there.
async fn place(ask: &Ask, policy: Option<&str>, rule: &str, of: &RuleForm) -> Result<(Object<QosPolicy>, PolicyRule), Failure> {
    let policy = match policy {
        Some(id) => find::<QosPolicy>(ask, id).await?.0,
        None => {
            let found = ask.app.store.list_few(&Query::<QosPolicy>::new().linked("rules", [rule.to_owned()])).await?;
            let id = found.first().map(|it| it.id.to_string()).ok_or_else(|| no_rule("", rule))?;
            find::<QosPolicy>(ask, &id).await.map_err(|_| no_rule("", rule))?.0
        }
    };
    let found = policy.desired.rules.iter().find(|it| it.id.as_str() == rule && it.rule_type == of.rule_type).cloned();
    let found = found.ok_or_else(|| no_rule(policy.id.as_str(), rule))?;
    Ok((policy, found))
}

async fn list_rules(ask: Ask, id: &str, of: &RuleForm) -> Result<Json<Value>, Failure> {
    let (policy, _) = find::<QosPolicy>(&ask, id).await?;
    let sees = allows(&ask.app, &ask.caller, &format!("get_policy_{}", of.singular), &target(&policy));
    let fields = ask.parameters.fields();
    let filters: Vec<&(String, String)> = ask
        .parameters
        .0
        .iter()
        .filter(|(name, _)| [of.value, of.burst.unwrap_or("id"), "direction", "id"].contains(&name.as_str()))
        .collect();
    let rules = policy.desired.rules.iter().filter(|it| sees && it.rule_type == of.rule_type).map(rule_shown);
    let fits =
        |it: &Map<String, Value>| filters.iter().all(|(name, wanted)| it.get(name).is_some_and(|has| crate::resource::equals(has, wanted)));
    let shown: Vec<Value> = rules
        .filter(fits)
        .map(|mut it| {
            it.retain(|name, _| fields.is_empty() || fields.contains(name));
            Value::Object(it)
        })
        .collect();
    Ok(Json(json!({ of.plural: shown })))
}

async fn create_rule(ask: Ask, id: &str, of: &RuleForm, body: &Bytes) -> Result<Response, Failure> {
    let body = parse(body)?;
    let mut wanted = rooted(&body, of.singular)?.clone();
    super::same_owner(&mut wanted)?;
    if !wanted.contains_key(of.value) {
        return Err(Failure::BadRequest(format!("Failed to parse request. Required attribute '{}' not specified", of.value)));
    }
    let direction = (!of.directions.is_empty()).then_some(QosDirection::Egress);
    let mut rule = PolicyRule { id: Id::random(), rule_type: of.rule_type, value: 0, burst: 0, direction };
    of.write(&mut rule, &wanted)?;
    for tries in 0.. {
        let (before, _) = find::<QosPolicy>(&ask, id).await?;
        enforce(&ask.app, &ask.caller, &format!("create_policy_{}", of.singular), &target(&before))?;
        check(&before, &rule)?;
        let mut after = before.clone();
        after.desired.rules.push(rule.clone());
        let mut work = Work::new(&ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    Ok((StatusCode::CREATED, Json(json!({ of.singular: rule_shown(&rule) }))).into_response())
}

async fn show_rule(ask: Ask, policy: Option<&str>, rule: &str, of: &RuleForm, by: &str) -> Result<Json<Value>, Failure> {
    let (policy, rule) = place(&ask, policy, rule, of).await?;
    if !allows(&ask.app, &ask.caller, &format!("get_{by}_{}", of.singular), &target(&policy)) {
        return Err(no_rule(policy.id.as_str(), rule.id.as_str()));
    }
    let fields = ask.parameters.fields();
    let mut shown = rule_shown(&rule);
    shown.retain(|name, _| fields.is_empty() || fields.contains(name));
    Ok(Json(json!({ of.singular: shown })))
}

async fn update_rule(ask: Ask, policy: Option<&str>, rule: &str, of: &RuleForm, by: &str, body: &Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(body)?;
    let wanted = rooted(&body, of.singular)?;
    for tries in 0.. {
        let (before, mut changed) = place(&ask, policy, rule, of).await?;
        enforce(&ask.app, &ask.caller, &format!("update_{by}_{}", of.singular), &target(&before))?;
        of.write(&mut changed, wanted)?;
        check(&before, &changed)?;
        let mut after = before.clone();
        for it in after.desired.rules.iter_mut().filter(|it| it.id == changed.id) {
            *it = changed.clone();
        }
        let mut work = Work::new(&ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    let (_, rule) = place(&ask, policy, rule, of).await?;
    Ok(Json(json!({ of.singular: rule_shown(&rule) })))
}

async fn delete_rule(ask: Ask, policy: Option<&str>, rule: &str, of: &RuleForm, by: &str) -> Result<StatusCode, Failure> {
    for tries in 0.. {
        let (before, gone) = place(&ask, policy, rule, of).await?;
        enforce(&ask.app, &ask.caller, &format!("delete_{by}_{}", of.singular), &target(&before))?;
        let mut after = before.clone();
        after.desired.rules.retain(|it| it.id != gone.id);
        let mut work = Work::new(&ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn rule_types(ask: Ask) -> Result<Json<Value>, Failure> {
    enforce(&ask.app, &ask.caller, "get_rule_type", &Value::Null)?;
    let shown: Vec<Value> = QosRuleType::ALL.iter().map(|it| json!({"type": it.as_str()})).collect();
    Ok(Json(json!({ "rule_types": shown })))
}

/// GET: what a type of rules can say.
async fn rule_type(ask: Ask, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    enforce(&ask.app, &ask.caller, "get_rule_type", &Value::Null)?;
    let missing = || Failure::named(StatusCode::NOT_FOUND, "HTTPNotFound", "The resource could not be found.");
    let of = RULES.iter().find(|it| it.rule_type.as_str() == name).ok_or_else(missing)?;
    let range = |name: &str| json!({"parameter_name": name, "parameter_type": "range", "parameter_values": {"start": 0, "end": MOST}});
    let mut parameters = vec![match of.rule_type {
        QosRuleType::DscpMarking => json!({"parameter_name": of.value, "parameter_type": "choices", "parameter_values": DSCP_MARKS}),
        _ => range(of.value),
    }];
    parameters.extend(of.burst.map(range));
    if !of.directions.is_empty() {
        let all: Vec<&str> = of.directions.iter().map(|it| it.as_str()).collect();
        parameters.push(json!({"parameter_name": "direction", "parameter_type": "choices", "parameter_values": all}));
    }
    Ok(Json(json!({"rule_type": {"type": name, "drivers": [{"name": "cofferdam", "supported_parameters": parameters}]}})))
}
