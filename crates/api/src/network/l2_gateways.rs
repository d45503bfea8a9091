//! `/v2.0/l2-gateways` and what belongs to them: places where networks are connected with others on the same layer 2.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::Network;
use model::net::l2gw::{
    GatewayDevice, GatewayInterface, L2Gateway, L2GatewayConnection, L2GatewayConnectionDesired, L2GatewayDesired, L2RemoteGateway,
    L2RemoteGatewayConnection, L2RemoteGatewayConnectionDesired, L2RemoteGatewayDesired, L2RemoteMac, L2RemoteMacDesired,
};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::flow_classifiers::{bad, conflict, spelled};
use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use super::{Ask, Extension, extension, port_parts};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("l2-gateway", "L2 Gateway", "Connects Neutron networks with external networks at layer 2.", "2015-01-01T00:00:00-00:00"),
    extension(
        "l2-gateway-connection",
        "L2 Gateway connection",
        "Connects Neutron networks with external networks at layer 2.",
        "2014-01-01T00:00:00-00:00",
    ),
    extension("l2-remote-gateway", "L2 Remote Gateway", "Gateways of other clouds, reached by tunnels.", "2015-12-31T00:00:00-00:00"),
    extension(
        "l2-remote-gateway-connection",
        "L2 Remote Gateway connection",
        "Connects Neutron networks with remote gateways.",
        "2015-12-31T00:00:00-00:00",
    ),
    extension(
        "l2-remote-mac",
        "L2 Remote MAC",
        "MAC addresses of hosts reachable via remote gateway connection",
        "2015-12-31T00:00:00-00:00",
    ),
];

/// The pool in which a gateway and a network are held by their connection.
const CONNECTED: &str = "l2gw:connection";
/// The pool in which a gateway, a network and a remote gateway are held by their connection.
const REMOTE: &str = "l2gw:remote_connection";
/// The pool in which a hardware address behind a remote connection is held.
const MACS: &str = "l2gw:mac";
/// The greatest key of a tunnel.
const MOST_KEY: i64 = (1 << 24) - 1;

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<L2Gateway>()
        .merge(noun_routes::<L2GatewayConnection>())
        .merge(noun_routes::<L2RemoteGateway>())
        .merge(noun_routes::<L2RemoteGatewayConnection>())
        .merge(noun_routes::<L2RemoteMac>())
}

fn invalid(why: &str) -> Failure {
    bad("InvalidInput", format!("Invalid input for operation: {why}."))
}

/// What is wrong with devices.
enum Wrong {
    /// Their form.
    Form(String),
    /// A VLAN.
    Vlan(&'static str),
}

impl From<&str> for Wrong {
    fn from(text: &str) -> Self {
        Self::Form(text.to_owned())
    }
}

/// A VLAN of a gateway, where 0 stands for none.
fn vlan(v: &Value) -> Result<u16, &'static str> {
    let number = value::number(v, i64::MIN, i64::MAX).map_err(|_| "Segmentation id must be a valid integer")?;
    u16::try_from(number).ok().filter(|it| *it < 4095).ok_or("Segmentation id is out of range")
}

/// The devices of a body. (Source: `networking_l2gw/services/l2gateway/common/l2gw_validators.py`.)
fn devices(v: &Value) -> Result<Vec<GatewayDevice>, Wrong> {
    let list = match v {
        Value::Null => return Err("Cannot create a gateway with an empty device list".into()),
        Value::Array(list) if list.is_empty() => return Err("Cannot create a gateway with an empty device list".into()),
        Value::Array(list) => list,
        other => return Err(Wrong::Form(format!("'{}' is not a list", spelled(other)))),
    };
    list.iter().map(device).collect()
}

