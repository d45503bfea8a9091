//! What new security groups begin with: `/v2.0/default-security-group-rules`, and `/v2.0/security-groups-default-statefulness`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post as on_post;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::Project;
use model::net::security::{
    DefaultSecurityGroupRule, DefaultSecurityGroupRuleDesired, DefaultStatefulness, DefaultStatefulnessDesired, Direction, Ethertype,
    RuleMatch,
};
use model::{Id, Object};
use network::rules::{check, make_canonical, normal_form};
use serde_json::{Value, json};
use store::{Batch, Query};

use super::noun::{Body, Form, Noun, Work, field, routes as noun_routes, value_of};
use super::policies::of_project;
use super::security_group_rules::{bad, conflict, fill, later, matching, refused};
use super::{Ask, Extension, extension, owner};
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::race::RACES;
use crate::resource::{parse, put, rooted, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "security-groups-default-rules",
        "Default rules for security groups",
        "Configure set of security group rules used as default rules for every new security group",
        "2022-12-19T10:00:00-00:00",
    ),
    extension(
        "security-groups-default-statefulness",
        "Security Groups Default Statefulness",
        "Allows configuring the default value of the 'stateful' attribute for new security groups, on a per-project or system-wide basis",
        "2026-04-13T00:00:00-00:00",
    ),
];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<DefaultSecurityGroupRule>()
        .merge(noun_routes::<DefaultStatefulness>())
        .route("/security-groups-default-statefulness", on_post(say_statefulness))
}

/// How the template says that a rule's remote group is the new group itself.
const PARENT: &str = "PARENT";
/// The pool that says whether the first rules of the template were made.
const SEED: &str = "sg-template";
/// Where the rules of the template hold what they say: those of default groups, those of all others.
const POOLS: [&str; 2] = ["sgr-template:default", "sgr-template:other"];
/// Where projects (or `*`) hold that they have their say about statefulness; the holder is what says it.
const STATEFUL: &str = "sg-stateful";

/// The pools of a template rule.
fn pools(rule: &DefaultSecurityGroupRuleDesired) -> impl Iterator<Item = &'static str> {
    let used = [rule.used_in_default_sg, rule.used_in_non_default_sg];
    POOLS.into_iter().zip(used).filter(|(_, used)| *used).map(|(pool, _)| pool)
}

fn normal(rule: &DefaultSecurityGroupRuleDesired) -> String {
    format!("{}{}", if rule.remote_is_parent { PARENT } else { "" }, normal_form(&rule.matches))
}

fn remote_shown(rule: &Object<DefaultSecurityGroupRule>) -> Value {
    if rule.desired.remote_is_parent { json!(PARENT) } else { json!(rule.desired.matches.remote_group_id) }
}

