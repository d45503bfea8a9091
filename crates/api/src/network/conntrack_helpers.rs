//! `/v2.0/routers/{id}/conntrack_helpers`: protocols of which a router's connection tracking is to read more than the addresses.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::Router as Routes;
use http::StatusCode;
use model::identity::Project;
use model::net::l3::{ConntrackHelper, ConntrackHelperDesired, Router};
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::Query;

use super::l3_ports::{self, bad};
use super::noun::{Body, Form, Nested, Noun, Work, field, nested_routes};
use super::policies::owned;
use super::port_forwardings::{protocol, transport_port};
use super::{Ask, Extension, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "l3-conntrack-helper",
        "L3 Conntrack helper",
        "Allow adding CT target rules for conntrack helper",
        "2019-04-04T10:00:00-00:00",
    ),
    extension(
        "expose-l3-conntrack-helper",
        "Expose CT target rules for conntrack helper",
        "Expose allow adding CT target rules for conntrack helper",
        "2019-04-04T10:00:00-00:00",
    ),
];

/// Helpers and the protocols they read, those of Linux. Source: `neutron/conf/extensions/conntrack_helper.py`.
const HELPERS: [(&str, &[&str]); 10] = [
    ("amanda", &["tcp"]),
    ("ftp", &["tcp"]),
    ("h323", &["udp", "tcp"]),
    ("irc", &["tcp"]),
    ("netbios-ns", &["udp"]),
    ("pptp", &["tcp"]),
    ("sane", &["tcp"]),
    ("sip", &["udp", "tcp"]),
    ("snmp", &["udp"]),
    ("tftp", &["udp"]),
];

pub(super) fn routes() -> Routes<Arc<App>> {
    nested_routes::<ConntrackHelper>()
}

/// One as its router shows it.
pub(super) fn in_router(it: &Object<ConntrackHelper>) -> Value {
    json!({"protocol": it.desired.protocol, "port": it.desired.port, "helper": it.desired.helper})
}

static FORM: LazyLock<Form<ConntrackHelper>> = LazyLock::new(|| {
    Form::new("conntrack_helper", "conntrack_helpers", "conntrack_helpers", "ConntrackHelperNotFound", "Conntrack Helper")
        .rule("router_conntrack_helper")
        .owner_hidden()
        .fields(vec![
            field("protocol", |it: &Object<ConntrackHelper>, _: &Around| json!(it.desired.protocol))
                .set(|it, v| put(&mut it.desired.protocol, protocol(v)))
                .required()
                .sort(),
            field("port", |it: &Object<ConntrackHelper>, _| json!(it.desired.port))
                .set(|it, v| put(&mut it.desired.port, transport_port(v)))
                .required()
                .sort(),
            field("helper", |it: &Object<ConntrackHelper>, _| json!(it.desired.helper))
                .set(|it, v| put(&mut it.desired.helper, value::text(v, 64)))
                .required()
                .sort(),
        ])
});

/// What is read beside helpers: whose their routers are.
#[derive(Default)]
pub(crate) struct Around(HashMap<Id<Router>, Option<Id<Project>>>);

impl Noun for ConntrackHelper {
    type Around = Around;

    const PARENT: Option<&'static str> = Some("router_id");

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(ask: &Ask, _: Option<&Id<Project>>) -> Result<ConntrackHelperDesired, Failure> {
        let router = ask.inside.as_deref().and_then(Id::parse);
        Ok(ConntrackHelperDesired {
            router_id: router.ok_or_else(|| Failure::Internal("a conntrack helper outside of a router".into()))?,
            protocol: String::new(),
            port: 0,
            helper: String::new(),
        })
    }

    async fn around(ask: &Ask, helpers: &[Object<Self>]) -> Result<Around, Failure> {
        let mut ids: Vec<String> = helpers.iter().map(|it| it.desired.router_id.to_string()).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Around::default());
        }
        let found = ask.app.store.list_few(&Query::<Router>::new().ids(ids)).await?;
        Ok(Around(found.into_iter().map(|it| (it.id, it.project_id)).collect()))
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        let mut out = Map::new();
        let project = around.0.get(&object.desired.router_id).and_then(Option::as_ref);
        owned(project, &mut out, ["project_id", "tenant_id"]);
        owned(project, &mut out, ["ext_parent:project_id", "ext_parent:tenant_id"]);
        Value::Object(out)
    }

    async fn create(work: &mut Work<'_>, helper: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        check(helper)?;
        let router = l3_ports::known::<Router>(work.ask, &helper.desired.router_id).await?;
        helper.project_id.clone_from(&router.project_id);
        work.gone_means::<Router>(l3_ports::no_router(&router.id));
        work.step(|batch| batch.touch(&router.id));
        hold(work, helper);
        Ok(())
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        if before.desired == after.desired {
            return Ok(());
        }
        check(after)?;
        let (pool, value) = place(before);
        work.step(|batch| batch.free(&pool, &value).touch(&before.desired.router_id));
        hold(work, after);
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, helper: &Object<Self>) -> Result<(), Failure> {
        work.step(|batch| batch.touch(&helper.desired.router_id));
        remove(work, helper);
        Ok(())
    }
}

impl Nested for ConntrackHelper {
    type Parent = Router;
}

fn check(helper: &Object<ConntrackHelper>) -> Result<(), Failure> {
    let it = &helper.desired;
    let refused = |kind, text: String| Err(Failure::named(StatusCode::BAD_REQUEST, kind, text));
    match HELPERS.iter().find(|(name, _)| *name == it.helper) {
        None => refused("ConntrackHelperNotAllowed", format!("Conntrack Helper {} is not allowed.", it.helper)),
        Some((_, protocols)) if !protocols.contains(&it.protocol.as_str()) => refused(
            "InvalidProtocolForHelper",
            format!("Conntrack Helper {} does not support: {}. Supported protocols are: {}", it.helper, it.protocol, protocols.join(", ")),
        ),
        Some(_) => Ok(()),
    }
}

/// Where it is written that a router has each helper once.
fn place(helper: &Object<ConntrackHelper>) -> (String, String) {
    let it = &helper.desired;
    (format!("conntrack:{}", it.router_id), format!("{} {} {}", it.protocol, it.port, it.helper))
}

fn hold(work: &mut Work<'_>, helper: &Object<ConntrackHelper>) {
    let (pool, value) = place(helper);
    let it = &helper.desired;
    let text = format!(
        "A duplicate conntrack helper entry with same attributes already exists, conflicting values are {{'router_id': '{}', 'protocol': '{}', \
         'port': {}, 'helper': '{}'}}",
        it.router_id, it.protocol, it.port, it.helper
    );
    work.value_taken_means(&pool, &value, bad("conntrack_helper", text));
    work.step(|batch| batch.hold(&pool, &value, helper.id.as_str()));
}

/// Removes one.
pub(super) fn remove(work: &mut Work<'_>, helper: &Object<ConntrackHelper>) {
    let (pool, value) = place(helper);
    work.step(|batch| batch.free(&pool, &value).remove(helper));
}