fn device(v: &Value) -> Result<GatewayDevice, Wrong> {
    let text = |v: Option<&Value>| {
        v.and_then(Value::as_str).filter(|it| !it.is_empty() && it.len() <= 255 && !it.contains('\0')).map(str::to_owned)
    };
    let device_name = text(v.get("device_name")).ok_or("Cannot create a gateway with an empty device_name")?;
    let given = match v.get("interfaces") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        None | Some(Value::Null | Value::Array(_)) => return Err("Cannot create a gateway with an empty interfaces".into()),
        Some(_) => return Err("interfaces format is not a type list of dicts".into()),
    };
    let mut interfaces = Vec::with_capacity(given.len());
    for it in given {
        if !it.is_object() {
            return Err("interfaces format is not a type dict".into());
        }
        let name = text(it.get("name")).ok_or("Cannot create a gateway with an empty interface name")?;
        let segmentation_ids = match it.get("segmentation_id") {
            None => Vec::new(),
            Some(Value::Array(list)) if !list.is_empty() => list.iter().map(vlan).collect::<Result<_, _>>().map_err(Wrong::Vlan)?,
            Some(Value::Null | Value::Array(_)) => return Err("segmentation_id_list should not be empty".into()),
            Some(_) => return Err("segmentation_id type should be of list type ".into()),
        };
        interfaces.push(GatewayInterface { name, segmentation_ids });
    }
    Ok(GatewayDevice { id: Id::random(), device_name, interfaces })
}

/// All places of a device are in VLANs of their own, or none is.
fn check_devices(body: &Body, devices_given: &[GatewayDevice]) -> Result<(), Failure> {
    if let Some(Err(Wrong::Vlan(why))) = body.get("devices").map(devices) {
        return Err(invalid(why));
    }
    let mixed = |it: &GatewayDevice| {
        let has = |it: &GatewayInterface| !it.segmentation_ids.is_empty();
        it.interfaces.iter().any(has) && !it.interfaces.iter().all(has)
    };
    if devices_given.iter().any(mixed) {
        let text = "L2 gateway segmentation id must be consistent for all the interfaces";
        return Err(conflict("L2GatewaySegmentationRequired", text));
    }
    Ok(())
}

fn device_shown(it: &GatewayDevice) -> Value {
    let interface = |it: &GatewayInterface| {
        let ids: Vec<String> = it.segmentation_ids.iter().filter(|it| **it > 0).map(ToString::to_string).collect();
        json!({"name": it.name, "segmentation_id": ids})
    };
    json!({"id": it.id, "device_name": it.device_name, "interfaces": it.interfaces.iter().map(interface).collect::<Vec<_>>()})
}

static GATEWAY: LazyLock<Form<L2Gateway>> = LazyLock::new(|| {
    Form::new("l2_gateway", "l2_gateways", "l2-gateways", "L2GatewayNotFound", "L2 Gateway")
        .not_found_says(|id| format!("L2 Gateway {id} could not be found"))
        .named()
        .fields(vec![
            field("devices", |it: &Object<L2Gateway>, _: &()| it.desired.devices.iter().map(device_shown).collect())
                // What is wrong with a VLAN has a failure of its own.
                .set(|it, v| match devices(v) {
                    Ok(read) => {
                        it.desired.devices = read;
                        Ok(())
                    }
                    Err(Wrong::Form(why)) => Err(why),
                    Err(Wrong::Vlan(_)) => Ok(()),
                })
                .required(),
        ])
});

impl Noun for L2Gateway {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &GATEWAY
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<L2GatewayDesired, Failure> {
        Ok(L2GatewayDesired::default())
    }

    async fn create(_: &mut Work<'_>, gateway: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        check_devices(body, &gateway.desired.devices)
    }

