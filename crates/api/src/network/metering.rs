//! `/v2.0/metering`: labels and rules by which traffic is counted.

use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use ipnet::IpNet;
use model::identity::Project;
use model::net::metering::{MeteringLabel, MeteringLabelDesired, MeteringLabelRule, MeteringLabelRuleDesired};
use model::net::security::Direction;
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::{Query, Term};

use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use super::policies::{of_project, owned};
use super::{Ask, Extension, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("metering", "Neutron Metering", "Neutron Metering extension.", "2013-06-12T10:00:00-00:00"),
    extension(
        "metering_source_and_destination_fields",
        "Metering source and destination filters",
        "Metering source and destination filters extension.",
        "2020-08-21T08:12:00Z",
    ),
];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<MeteringLabel>().merge(noun_routes::<MeteringLabelRule>())
}

static LABEL: LazyLock<Form<MeteringLabel>> = LazyLock::new(|| {
    Form::new("metering_label", "metering_labels", "metering/metering-labels", "MeteringLabelNotFound", "Metering label")
        .not_found_says(|id| format!("Metering label '{id}' does not exist."))
        .named()
        .no_update()
        .fields(vec![
            field("description", |it: &Object<MeteringLabel>, _: &()| json!(it.desired.description))
                .set_once(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
                .sort(),
            field("shared", |it: &Object<MeteringLabel>, _| json!(it.desired.shared))
                .set_once(|it, v| put(&mut it.desired.shared, value::boolean(v)))
                .sort(),
        ])
});

impl Noun for MeteringLabel {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &LABEL
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<MeteringLabelDesired, Failure> {
        Ok(MeteringLabelDesired::default())
    }

    async fn delete(work: &mut Work<'_>, label: &Object<Self>) -> Result<(), Failure> {
        let rules = Query::<MeteringLabelRule>::new().column("metering_label_id", [label.id.to_string()]);
        for rule in work.ask.app.store.list(&rules).await? {
            work.step(|batch| batch.remove(&rule));
        }
        work.step(|batch| batch.remove(label).unless_referenced::<MeteringLabelRule>("metering_label_id", label.id.as_str()));
        Ok(())
    }
}

fn prefix(v: &Value) -> Result<Option<IpNet>, String> {
    let Some(text) = v.as_str().filter(|it| !it.is_empty()) else {
        return if v.is_null() || v == "" { Ok(None) } else { Err(format!("{v} is not a string")) };
    };
    let parsed = text.parse().ok().or_else(|| text.parse().ok().map(|it: std::net::IpAddr| IpNet::from(it)));
    parsed.map(Some).ok_or_else(|| format!("'{text}' is not a valid IP subnet"))
}

static RULE: LazyLock<Form<MeteringLabelRule>> = LazyLock::new(|| {
    Form::new(
        "metering_label_rule",
        "metering_label_rules",
        "metering/metering-label-rules",
        "MeteringLabelRuleNotFound",
        "Metering label rule",
    )
    .not_found_says(|id| format!("Metering label rule '{id}' does not exist."))
    .owner_hidden()
    .no_update()
    .fields(vec![
        field("metering_label_id", |it: &Object<MeteringLabelRule>, _: &()| json!(it.desired.metering_label_id))
            .set_once(|it, v| put(&mut it.desired.metering_label_id, value::id(v)))
            .required()
            .sort()
            .column("metering_label_id"),
        field("direction", |it: &Object<MeteringLabelRule>, _| json!(it.desired.direction))
            .set_once(|it, v| {
                let read = serde_json::from_value::<Direction>(v.clone());
                put(&mut it.desired.direction, read.map_err(|_| format!("{v} is not in ['ingress', 'egress']")))
            })
            .required()
            .sort(),
        field("excluded", |it: &Object<MeteringLabelRule>, _| json!(it.desired.excluded))
            .set_once(|it, v| put(&mut it.desired.excluded, value::boolean(v)))
            .sort(),
        field("remote_ip_prefix", |it: &Object<MeteringLabelRule>, _| json!(it.desired.remote_ip_prefix))
            .set_once(|it, v| put(&mut it.desired.remote_ip_prefix, prefix(v)))
            .sort(),
        field("source_ip_prefix", |it: &Object<MeteringLabelRule>, _| json!(it.desired.source_ip_prefix))
            .set_once(|it, v| put(&mut it.desired.source_ip_prefix, prefix(v)))
            .sort(),
        field("destination_ip_prefix", |it: &Object<MeteringLabelRule>, _| json!(it.desired.destination_ip_prefix))
            .set_once(|it, v| put(&mut it.desired.destination_ip_prefix, prefix(v)))
            .sort(),
    ])
});

impl Noun for MeteringLabelRule {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &RULE
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<MeteringLabelRuleDesired, Failure> {
        Ok(MeteringLabelRuleDesired {
            metering_label_id: Id::random(),
            direction: Direction::Ingress,
            excluded: false,
            remote_ip_prefix: None,
            source_ip_prefix: None,
            destination_ip_prefix: None,
        })
    }

    /// It belongs to the project of its label.
    fn target(rule: &Object<Self>, (): &()) -> Target {
        let mut target = Map::new();
        owned(rule.project_id.as_ref(), &mut target, ["ext_parent:project_id", "ext_parent:tenant_id"]);
        if let Value::Object(own) = of_project(rule.project_id.as_ref()) {
            target.extend(own);
        }
        Value::Object(target)
    }

    async fn seen(_: &Ask) -> Result<Vec<Term>, Failure> {
        Ok(Vec::new())
    }

    async fn admit(work: &mut Work<'_>, rule: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        rule.project_id = named::<MeteringLabel>(work.ask, &rule.desired.metering_label_id).await?.project_id;
        Ok(())
    }

    async fn create(work: &mut Work<'_>, rule: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let it = &rule.desired;
        let bad = |text: &str| Failure::named(StatusCode::BAD_REQUEST, "Invalid", text);
        match (it.remote_ip_prefix.is_some(), it.source_ip_prefix.is_some() || it.destination_ip_prefix.is_some()) {
            (true, true) => {
                return Err(bad("Cannot use 'remote-ip-prefix' in conjunction with 'source-ip-prefix' or 'destination-ip-prefix'."));
            }
            (false, false) => {
                return Err(bad(
                    "You must define at least one of the following parameters 'remote_ip_prefix', or 'source_ip_prefix' or 'destination_ip_prefix'.",
                ));
            }
            _ => {}
        }
        let label = it.metering_label_id.to_string();
        let others = work.ask.app.store.list(&Query::<Self>::new().column("metering_label_id", [label])).await?;
        let overlap = |a: Option<IpNet>, b: Option<IpNet>| match (a, b) {
            (Some(a), Some(b)) => (a.contains(&b.trunc().network()) || b.contains(&a.trunc().network())).then_some(b),
            _ => None,
        };
        for other in others.iter().chain(work.made()).filter(|has| {
            let has = &has.desired;
            has.direction == it.direction && has.excluded == it.excluded && has.metering_label_id == it.metering_label_id
        }) {
            let has = &other.desired;
            let met = overlap(has.remote_ip_prefix, it.remote_ip_prefix).or_else(|| {
                let source = overlap(has.source_ip_prefix, it.source_ip_prefix);
                source.filter(|_| has.destination_ip_prefix.is_none() && it.destination_ip_prefix.is_none())
            });
            if let Some(met) = met {
                let text = format!("Metering label rule with remote_ip_prefix '{met}' overlaps another.");
                return Err(Failure::named(StatusCode::CONFLICT, "MeteringLabelRuleOverlaps", text));
            }
        }
        // Two that overlap cannot be made at the same time: each changes the label they were compared under.
        work.step(|batch| batch.touch::<MeteringLabel>(&rule.desired.metering_label_id));
        Ok(())
    }
}
