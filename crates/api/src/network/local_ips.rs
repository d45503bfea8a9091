//! `/v2.0/local_ips`: addresses that every host translates for itself, and the ports that answer for them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router as Routes};
use http::StatusCode;
use model::identity::Project;
use model::net::Port;
use model::net::l3::{IpMode, LocalIp, LocalIpAssociation, LocalIpAssociationDesired, LocalIpDesired};
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::Query;

use super::agents::plain_list;
use super::floating_ips::maybe_ip;
use super::ipam::{self, WantedIp};
use super::l3_ports::{self, Purpose, bad, conflict, missing};
use super::noun::{Body, Form, Noun, Work, create, delete, field, find, named, routes as noun_routes, value_of};
use super::policies::owned;
use super::{Ask, Extension, bodies, extension, ports};
use crate::App;
use crate::enforce::allows;
use crate::failure::Failure;
use crate::resource::{parse, put, value};

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("local_ip", "Local IP", "Support Node Local Virtual IP", "2021-07-26T10:00:00-00:00")];

pub(super) fn routes() -> Routes<Arc<App>> {
    noun_routes::<LocalIp>()
        .route("/local_ips/{id}/port_associations", get(list_associations).post(associate))
        .route("/local_ips/{id}/port_associations/{port}", get(show_association).delete(dissociate))
}