    /// Devices that are named get the places given; the others stay. (Source: `networking_l2gw/db/l2gateway/l2gateway_db.py`.)
    async fn update(_: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if !body.contains_key("devices") {
            return Ok(());
        }
        check_devices(body, &after.desired.devices)?;
        let given = std::mem::replace(&mut after.desired.devices, before.desired.devices.clone());
        let has_vlans = before.desired.has_segmentation();
        for device in given {
            let name = &device.device_name;
            let missing = || {
                Failure::named(StatusCode::NOT_FOUND, "L2GatewayDeviceNotFound", format!("L2 Gateway Device {name} could not be found."))
            };
            let place = after.desired.devices.iter_mut().find(|it| it.device_name == *name).ok_or_else(missing)?;
            let gets_vlans = device.interfaces.iter().any(|it| !it.segmentation_ids.is_empty());
            if has_vlans && !gets_vlans {
                let text = "The segmentation id is already specified in existing gateway interfaces.";
                return Err(conflict("L2GatewaySegmentationIDExists", text));
            }
            if gets_vlans && !has_vlans {
                let text = "The segmentation id is not specified in existing gateway interfaces.";
                return Err(conflict("L2GatewaySegmentationIDNotExists", text));
            }
            place.interfaces = device.interfaces;
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, gateway: &Object<Self>) -> Result<(), Failure> {
        let id = gateway.id.as_str();
        let used = || conflict("L2GatewayInUse", format!("L2 Gateway '{id}' still has active mappings with one or more neutron networks."));
        work.referenced_means::<L2GatewayConnection>("l2_gateway_id", used());
        work.referenced_means::<L2RemoteGatewayConnection>("gateway", used());
        work.step(|batch| {
            let batch = batch.remove(gateway).unless_referenced::<L2GatewayConnection>("l2_gateway_id", id);
            batch.unless_referenced::<L2RemoteGatewayConnection>("gateway", id)
        });
        Ok(())
    }
}

fn vlan_shown(it: Option<u16>) -> Value {
    it.map_or_else(|| json!(""), |it| json!(it.to_string()))
}

fn is_nothing(v: &Value) -> bool {
    v.is_null() || v == ""
}

static CONNECTION: LazyLock<Form<L2GatewayConnection>> = LazyLock::new(|| {
    Form::new(
        "l2_gateway_connection",
        "l2_gateway_connections",
        "l2-gateway-connections",
        "L2GatewayConnectionNotFound",
        "L2 Gateway connection",
    )
    .not_found_says(|id| format!("The connection {id} not found on the l2 gateway"))
    .no_update()
    .fields(vec![
        field("l2_gateway_id", |it: &Object<L2GatewayConnection>, _: &()| json!(it.desired.l2_gateway_id))
            .set_once(|it, v| put(&mut it.desired.l2_gateway_id, port_parts::uuid(v)))
            .required()
            .sort()
            .column("l2_gateway_id"),
        field("network_id", |it: &Object<L2GatewayConnection>, _| json!(it.desired.network_id))
            .set_once(|it, v| put(&mut it.desired.network_id, port_parts::uuid(v)))
            .required()
            .sort()
            .column("network_id"),
        // What is wrong with it has a failure of its own.
        field("segmentation_id", |it: &Object<L2GatewayConnection>, _| vlan_shown(it.desired.segmentation_id))
            .set_once(|it, v| {
                it.desired.segmentation_id = vlan(v).ok().filter(|it| *it > 0);
                Ok(())
            })
            .sort(),
    ])
});

impl Noun for L2GatewayConnection {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &CONNECTION
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<L2GatewayConnectionDesired, Failure> {
        Ok(L2GatewayConnectionDesired { l2_gateway_id: Id::random(), network_id: Id::random(), segmentation_id: None })
    }

    /// It belongs to the project of its gateway.
    async fn admit(work: &mut Work<'_>, connection: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        named::<Network>(work.ask, &connection.desired.network_id).await?;
        connection.project_id = named::<L2Gateway>(work.ask, &connection.desired.l2_gateway_id).await?.project_id;
        Ok(())
    }