static FORM: LazyLock<Form<DefaultSecurityGroupRule>> = LazyLock::new(|| {
    type It = Object<DefaultSecurityGroupRule>;
    let form = Form::new(
        "default_security_group_rule",
        "default_security_group_rules",
        "default-security-group-rules",
        "DefaultSecurityGroupRuleNotFound",
        "Default Security Group rule",
    );
    form.not_found_says(|id| format!("Default Security Group rule {id} does not exist"))
        .ownerless()
        .no_bulk()
        .no_update()
        .fields(matching!(DefaultSecurityGroupRule, ()))
        .fields(vec![
            later("remote_group_id", |it: &It, (): &()| remote_shown(it)),
            later("remote_address_group_id", |it: &It, (): &()| json!(it.desired.matches.remote_address_group_id)),
            field("description", |it: &It, (): &()| json!(it.desired.description))
                .set_once(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
                .filter(),
            field("used_in_default_sg", |it: &It, (): &()| json!(it.desired.used_in_default_sg))
                .set_once(|it, v| put(&mut it.desired.used_in_default_sg, value::boolean(v)))
                .required()
                .filter(),
            field("used_in_non_default_sg", |it: &It, (): &()| json!(it.desired.used_in_non_default_sg))
                .set_once(|it, v| put(&mut it.desired.used_in_non_default_sg, value::boolean(v)))
                .required()
                .filter(),
        ])
});

impl Noun for DefaultSecurityGroupRule {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<DefaultSecurityGroupRuleDesired, Failure> {
        Ok(DefaultSecurityGroupRuleDesired {
            // The direction is required: the body has it.
            matches: RuleMatch::all(Direction::Ingress, Ethertype::IPv4),
            remote_is_parent: false,
            description: String::new(),
            used_in_default_sg: false,
            used_in_non_default_sg: false,
        })
    }

    async fn before_list(ask: &Ask) -> Result<(), Failure> {
        seed(ask).await
    }

    async fn admit(_: &mut Work<'_>, rule: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        fill(&mut rule.desired.matches, body)
    }

    async fn create(work: &mut Work<'_>, rule: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let ask = work.ask;
        seed(ask).await?;
        let it = &mut rule.desired;
        it.remote_is_parent = body.get("remote_group_id").and_then(Value::as_str) == Some(PARENT);
        make_canonical(&mut it.matches);
        check(&it.matches).map_err(|fault| refused(&fault))?;
        if it.remote_is_parent && (it.matches.remote_ip_prefix.is_some() || it.matches.remote_address_group_id.is_some()) {
            return Err(refused(&network::rules::Fault::ManyRemotes));
        }
        let normal = normal(it);
        for pool in pools(it) {
            if let Some(held) = ask.app.store.allocation(pool, &normal).await? {
                let text = format!("Default Security group rule already exists. Rule id is {}.", held.holder);
                return Err(conflict("DefaultSecurityGroupRuleExists", text));
            }
            work.step(|batch| batch.hold(pool, &normal, rule.id.as_str()));
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, rule: &Object<Self>) -> Result<(), Failure> {
        let normal = normal(&rule.desired);
        for pool in pools(&rule.desired) {
            work.step(|batch| batch.free(pool, &normal));
        }
        work.step(|batch| batch.remove(rule));
        Ok(())
    }
}

/// The rules that new groups begin with.
///
/// # Errors
/// The store failed.
pub(super) async fn all(ask: &Ask) -> Result<Vec<Object<DefaultSecurityGroupRule>>, Failure> {
    seed(ask).await?;
    Ok(ask.app.store.list_few(&Query::new()).await?)
}

/// Makes the rules that Neutron's template begins with, once in the life of the store: all may leave, ports of a project's default group
/// may reach one another.
async fn seed(ask: &Ask) -> Result<(), Failure> {
    let seeded = &ask.app.network.security_groups.seeded;
    if seeded.load(Ordering::Relaxed) {
        return Ok(());
    }
    for _ in 0..RACES {
        if ask.app.store.allocation(SEED, "made").await?.is_some() {
            seeded.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let mut batch = Batch::wishes().hold(SEED, "made", "template");
        for direction in [Direction::Egress, Direction::Ingress] {
            let is_egress = direction == Direction::Egress;
            for ethertype in [Ethertype::IPv4, Ethertype::IPv6] {
                let desired = DefaultSecurityGroupRuleDesired {
                    matches: RuleMatch::all(direction, ethertype),
                    remote_is_parent: !is_egress,
                    description: format!("Legacy default SG rule for {} traffic", direction.as_str()),
                    used_in_default_sg: true,
                    used_in_non_default_sg: is_egress,
                };
                let rule = Object::<DefaultSecurityGroupRule>::new(Id::random(), None, "", desired);
                let normal = normal(&rule.desired);
                batch = pools(&rule.desired).fold(batch, |batch, pool| batch.hold(pool, &normal, rule.id.as_str())).create(&rule);
            }
        }
        match ask.app.store.apply(batch).await {
            Err(error) if !error.is_race() => return Err(error.into()),
            _ => {}
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

const STATEFULNESS: &str = "security_groups_default_statefulness";

static STATEFULNESS_FORM: LazyLock<Form<DefaultStatefulness>> = LazyLock::new(|| {
    // Its collection and its things have one name: making one is read apart.
    let form = Form::new(
        "security_groups_default_statefulness",
        STATEFULNESS,
        "security-groups-default-statefulness",
        "SecurityGroupDefaultStatefulnessNotFound",
        "Security group default statefulness",
    );
    form.no_bulk().no_create().fields(vec![
        field("stateful", |it: &Object<DefaultStatefulness>, (): &()| json!(it.desired.stateful))
            .set(|it, v| put(&mut it.desired.stateful, value::boolean(v)))
            .sort(),
    ])
});

impl Noun for DefaultStatefulness {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &STATEFULNESS_FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<DefaultStatefulnessDesired, Failure> {
        Ok(DefaultStatefulnessDesired { stateful: true })
    }

    async fn delete(work: &mut Work<'_>, it: &Object<Self>) -> Result<(), Failure> {
        let whose = whose(it.project_id.as_ref());
        work.step(|batch| batch.free(STATEFUL, whose).remove(it));
        Ok(())
    }
}

fn whose(project: Option<&Id<Project>>) -> &str {
    project.map_or("*", Id::as_str)
}

/// Says for a project, or with `project_id` null for all that say nothing, whether their new groups are stateful.
async fn say_statefulness(ask: Ask, body: Bytes) -> Result<Response, Failure> {
    let body = parse(&body)?;
    let mut wanted: Body = rooted(&body, STATEFULNESS)?.clone();
    let is_for_all = ["project_id", "tenant_id"].iter().any(|it| wanted.get(*it).is_some_and(Value::is_null));
    wanted.retain(|name, value| !((name == "project_id" || name == "tenant_id") && value.is_null()));
    let project = if is_for_all { None } else { Some(owner(&ask, &mut wanted)?) };
    let stateful = match wanted.remove("stateful") {
        Some(it) => value::boolean(&it).map_err(|why| bad("HTTPBadRequest", format!("Invalid input for stateful. Reason: {why}.")))?,
        None => true,
    };
    if let Some(unknown) = wanted.keys().next() {
        return Err(Failure::BadRequest(format!("Unrecognized attribute(s) '{unknown}'")));
    }
    enforce(&ask.app, &ask.caller, "create_security_groups_default_statefulness", &of_project(project.as_ref()))?;
    let it = Object::<DefaultStatefulness>::new(Id::random(), project, "", DefaultStatefulnessDesired { stateful });
    let whose = whose(it.project_id.as_ref());
    let mut work = Work::new(&ask, RACES);
    let named = it.project_id.as_ref().map_or("system-wide", |it| it.as_str());
    let text = format!("A security group default statefulness setting already exists for project '{named}'.");
    work.taken_means(STATEFUL, conflict("SecurityGroupDefaultStatefulnessAlreadyExists", text));
    work.step(|batch| batch.hold(STATEFUL, whose, it.id.as_str()).create(&it));
    work.apply().await?;
    Ok((StatusCode::CREATED, Json(json!({ STATEFULNESS: value_of(&ask, &it, &()) }))).into_response())
}

/// Whether a project's new groups are stateful unless somebody says otherwise.
///
/// # Errors
/// The store failed.
pub(super) async fn is_stateful(ask: &Ask, project: &Id<Project>) -> Result<bool, Failure> {
    for whose in [project.as_str(), whose(None)] {
        if let Some(held) = ask.app.store.allocation(STATEFUL, whose).await?
            && let Some(id) = Id::<DefaultStatefulness>::parse(&held.holder)
            && let Some(it) = ask.app.store.get(&id).await?
        {
            return Ok(it.desired.stateful);
        }
    }
    Ok(true)
}
