//! `/v2.0/bgpvpn/bgpvpns`: VPNs of BGP. What is in them is said by their associations.
//!
//! Source of names, checks and texts: `networking_bgpvpn`, `neutron_lib/api/definitions/bgpvpn*.py`.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use axum::Router as Routes;
use model::identity::Project;
use model::net::bgpvpn::{Bgpvpn, BgpvpnDesired, BgpvpnNetworkAssociation, BgpvpnPortAssociation, BgpvpnRouterAssociation, BgpvpnType};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::bgpvpn_associations::{self, Association};
use super::noun::{Field, Form, Noun, Work, field, nested_routes, routes as noun_routes};
use super::port_parts::spelled;
use super::{Ask, Extension, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::{equals, put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("bgpvpn", "BGPVPN Extension", "Provides support for BGP VPN interconnections", "2014-06-10T17:00:00-00:00"),
    extension("bgpvpn-vni", "BGPVPN VXLAN VNI extension", "BGPVPN VXLAN VNI extension", "2017-09-12T10:00:00-00:00"),
    extension(
        "bgpvpn-routes-control",
        "BGPVPN Routes Control Extension",
        "Provides support for controlling routes advertised to a BGPVPN",
        "2017-05-20T00:00:00-00:00",
    ),
];

/// The greatest VXLAN network identifier.
const MOST_VNI: i64 = (1 << 24) - 1;

pub(super) fn routes() -> Routes<Arc<App>> {
    noun_routes::<Bgpvpn>()
        .merge(nested_routes::<BgpvpnNetworkAssociation>())
        .merge(nested_routes::<BgpvpnRouterAssociation>())
        .merge(nested_routes::<BgpvpnPortAssociation>())
}

/// `project_id` and `tenant_id`, shown to those whom the rule lets.
pub(super) fn owner_fields<K: Noun>(rule: &'static str) -> [Field<K>; 2] {
    let project = |it: &Object<K>, _: &K::Around| json!(it.project_id.as_ref().map_or("", |it| it.as_str()));
    [field("project_id", project).sort().read_by(rule), field("tenant_id", project).sort().read_by(rule)]
}

/// A whole number within the bounds, with Neutron's words for one that is not.
pub(super) fn number(v: &Value, least: u32, most: i64) -> Result<u32, String> {
    let read = value::number(v, i64::MIN, i64::MAX).map_err(|_| format!("'{}' is not an integer", spelled(v)))?;
    if read > most {
        return Err(format!("'{read}' is too large - must be no larger than '{most}'"));
    }
    let small = || format!("'{read}' is too small - must be at least '{least}'");
    u32::try_from(read).ok().filter(|it| *it >= least).ok_or_else(small)
}

/// The `LOCAL_PREF` of routes (RFC 4271, section 4.3).
///
/// # Errors
/// It is none.
pub(super) fn local_pref(v: &Value) -> Result<u32, String> {
    number(v, 0, i64::from(u32::MAX))
}

/// Whether the text is the one way to write such a number or address.
fn is_a<T: FromStr + Display>(text: &str) -> bool {
    text.parse::<T>().is_ok_and(|it| it.to_string() == text)
}

/// Whether the text is a route target or route distinguisher: an autonomous system of two bytes and a number of four, or an address or an
/// autonomous system of four bytes and a number of two.
fn is_target(text: &str) -> bool {
    text.split_once(':').is_some_and(|(left, right)| {
        (is_a::<u16>(left) && is_a::<u32>(right)) || ((is_a::<Ipv4Addr>(left) || is_a::<u32>(left)) && is_a::<u16>(right))
    })
}

/// Reads route targets or route distinguishers. One need not be in a list.
fn targets(v: &Value) -> Result<Vec<String>, String> {
    let given = match v {
        Value::Null => &[],
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut read: Vec<String> = Vec::with_capacity(given.len());
    for it in given {
        let text = spelled(it);
        if read.contains(&text) {
            return Err(format!("Duplicate items in the list: '{text}'"));
        }
        read.push(text);
    }
    match read.iter().find(|it| !is_target(it)) {
        Some(wrong) => Err(format!("'{wrong}' is not a valid input")),
        None => Ok(read),
    }
}

fn kind(v: &Value) -> Result<BgpvpnType, String> {
    serde_json::from_value(v.clone()).map_err(|_| format!("{} is not in valid_values", spelled(v)))
}

/// What is in VPNs, by VPN.
#[derive(Default)]
pub(crate) struct Around {
    networks: HashMap<Id<Bgpvpn>, Vec<Value>>,
    routers: HashMap<Id<Bgpvpn>, Vec<Value>>,
    ports: HashMap<Id<Bgpvpn>, Vec<Value>>,
}

fn listed(of: &HashMap<Id<Bgpvpn>, Vec<Value>>, id: &Id<Bgpvpn>) -> Value {
    Value::Array(of.get(id).cloned().unwrap_or_default())
}

/// What is associated with VPNs by associations of one kind.
async fn ends<A: Association>(ask: &Ask, ids: &[String]) -> Result<HashMap<Id<Bgpvpn>, Vec<Value>>, Failure> {
    let query = Query::<A>::new().column("bgpvpn_id", ids.to_vec());
    let store = &ask.app.store;
    let found = if ids.len() <= 2 { store.list_few(&query).await? } else { store.list(&query).await? };
    let mut ends: HashMap<_, Vec<Value>> = HashMap::new();
    for it in &found {
        let (vpn, end) = A::ends(it);
        ends.entry(vpn.clone()).or_default().push(json!(end));
    }
    Ok(ends)
}

static FORM: LazyLock<Form<Bgpvpn>> = LazyLock::new(|| {
    let mut form = Form::new("bgpvpn", "bgpvpns", "bgpvpn/bgpvpns", "BGPVPNNotFound", "BGPVPN")
        .not_found_says(|id| format!("BGPVPN {id} could not be found"))
        .owner_hidden()
        .named();
    form.fields.extend(owner_fields("get_bgpvpn:project_id"));
    form.fields(vec![
        field("type", |it: &Object<Bgpvpn>, _: &Around| json!(it.desired.kind))
            .set_once(|it, v| put(&mut it.desired.kind, kind(v)))
            .sort()
            .column("type"),
        field("route_targets", |it: &Object<Bgpvpn>, _| json!(it.desired.route_targets))
            .set(|it, v| put(&mut it.desired.route_targets, targets(v)))
            .read_by("get_bgpvpn:route_targets")
            .update_by("update_bgpvpn:route_targets")
            .filter(),
        field("import_targets", |it: &Object<Bgpvpn>, _| json!(it.desired.import_targets))
            .set(|it, v| put(&mut it.desired.import_targets, targets(v)))
            .read_by("get_bgpvpn:import_targets")
            .update_by("update_bgpvpn:import_targets")
            .filter(),
        field("export_targets", |it: &Object<Bgpvpn>, _| json!(it.desired.export_targets))
            .set(|it, v| put(&mut it.desired.export_targets, targets(v)))
            .read_by("get_bgpvpn:export_targets")
            .update_by("update_bgpvpn:export_targets")
            .filter(),
        field("route_distinguishers", |it: &Object<Bgpvpn>, _| json!(it.desired.route_distinguishers))
            .set(|it, v| put(&mut it.desired.route_distinguishers, targets(v)))
            .read_by("get_bgpvpn:route_distinguishers")
            .update_by("update_bgpvpn:route_distinguishers")
            .filter(),
        field("vni", |it: &Object<Bgpvpn>, _| json!(it.desired.vni))
            .set_once(|it, v| put(&mut it.desired.vni, if v.is_null() { Ok(None) } else { number(v, 1, MOST_VNI).map(Some) }))
            .read_by("get_bgpvpn:vni")
            .sort(),
        field("local_pref", |it: &Object<Bgpvpn>, _| json!(it.desired.local_pref))
            .set(|it, v| put(&mut it.desired.local_pref, if v.is_null() { Ok(None) } else { local_pref(v).map(Some) }))
            .sort(),
        field("networks", |it: &Object<Bgpvpn>, around| listed(&around.networks, &it.id)).filter(),
        field("routers", |it: &Object<Bgpvpn>, around| listed(&around.routers, &it.id)).filter(),
        field("ports", |it: &Object<Bgpvpn>, around| listed(&around.ports, &it.id)).filter(),
    ])
});

impl Noun for Bgpvpn {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<BgpvpnDesired, Failure> {
        Ok(BgpvpnDesired::default())
    }

    async fn around(ask: &Ask, vpns: &[Object<Self>]) -> Result<Around, Failure> {
        let ids: Vec<String> = vpns.iter().map(|it| it.id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Around::default());
        }
        Ok(Around {
            networks: ends::<BgpvpnNetworkAssociation>(ask, &ids).await?,
            routers: ends::<BgpvpnRouterAssociation>(ask, &ids).await?,
            ports: ends::<BgpvpnPortAssociation>(ask, &ids).await?,
        })
    }

    /// Targets are held against a filter as a whole, written with commas: so upstream.
    fn fits(name: &str, has: &Value, wanted: &[String]) -> bool {
        let Value::Array(list) = has else { return wanted.iter().any(|it| equals(has, it)) };
        if matches!(name, "networks" | "routers" | "ports") {
            return list.iter().filter_map(Value::as_str).any(|it| wanted.iter().any(|wanted| wanted == it));
        }
        let whole = list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        wanted.contains(&whole)
    }

    /// Its associations go with it, and others' routes to it.
    async fn delete(work: &mut Work<'_>, vpn: &Object<Self>) -> Result<(), Failure> {
        bgpvpn_associations::vpn_removed(work, vpn).await?;
        work.step(|batch| batch.remove(vpn));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_one_way() {
        for right in ["0:0", "64512:4294967295", "65535:1", "1.2.3.4:65535", "4294967295:65535", "65536:1"] {
            assert!(is_target(right), "{right}");
        }
        for wrong in [
            "",
            "1",
            ":",
            "1:",
            ":1",
            "a:b",
            "01:1",
            "+1:1",
            "1:01",
            "65536:65536",
            "1.2.3.4:65536",
            "1.2.3:1",
            "1.2.3.256:1",
            "01.2.3.4:1",
            "65535:4294967296",
            "4294967296:1",
            "1:1:1",
            " 1:1",
            "::1:1",
        ] {
            assert!(!is_target(wrong), "{wrong}");
        }
        assert_eq!(targets(&json!("64512:1")).unwrap(), ["64512:1"]);
        assert_eq!(targets(&Value::Null).unwrap(), Vec::<String>::new());
        assert_eq!(targets(&json!(["1:1", "1:1"])).unwrap_err(), "Duplicate items in the list: '1:1'");
        assert_eq!(targets(&json!([5])).unwrap_err(), "'5' is not a valid input");
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(local_pref(&json!("4294967295")), Ok(u32::MAX));
        assert_eq!(local_pref(&json!(4_294_967_296_u64)).unwrap_err(), "'4294967296' is too large - must be no larger than '4294967295'");
        assert_eq!(local_pref(&json!(-1)).unwrap_err(), "'-1' is too small - must be at least '0'");
        assert_eq!(number(&json!(0), 1, MOST_VNI).unwrap_err(), "'0' is too small - must be at least '1'");
        assert_eq!(number(&json!("x"), 1, MOST_VNI).unwrap_err(), "'x' is not an integer");
    }
}