    async fn create(work: &mut Work<'_>, connection: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let (gateway, network) = (&connection.desired.l2_gateway_id, &connection.desired.network_id);
        let given = body.get("segmentation_id").filter(|it| !is_nothing(it));
        let says_itself = named::<L2Gateway>(work.ask, gateway).await?.desired.has_segmentation();
        match given.map(vlan) {
            Some(_) if says_itself => {
                let text = "default segmentation_id should not be provided when segmentation_id is assigned during l2gateway creation";
                return Err(invalid(text));
            }
            Some(Err(why)) => return Err(invalid(why)),
            None if !says_itself => return Err(invalid("Segmentation id must be specified in create l2gateway connections")),
            Some(Ok(_)) | None => {}
        }
        let mapping = format!(
            "{{'network_id': '{network}', 'l2_gateway_id': '{gateway}', 'segmentation_id': '{}'}}",
            given.map(spelled).unwrap_or_default()
        );
        let text = format!("The specified mapping '{mapping}' exists on network gateway '{gateway}'.");
        let both = format!("{gateway} {network}");
        work.value_taken_means(CONNECTED, &both, conflict("L2GatewayConnectionExists", text));
        work.gone_means::<L2Gateway>(L2Gateway::form().missing(gateway.as_str()));
        work.gone_means::<Network>(Network::form().missing(network.as_str()));
        work.step(|batch| batch.require(gateway).require(network).hold(CONNECTED, &both, connection.id.as_str()));
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, connection: &Object<Self>) -> Result<(), Failure> {
        work.step(|batch| batch.remove(connection).free_held(CONNECTED, connection.id.as_str()));
        Ok(())
    }
}

fn address(v: &Value) -> Result<IpAddr, String> {
    v.as_str().and_then(|it| it.parse().ok()).ok_or_else(|| format!("'{}' is not a valid IP address", spelled(v)))
}

static REMOTE_GATEWAY: LazyLock<Form<L2RemoteGateway>> = LazyLock::new(|| {
    Form::new("l2_remote_gateway", "l2_remote_gateways", "l2-remote-gateways", "L2RemoteGatewayNotFound", "L2 Remote Gateway")
        .named()
        .fields(vec![
            field("ipaddr", |it: &Object<L2RemoteGateway>, _: &()| json!(it.desired.ipaddr))
                .set(|it, v| put(&mut it.desired.ipaddr, address(v)))
                .required()
                .sort(),
        ])
});

impl Noun for L2RemoteGateway {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &REMOTE_GATEWAY
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<L2RemoteGatewayDesired, Failure> {
        Ok(L2RemoteGatewayDesired { ipaddr: IpAddr::from([0, 0, 0, 0]) })
    }

    async fn delete(work: &mut Work<'_>, gateway: &Object<Self>) -> Result<(), Failure> {
        let id = gateway.id.as_str();
        let used = conflict("L2RemoteGatewayInUse", format!("L2 Remote Gateway '{id}' still has connections."));
        work.referenced_means::<L2RemoteGatewayConnection>("remote_gateway", used);
        work.step(|batch| batch.remove(gateway).unless_referenced::<L2RemoteGatewayConnection>("remote_gateway", id));
        Ok(())
    }
}

static REMOTE_CONNECTION: LazyLock<Form<L2RemoteGatewayConnection>> = LazyLock::new(|| {
    Form::new(
        "l2_remote_gateway_connection",
        "l2_remote_gateway_connections",
        "l2-remote-gateway-connections",
        "L2RemoteGatewayConnectionNotFound",
        "L2 Remote Gateway Connection",
    )
    .no_update()
    .fields(vec![
        field("gateway", |it: &Object<L2RemoteGatewayConnection>, _: &()| json!(it.desired.gateway))
            .set_once(|it, v| put(&mut it.desired.gateway, port_parts::uuid(v)))
            .required()
            .sort()
            .column("gateway"),
        field("network", |it: &Object<L2RemoteGatewayConnection>, _| json!(it.desired.network))
            .set_once(|it, v| put(&mut it.desired.network, port_parts::uuid(v)))
            .required()
            .sort()
            .column("network"),
        field("remote_gateway", |it: &Object<L2RemoteGatewayConnection>, _| json!(it.desired.remote_gateway))
            .set_once(|it, v| put(&mut it.desired.remote_gateway, port_parts::uuid(v)))
            .required()
            .sort()
            .column("remote_gateway"),
        field("seg_id", |it: &Object<L2RemoteGatewayConnection>, _| {
            it.desired.seg_id.map_or_else(|| json!(""), |it| json!(it.to_string()))
        })
        .set_once(|it, v| {
            let read = if is_nothing(v) { Ok(None) } else { value::number(v, 1, MOST_KEY).map(|it| u32::try_from(it).ok()) };
            put(&mut it.desired.seg_id, read)
        })
        .sort(),
        field("flood", |it: &Object<L2RemoteGatewayConnection>, _| json!(it.desired.flood))
            .set_once(|it, v| put(&mut it.desired.flood, if is_nothing(v) { Ok(false) } else { value::boolean(v) }))
            .sort(),
    ])
});

impl Noun for L2RemoteGatewayConnection {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &REMOTE_CONNECTION
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<L2RemoteGatewayConnectionDesired, Failure> {
        Ok(L2RemoteGatewayConnectionDesired {
            gateway: Id::random(),
            network: Id::random(),
            remote_gateway: Id::random(),
            seg_id: None,
            flood: false,
        })
    }