static FORM: LazyLock<Form<LocalIp>> = LazyLock::new(|| {
    Form::new("local_ip", "local_ips", "local_ips", "LocalIPNotFound", "Local IP").named().stamped().fields(vec![
        field("description", |it: &Object<LocalIp>, _: &()| json!(it.desired.description))
            .set(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
            .sort(),
        field("local_port_id", |it: &Object<LocalIp>, _| json!(it.desired.local_port_id))
            .set_once(|it, v| {
                it.desired.local_port_id = Some(l3_ports::uuid(v)?);
                Ok(())
            })
            .sort()
            .column("local_port_id"),
        field("network_id", |it: &Object<LocalIp>, _| json!(it.desired.network_id))
            .set_once(|it, v| {
                it.desired.network_id = Some(l3_ports::uuid(v)?);
                Ok(())
            })
            .sort()
            .column("network_id"),
        field("local_ip_address", |it: &Object<LocalIp>, _| json!(it.desired.local_ip_address))
            .set_once(|it, v| put(&mut it.desired.local_ip_address, maybe_ip(v)))
            .sort()
            .column("local_ip_address"),
        field("ip_mode", |it: &Object<LocalIp>, _| json!(it.desired.ip_mode.as_str()))
            .set_once(|it, v| {
                it.desired.ip_mode = match v.as_str() {
                    Some("translate") => IpMode::Translate,
                    Some("passthrough") => IpMode::Passthrough,
                    _ => return Err(format!("{} is not in valid_values", v.as_str().map_or_else(|| v.to_string(), str::to_owned))),
                };
                Ok(())
            })
            .sort(),
    ])
});

fn input(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

/// The address of a port that is meant: the one asked for, or the only one.
fn meant(port: &Object<Port>, wanted: Option<IpAddr>) -> Result<IpAddr, Failure> {
    let has = &port.desired.fixed_ips;
    match (has.as_slice(), wanted) {
        ([], _) => Err(input("LocalIPNoIP", format!("Specified Port {} has no fixed IPs configured.", port.id))),
        (_, Some(wanted)) if has.iter().any(|it| it.ip_address == wanted) => Ok(wanted),
        (_, Some(wanted)) => {
            Err(input("LocalIPRequestedIPNotFound", format!("Specified Port {} does not have requested IP address: {wanted}.", port.id)))
        }
        ([only], None) => Ok(only.ip_address),
        (_, None) => {
            let text = format!("Specified Port {} has several IPs, should specify exact IP address to use for Local IP.", port.id);
            Err(input("LocalIPNoRequestedIP", text))
        }
    }
}

/// A port that a body names, if the caller sees it.
async fn port_of(ask: &Ask, id: &Id<Port>, resource: &str) -> Result<Object<Port>, Failure> {
    match named::<Port>(ask, id).await {
        Err(failure) if failure.status() == StatusCode::NOT_FOUND => Err(bad(resource, format!("Port {id} not found"))),
        found => found,
    }
}

impl Noun for LocalIp {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<LocalIpDesired, Failure> {
        Ok(LocalIpDesired {
            description: String::new(),
            local_port_id: None,
            own_port: false,
            network_id: None,
            local_ip_address: None,
            ip_mode: IpMode::Translate,
        })
    }

    async fn create(work: &mut Work<'_>, local: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        if let Some(port) = local.desired.local_port_id.clone() {
            let port = port_of(work.ask, &port, "local_ip").await?;
            local.desired.local_ip_address = Some(meant(&port, local.desired.local_ip_address)?);
            local.desired.network_id = Some(port.desired.network_id.clone());
            work.step(|batch| batch.require(&port.id));
            return Ok(());
        }
        let Some(network) = local.desired.network_id.clone() else {
            let text = "Either Port ID or Network ID must be specified for Local IP create.";
            return Err(input("LocalIPPortOrNetworkRequired", text));
        };
        let network = ports::network(work, &network, true).await?;
        let subnets = ipam::subnets(work, &network.id).await?;
        if !subnets.iter().any(|it| it.desired.cidr.network().is_ipv4()) {
            return Err(bad("local_ip", format!("Network {} does not contain any IPv4 subnet", network.id)));
        }
        let wanted = local.desired.local_ip_address.map(|it| [WantedIp { ip_address: Some(it), ..WantedIp::default() }]);
        let device = local.id.to_string();
        let purpose = Purpose { project: local.project_id.clone(), owner: l3_ports::LOCAL, device: &device };
        let port = l3_ports::make(work, &network, purpose, wanted.as_ref().map(|it| it.as_slice())).await?;
        let given = port.desired.fixed_ips.iter().find(|it| local.desired.local_ip_address.is_none_or(|wanted| wanted == it.ip_address));
        local.desired.local_ip_address = given.or(port.desired.fixed_ips.first()).map(|it| it.ip_address);
        local.desired.local_port_id = Some(port.id);
        local.desired.own_port = true;
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, local: &Object<Self>) -> Result<(), Failure> {
        let in_use = || conflict("LocalIPInUse", format!("Local IP {} is still associated with one or more ports.", local.id));
        work.referenced_means::<LocalIpAssociation>("local_ip_id", in_use());
        work.step(|batch| batch.unless_referenced::<LocalIpAssociation>("local_ip_id", local.id.as_str()).remove(local));
        if let Some(port) = local.desired.local_port_id.as_ref().filter(|_| local.desired.own_port)
            && let Some(port) = l3_ports::port(work.ask, port).await?
        {
            l3_ports::remove(work, &port).await?;
        }
        Ok(())
    }
}

static ASSOCIATION: LazyLock<Form<LocalIpAssociation>> = LazyLock::new(|| {
    let mut form =
        Form::new("port_association", "port_associations", "port_associations", "LocalIPAssociationNotFound", "Local IP association")
            .rule("local_ip_port_association")
            .owner_hidden()
            .fields(vec![
                field("local_ip_id", |it: &Object<LocalIpAssociation>, _: &Around| json!(it.desired.local_ip_id)),
                field("local_ip_address", |it: &Object<LocalIpAssociation>, around: &Around| {
                    json!(around.locals.get(&it.desired.local_ip_id).and_then(|it| it.desired.local_ip_address))
                }),
                field("fixed_port_id", |it: &Object<LocalIpAssociation>, _| json!(it.desired.fixed_port_id))
                    .set_once(|it, v| {
                        it.desired.fixed_port_id = Some(l3_ports::uuid(v)?);
                        Ok(())
                    })
                    .required(),
                field("fixed_ip", |it: &Object<LocalIpAssociation>, _| json!(it.desired.fixed_ip))
                    .set_once(|it, v| put(&mut it.desired.fixed_ip, maybe_ip(v))),
                field("host", |it: &Object<LocalIpAssociation>, around: &Around| {
                    let port = it.desired.fixed_port_id.as_ref().and_then(|it| around.ports.get(it));
                    json!(port.map_or("", |it| it.desired.binding.host_id.as_str()))
                }),
            ]);
    form.fields.retain(|it| it.name != "id");
    form
});

/// What is read beside associations.
#[derive(Default)]
pub(crate) struct Around {
    locals: HashMap<Id<LocalIp>, Object<LocalIp>>,
    ports: HashMap<Id<Port>, Object<Port>>,
}

impl Noun for LocalIpAssociation {
    type Around = Around;

    const PARENT: Option<&'static str> = Some("local_ip_id");

    fn form() -> &'static Form<Self> {
        &ASSOCIATION
    }

    fn blank(ask: &Ask, _: Option<&Id<Project>>) -> Result<LocalIpAssociationDesired, Failure> {
        let local = ask.inside.as_deref().and_then(Id::parse);
        Ok(LocalIpAssociationDesired {
            local_ip_id: local.ok_or_else(|| Failure::Internal("an association outside of a local IP".into()))?,
            fixed_port_id: None,
            fixed_ip: None,
        })
    }

    async fn around(ask: &Ask, associations: &[Object<Self>]) -> Result<Around, Failure> {
        let mut around = Around::default();
        if associations.is_empty() {
            return Ok(around);
        }
        let locals = associations.iter().map(|it| it.desired.local_ip_id.to_string());
        let locals = ask.app.store.list_few(&Query::<LocalIp>::new().ids(locals)).await?;
        around.locals = locals.into_iter().map(|it| (it.id.clone(), it)).collect();
        let ports: Vec<String> = associations.iter().filter_map(|it| it.desired.fixed_port_id.as_ref()).map(ToString::to_string).collect();
        let ports = ask.app.store.list(&Query::<Port>::new().ids(ports)).await?;
        around.ports = ports.into_iter().map(|it| (it.id.clone(), it)).collect();
        Ok(around)
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        let mut out = Map::new();
        let project = around.locals.get(&object.desired.local_ip_id).and_then(|it| it.project_id.as_ref());
        owned(project, &mut out, ["project_id", "tenant_id"]);
        owned(project, &mut out, ["ext_parent:project_id", "ext_parent:tenant_id"]);
        Value::Object(out)
    }

    async fn create(work: &mut Work<'_>, association: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let Some(port) = association.desired.fixed_port_id.clone() else { return Ok(()) };
        let port = port_of(work.ask, &port, "local_ip_port_association").await?;
        association.desired.fixed_ip = Some(meant(&port, association.desired.fixed_ip)?);
        let local = l3_ports::known::<LocalIp>(work.ask, &association.desired.local_ip_id).await?;
        association.project_id.clone_from(&local.project_id);
        association.id = key(&local.id, &port.id);
        if work.ask.app.store.get(&association.id).await?.is_some() {
            let text = format!("Local IP {} is associated with port {} already", local.id, port.id);
            return Err(bad("local_ip_port_association", text));
        }
        work.gone_means::<LocalIp>(LocalIp::form().missing(local.id.as_str()));
        work.step(|batch| batch.require(&local.id).require(&port.id));
        Ok(())
    }
}

/// The id of the association of that port: there is one at most.
fn key(local: &Id<LocalIp>, port: &Id<Port>) -> Id<LocalIpAssociation> {
    Id::derived(&format!("local ip {local} at port {port}"))
}

/// The local IP the path goes through, if the caller sees it.
async fn inside(mut ask: Ask, id: &str) -> Result<Ask, Failure> {
    let (local, _) = find::<LocalIp>(&ask, id).await?;
    ask.inside = Some(local.id.to_string());
    Ok(ask)
}

async fn list_associations(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let ask = inside(ask, &id).await?;
    let all = ask.app.store.list(&Query::<LocalIpAssociation>::new().column("local_ip_id", [id])).await?;
    let around = LocalIpAssociation::around(&ask, &all).await?;
    let sees = |it: &&Object<LocalIpAssociation>| {
        allows(&ask.app, &ask.caller, "get_local_ip_port_association", &LocalIpAssociation::target(it, &around))
    };
    let shown = all.iter().filter(sees).map(|it| value_of(&ask, it, &around)).collect();
    Ok(Json(json!({"port_associations": plain_list(&ask, &["local_ip_address", "fixed_port_id", "fixed_ip", "host"], shown)?})))
}

async fn associate(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Response, Failure> {
    let ask = inside(ask, &id).await?;
    let body = parse(&body)?;
    let (wanted, is_bulk) = bodies(&body, "port_association", "port_associations")?;
    let made = create::<LocalIpAssociation>(&ask, &wanted).await?;
    let around = LocalIpAssociation::around(&ask, &made).await?;
    let mut shown: Vec<Value> = made.iter().map(|it| value_of(&ask, it, &around)).collect();
    let answer = if is_bulk { json!({"port_associations": shown}) } else { json!({"port_association": shown.pop()}) };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// The id of the association that a path names.
fn named_by(ask: &Ask, local: &str, port: &str) -> Result<String, Failure> {
    let _ = ask;
    let text = format!("Local IP {local} association with port {port} could not be found.");
    let ids = Id::<LocalIp>::parse(local).zip(Id::<Port>::parse(port));
    ids.map(|(local, port)| key(&local, &port).to_string()).ok_or_else(|| missing("LocalIPAssociationNotFound", text))
}

/// Says what is missing by the names the caller knows.
fn renamed(failure: Failure, local: &str, port: &str) -> Failure {
    if failure.status() != StatusCode::NOT_FOUND {
        return failure;
    }
    missing("LocalIPAssociationNotFound", format!("Local IP {local} association with port {port} could not be found."))
}

async fn show_association(ask: Ask, Path((id, port)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    let ask = inside(ask, &id).await?;
    let key = named_by(&ask, &id, &port)?;
    let (found, around) = find::<LocalIpAssociation>(&ask, &key).await.map_err(|failure| renamed(failure, &id, &port))?;
    Ok(Json(json!({"port_association": value_of(&ask, &found, &around)})))
}

async fn dissociate(ask: Ask, Path((id, port)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let ask = inside(ask, &id).await?;
    let key = named_by(&ask, &id, &port)?;
    delete::<LocalIpAssociation>(&ask, &key).await.map_err(|failure| renamed(failure, &id, &port))?;
    Ok(StatusCode::NO_CONTENT)
}