    async fn create(work: &mut Work<'_>, connection: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let it = &connection.desired;
        named::<L2Gateway>(work.ask, &it.gateway).await?;
        named::<Network>(work.ask, &it.network).await?;
        named::<L2RemoteGateway>(work.ask, &it.remote_gateway).await?;
        work.gone_means::<L2Gateway>(L2Gateway::form().missing(it.gateway.as_str()));
        work.gone_means::<Network>(Network::form().missing(it.network.as_str()));
        work.gone_means::<L2RemoteGateway>(L2RemoteGateway::form().missing(it.remote_gateway.as_str()));
        let all = format!("{} {} {}", it.gateway, it.network, it.remote_gateway);
        let text =
            format!("L2 Gateway '{}' already connects network '{}' with remote gateway '{}'.", it.gateway, it.network, it.remote_gateway);
        work.value_taken_means(REMOTE, &all, conflict("L2RemoteGatewayConnectionExists", text));
        work.step(|batch| {
            let batch = batch.require(&it.gateway).require(&it.network).require(&it.remote_gateway);
            batch.hold(REMOTE, &all, connection.id.as_str())
        });
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, connection: &Object<Self>) -> Result<(), Failure> {
        let id = connection.id.as_str();
        let used =
            conflict("L2RemoteGatewayConnectionInUse", format!("L2 Remote Gateway Connection '{id}' still has remote MAC addresses."));
        work.referenced_means::<L2RemoteMac>("rgw_connection", used);
        work.step(|batch| batch.remove(connection).unless_referenced::<L2RemoteMac>("rgw_connection", id).free_held(REMOTE, id));
        Ok(())
    }
}

static MAC: LazyLock<Form<L2RemoteMac>> = LazyLock::new(|| {
    Form::new("l2_remote_mac", "l2_remote_macs", "l2-remote-macs", "L2RemoteMacNotFound", "L2 Remote MAC").fields(vec![
        // What its first clients take for its id.
        field("uuid", |it: &Object<L2RemoteMac>, _: &()| json!(it.id)).sort(),
        field("mac", |it: &Object<L2RemoteMac>, _| json!(it.desired.mac))
            .set(|it, v| put(&mut it.desired.mac, port_parts::mac(v)))
            .required()
            .sort()
            .column("mac"),
        field("ipaddr", |it: &Object<L2RemoteMac>, _| it.desired.ipaddr.map_or_else(|| json!(""), |it| json!(it)))
            .set(|it, v| put(&mut it.desired.ipaddr, if is_nothing(v) { Ok(None) } else { address(v).map(Some) }))
            .sort(),
        field("rgw_connection", |it: &Object<L2RemoteMac>, _| json!(it.desired.rgw_connection))
            .set(|it, v| put(&mut it.desired.rgw_connection, port_parts::uuid(v)))
            .required()
            .sort()
            .column("rgw_connection"),
    ])
});

/// Takes an address behind a connection: it is known there once.
async fn take_mac(work: &mut Work<'_>, it: &Object<L2RemoteMac>) -> Result<(), Failure> {
    let (mac, connection) = (&it.desired.mac, &it.desired.rgw_connection);
    named::<L2RemoteGatewayConnection>(work.ask, connection).await?;
    work.gone_means::<L2RemoteGatewayConnection>(L2RemoteGatewayConnection::form().missing(connection.as_str()));
    let both = format!("{connection} {mac}");
    let text = format!("MAC address {mac} is known behind L2 Remote Gateway Connection '{connection}' already.");
    work.value_taken_means(MACS, &both, conflict("L2RemoteMacExists", text));
    work.step(|batch| batch.require(connection).hold(MACS, &both, it.id.as_str()));
    Ok(())
}

impl Noun for L2RemoteMac {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &MAC
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<L2RemoteMacDesired, Failure> {
        Ok(L2RemoteMacDesired { mac: String::new(), ipaddr: None, rgw_connection: Id::random() })
    }

    async fn create(work: &mut Work<'_>, mac: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        take_mac(work, mac).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        if before.desired.mac == after.desired.mac && before.desired.rgw_connection == after.desired.rgw_connection {
            return Ok(());
        }
        work.step(|batch| batch.free_held(MACS, before.id.as_str()));
        take_mac(work, after).await
    }

    async fn delete(work: &mut Work<'_>, mac: &Object<Self>) -> Result<(), Failure> {
        work.step(|batch| batch.remove(mac).free_held(MACS, mac.id.as_str()));
        Ok(())
    }
}

/// What belongs to the removal of a network: its connections at gateways go with it.
///
/// # Errors
/// The store failed.
pub(super) async fn network_removed(work: &mut Work<'_>, network: &Object<Network>) -> Result<(), Failure> {
    let store = &work.ask.app.store;
    let id = network.id.as_str();
    for connection in store.list_few(&Query::<L2GatewayConnection>::new().column("network_id", [id.to_owned()])).await? {
        L2GatewayConnection::delete(work, &connection).await?;
    }
    let remote = store.list_few(&Query::<L2RemoteGatewayConnection>::new().column("network", [id.to_owned()])).await?;
    if remote.is_empty() {
        return Ok(());
    }
    let ids = remote.iter().map(|it| it.id.to_string());
    for mac in store.list(&Query::<L2RemoteMac>::new().column("rgw_connection", ids)).await? {
        L2RemoteMac::delete(work, &mac).await?;
    }
    for connection in remote {
        L2RemoteGatewayConnection::delete(work, &connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_a_form() {
        let why = |v: Value| match devices(&v) {
            Ok(read) => read.len().to_string(),
            Err(Wrong::Form(why)) => why,
            Err(Wrong::Vlan(why)) => why.to_owned(),
        };
        let with = |interface: Value| json!([{"device_name": "s", "interfaces": [interface]}]);
        assert_eq!(why(with(json!({"name": "a", "segmentation_id": [5, "6"]}))), "1");
        assert_eq!(why(with(json!({"name": "a"}))), "1");
        assert_eq!(why(with(json!({"name": "a", "segmentation_id": ["x"]}))), "Segmentation id must be a valid integer");
        assert_eq!(why(with(json!({"name": "a", "segmentation_id": [4095]}))), "Segmentation id is out of range");
        for wrong in [
            json!("x"),
            json!([]),
            json!([{}]),
            json!([{"device_name": "s"}]),
            json!([{"device_name": "s", "interfaces": []}]),
            json!([{"device_name": "s", "interfaces": "x"}]),
            with(json!("x")),
            with(json!({})),
            with(json!({"name": "a", "segmentation_id": []})),
            with(json!({"name": "a", "segmentation_id": 5})),
        ] {
            assert!(matches!(devices(&wrong), Err(Wrong::Form(_))), "{wrong}");
        }
    }
}
