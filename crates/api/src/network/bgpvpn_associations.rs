//! `/v2.0/bgpvpn/bgpvpns/{id}/network_associations`, `router_associations`, `port_associations`: what is in a VPN of BGP.
//!
//! Source of names, checks and texts: `networking_bgpvpn/neutron/services/plugin.py`, `neutron/db/bgpvpn_db.py`. As there, what is in a VPN
//! leaves it when it is removed, and a network and a router that is on it are not both in VPNs.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use http::StatusCode;
use ipnet::IpNet;
use model::identity::Project;
use model::net::bgpvpn::{
    Bgpvpn, BgpvpnNetworkAssociation, BgpvpnNetworkAssociationDesired, BgpvpnPortAssociation, BgpvpnPortAssociationDesired, BgpvpnRoute,
    BgpvpnRouterAssociation, BgpvpnRouterAssociationDesired, BgpvpnType,
};
use model::net::l3::Router;
use model::net::{Network, Port};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::Ask;
use super::bgpvpns::{local_pref, owner_fields};
use super::flow_classifiers::{alone, bad};
use super::l3_ports::{self, conflict};
use super::noun::{Body, Form, Nested, Noun, Work, field, named};
use super::port_parts::{spelled, uuid};
use crate::failure::Failure;
use crate::resource::{put, value};

/// What is changed by whoever looks whether a router and a network it is on would both be in VPNs.
const ALONE: &str = "bgpvpn:associations";

/// That something is in a VPN.
pub(super) trait Association: Nested<Parent = Bgpvpn> {
    /// What is in it.
    type End: Noun;

    /// What that is called, in the column with its id and in texts.
    const WORD: &'static str;
    /// The column with its id.
    const COLUMN: &'static str;
    /// The pool in which both are held.
    const HELD: &'static str;
    /// The exception when it is in the VPN already.
    const TWICE: &'static str;

    /// The VPN and what is in it.
    fn ends(it: &Object<Self>) -> (&Id<Bgpvpn>, &Id<Self::End>);
}

impl Association for BgpvpnNetworkAssociation {
    type End = Network;

    const WORD: &'static str = "network";
    const COLUMN: &'static str = "network_id";
    const HELD: &'static str = Self::POOL;
    const TWICE: &'static str = "BGPVPNNetAssocAlreadyExists";

    fn ends(it: &Object<Self>) -> (&Id<Bgpvpn>, &Id<Network>) {
        (&it.desired.bgpvpn_id, &it.desired.network_id)
    }
}

impl Association for BgpvpnRouterAssociation {
    type End = Router;

    const WORD: &'static str = "router";
    const COLUMN: &'static str = "router_id";
    const HELD: &'static str = Self::POOL;
    const TWICE: &'static str = "BGPVPNRouterAssocAlreadyExists";

    fn ends(it: &Object<Self>) -> (&Id<Bgpvpn>, &Id<Router>) {
        (&it.desired.bgpvpn_id, &it.desired.router_id)
    }
}

impl Association for BgpvpnPortAssociation {
    type End = Port;

    const WORD: &'static str = "port";
    const COLUMN: &'static str = "port_id";
    const HELD: &'static str = Self::POOL;
    const TWICE: &'static str = "BGPVPNPortAssocAlreadyExists";

    fn ends(it: &Object<Self>) -> (&Id<Bgpvpn>, &Id<Port>) {
        (&it.desired.bgpvpn_id, &it.desired.port_id)
    }
}

/// The VPN the path goes through.
fn vpn_of(ask: &Ask) -> Result<Id<Bgpvpn>, Failure> {
    ask.inside.as_deref().and_then(Id::parse).ok_or_else(|| Failure::Internal("an association outside of a VPN".into()))
}

fn not_authorized() -> Failure {
    Failure::named(StatusCode::FORBIDDEN, "NotAuthorized", "Not authorized.")
}

/// Puts something into a VPN: all of one project, and once.
fn join<A: Association>(work: &mut Work<'_>, it: &Object<A>, vpn: &Object<Bgpvpn>, end: &Object<A::End>) -> Result<(), Failure> {
    if end.project_id != vpn.project_id || it.project_id != vpn.project_id {
        return Err(not_authorized());
    }
    let both = format!("{} {}", vpn.id, end.id);
    let twice = format!("{} {} is already associated to BGPVPN {}", A::WORD, end.id, vpn.id);
    work.value_taken_means(A::HELD, &both, bad(A::TWICE, twice));
    work.gone_means::<Bgpvpn>(Bgpvpn::form().missing(vpn.id.as_str()));
    work.gone_means::<A::End>(A::End::form().missing(end.id.as_str()));
    // The VPN is changed, so that a removal of it that knows nothing of this begins anew.
    work.step(|batch| batch.touch(&vpn.id).require(&end.id).hold(A::HELD, &both, it.id.as_str()));
    Ok(())
}

fn leave<A: Association>(work: &mut Work<'_>, it: &Object<A>) {
    work.step(|batch| batch.remove(it).free_held(A::HELD, it.id.as_str()));
}

/// Has what is to be removed leave all VPNs.
///
/// # Errors
/// The store failed.
pub(super) async fn forget<A: Association>(work: &mut Work<'_>, end: &str) -> Result<(), Failure> {
    for it in work.ask.app.store.list_few(&Query::<A>::new().column(A::COLUMN, [end.to_owned()])).await? {
        leave(work, &it);
    }
    // Nor may it be put into one at this very moment.
    let text = format!("{} {end} is being associated to a BGPVPN; try again.", A::WORD);
    work.referenced_means::<A>(A::COLUMN, conflict("Conflict", text));
    work.step(|batch| batch.unless_referenced::<A>(A::COLUMN, end));
    Ok(())
}

async fn all_leave<A: Association>(work: &mut Work<'_>, vpn: &Object<Bgpvpn>) -> Result<(), Failure> {
    for it in work.ask.app.store.list(&Query::<A>::new().column("bgpvpn_id", [vpn.id.to_string()])).await? {
        leave(work, &it);
    }
    Ok(())
}

/// What belongs to the removal of a VPN: its associations go with it, and routes of others that lead to it.
///
/// # Errors
/// The store failed.
pub(super) async fn vpn_removed(work: &mut Work<'_>, vpn: &Object<Bgpvpn>) -> Result<(), Failure> {
    all_leave::<BgpvpnNetworkAssociation>(work, vpn).await?;
    all_leave::<BgpvpnRouterAssociation>(work, vpn).await?;
    all_leave::<BgpvpnPortAssociation>(work, vpn).await?;
    let naming = Query::<BgpvpnPortAssociation>::new().linked("routes", [vpn.id.to_string()]);
    for before in work.ask.app.store.list(&naming).await? {
        if before.desired.bgpvpn_id == vpn.id {
            continue;
        }
        let mut after = before.clone();
        after.desired.routes.retain(|it| it.bgpvpn_id() != Some(&vpn.id));
        work.want(&before, &after);
    }
    Ok(())
}

/// The VPNs that something is in, as those of that project see it.
async fn vpns_with<A: Association>(ask: &Ask, ends: Vec<String>, project: Option<&Id<Project>>) -> Result<BTreeSet<Id<Bgpvpn>>, Failure> {
    if ends.is_empty() {
        return Ok(BTreeSet::new());
    }
    let found = ask.app.store.list(&Query::<A>::new().column(A::COLUMN, ends)).await?;
    Ok(found.iter().filter(|it| it.project_id.as_ref() == project).map(|it| A::ends(it).0.clone()).collect())
}

fn names(vpns: &BTreeSet<Id<Bgpvpn>>) -> String {
    vpns.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ")
}

/// A network is not put into a VPN if a router on it is in one.
async fn check_network(work: &mut Work<'_>, network: &Object<Network>) -> Result<(), Failure> {
    alone(work, ALONE).await?;
    let places =
        Query::<Port>::new().column("network_id", [network.id.to_string()]).column("device_owner", l3_ports::INTERFACES.map(str::to_owned));
    let routers: BTreeSet<String> = work.ask.app.store.list(&places).await?.into_iter().map(|it| it.desired.device_id).collect();
    let vpns = vpns_with::<BgpvpnRouterAssociation>(work.ask, routers.into_iter().collect(), network.project_id.as_ref()).await?;
    if vpns.is_empty() {
        return Ok(());
    }
    let why = format!("Network {} is linked to a router which is already associated to bgpvpn(s) [{}]", network.id, names(&vpns));
    Err(l3_ports::bad("bgpvpn", why))
}

/// A router is not put into a VPN if a network it is on is in one.
async fn check_router(work: &mut Work<'_>, router: &Object<Router>) -> Result<(), Failure> {
    alone(work, ALONE).await?;
    let networks: BTreeSet<&Id<Network>> = router.desired.interfaces.iter().map(|it| &it.network_id).collect();
    for network in networks {
        let vpns = vpns_with::<BgpvpnNetworkAssociation>(work.ask, vec![network.to_string()], router.project_id.as_ref()).await?;
        if !vpns.is_empty() {
            let id = &router.id;
            let why = format!("router {id} has an attached network {network} which is already associated to bgpvpn(s) [{}]", names(&vpns));
            return Err(l3_ports::bad("bgpvpn", why));
        }
    }
    Ok(())
}

/// A router gets no interface on a network if it is in a VPN and the network in one for IP, as far as the caller sees them.
///
/// # Errors
/// It is so (409 `RouterInterfaceAttachmentConflict`), or the store failed.
pub(super) async fn check_interface(work: &mut Work<'_>, router: &Id<Router>, network: &Id<Network>) -> Result<(), Failure> {
    let ask = work.ask;
    let sees = |project: Option<&Id<Project>>| l3_ports::is_admin(ask) || project == ask.caller.project_id.as_ref();
    let by_router = Query::<BgpvpnRouterAssociation>::new().column("router_id", [router.to_string()]);
    if !ask.app.store.list_few(&by_router).await?.iter().any(|it| sees(it.project_id.as_ref())) {
        // One that joins a VPN meanwhile changes the router, which is read again then.
        return Ok(());
    }
    alone(work, ALONE).await?;
    let by_network = Query::<BgpvpnNetworkAssociation>::new().column("network_id", [network.to_string()]);
    let found = ask.app.store.list_few(&by_network).await?;
    let ids: Vec<String> = found.iter().filter(|it| sees(it.project_id.as_ref())).map(|it| it.desired.bgpvpn_id.to_string()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let vpns = ask.app.store.list_few(&Query::<Bgpvpn>::new().ids(ids)).await?;
    if !vpns.iter().any(|it| it.desired.kind == BgpvpnType::L3) {
        return Ok(());
    }
    let why = "It is not allowed to add an interface to a router if both the router and the network are bound to an L3 BGPVPN";
    let text = format!("Error cannot perform router interface attachment due to {why} while attempting the operation.");
    Err(conflict("RouterInterfaceAttachmentConflict", text))
}

static NETWORK_FORM: LazyLock<Form<BgpvpnNetworkAssociation>> = LazyLock::new(|| {
    let mut form = Form::new(
        "network_association",
        "network_associations",
        "network_associations",
        "BGPVPNNetAssocNotFound",
        "BGPVPN network association",
    )
    .rule("bgpvpn_network_association")
    .owner_hidden();
    form.fields.extend(owner_fields("get_bgpvpn_network_association:project_id"));
    form.fields(vec![
        field("network_id", |it: &Object<BgpvpnNetworkAssociation>, _: &()| json!(it.desired.network_id))
            .set_once(|it, v| put(&mut it.desired.network_id, uuid(v)))
            .required()
            .sort()
            .column("network_id"),
    ])
});

impl Noun for BgpvpnNetworkAssociation {
    type Around = ();

    const PARENT: Option<&'static str> = Some("bgpvpn_id");

    fn form() -> &'static Form<Self> {
        &NETWORK_FORM
    }

    fn blank(ask: &Ask, _: Option<&Id<Project>>) -> Result<BgpvpnNetworkAssociationDesired, Failure> {
        Ok(BgpvpnNetworkAssociationDesired { bgpvpn_id: vpn_of(ask)?, network_id: Id::random() })
    }

    async fn create(work: &mut Work<'_>, it: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let network = named::<Network>(work.ask, &it.desired.network_id).await?;
        check_network(work, &network).await?;
        let vpn = named::<Bgpvpn>(work.ask, &it.desired.bgpvpn_id).await?;
        join(work, it, &vpn, &network)
    }

    async fn delete(work: &mut Work<'_>, it: &Object<Self>) -> Result<(), Failure> {
        leave(work, it);
        Ok(())
    }
}

impl Nested for BgpvpnNetworkAssociation {
    type Parent = Bgpvpn;
}

static ROUTER_FORM: LazyLock<Form<BgpvpnRouterAssociation>> = LazyLock::new(|| {
    let mut form = Form::new(
        "router_association",
        "router_associations",
        "router_associations",
        "BGPVPNRouterAssocNotFound",
        "BGPVPN router association",
    )
    .rule("bgpvpn_router_association")
    .owner_hidden();
    form.fields.extend(owner_fields("get_bgpvpn_router_association:project_id"));
    form.fields(vec![
        field("router_id", |it: &Object<BgpvpnRouterAssociation>, _: &()| json!(it.desired.router_id))
            .set_once(|it, v| put(&mut it.desired.router_id, uuid(v)))
            .required()
            .sort()
            .column("router_id"),
        field("advertise_extra_routes", |it: &Object<BgpvpnRouterAssociation>, _| json!(it.desired.advertise_extra_routes))
            .set(|it, v| put(&mut it.desired.advertise_extra_routes, value::boolean(v)))
            .sort(),
    ])
});

impl Noun for BgpvpnRouterAssociation {
    type Around = ();

    const PARENT: Option<&'static str> = Some("bgpvpn_id");

    fn form() -> &'static Form<Self> {
        &ROUTER_FORM
    }

    fn blank(ask: &Ask, _: Option<&Id<Project>>) -> Result<BgpvpnRouterAssociationDesired, Failure> {
        Ok(BgpvpnRouterAssociationDesired { bgpvpn_id: vpn_of(ask)?, router_id: Id::random(), advertise_extra_routes: true })
    }

    async fn create(work: &mut Work<'_>, it: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        // Upstream takes no notice of it at creation, and its command-line client sends false whenever it is not told what to send.
        it.desired.advertise_extra_routes = true;
        let router = named::<Router>(work.ask, &it.desired.router_id).await?;
        check_router(work, &router).await?;
        let vpn = named::<Bgpvpn>(work.ask, &it.desired.bgpvpn_id).await?;
        if vpn.desired.kind != BgpvpnType::L3 {
            return Err(l3_ports::bad("bgpvpn", "Router associations require the bgpvpn to be of type l3"));
        }
        join(work, it, &vpn, &router)?;
        // As it was read, and changed: of this and a new interface that knows nothing of it one is done anew.
        work.step(|batch| batch.want(&router));
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, it: &Object<Self>) -> Result<(), Failure> {
        leave(work, it);
        Ok(())
    }
}

impl Nested for BgpvpnRouterAssociation {
    type Parent = Bgpvpn;
}

fn invalid(why: &str) -> Failure {
    bad("InvalidInput", format!("Invalid input for operation: {why}."))
}

/// A route as a body has it; none: it has the form of none.
fn route(v: &Value) -> Option<BgpvpnRoute> {
    let given = v.as_object()?;
    let local_pref = given.get("local_pref").map(local_pref).transpose().ok()?;
    let only = |name: &str| given.keys().all(|it| it == "type" || it == "local_pref" || it == name);
    match given.get("type")?.as_str()? {
        "prefix" if only("prefix") => {
            let prefix = given.get("prefix")?.as_str()?;
            prefix.parse::<IpNet>().ok()?;
            Some(BgpvpnRoute::Prefix { prefix: prefix.to_owned(), local_pref })
        }
        "bgpvpn" if only("bgpvpn_id") => Some(BgpvpnRoute::Bgpvpn { bgpvpn_id: uuid(given.get("bgpvpn_id")?).ok()?, local_pref }),
        _ => None,
    }
}

fn read_routes(v: &Value) -> Result<Vec<BgpvpnRoute>, String> {
    let list = match v {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        other => return Err(format!("'{}' is not a list", spelled(other))),
    };
    let mut read = Vec::with_capacity(list.len());
    for it in list {
        let one = route(it).ok_or_else(|| format!("No valid key specs matched for: {it}"))?;
        if read.contains(&one) {
            return Err(format!("Duplicate items in the list: '{it}'"));
        }
        read.push(one);
    }
    Ok(read)
}

fn route_shown(it: &BgpvpnRoute) -> Value {
    match it {
        BgpvpnRoute::Prefix { prefix, local_pref } => json!({"type": "prefix", "prefix": prefix, "local_pref": local_pref}),
        BgpvpnRoute::Bgpvpn { bgpvpn_id, local_pref } => json!({"type": "bgpvpn", "bgpvpn_id": bgpvpn_id, "local_pref": local_pref}),
    }
}

/// Checks the routes that a body gives: the VPNs they stand for are of the same project and type, and stay.
async fn check_routes(work: &mut Work<'_>, it: &Object<BgpvpnPortAssociation>, body: &Body) -> Result<(), Failure> {
    let Some(given) = body.get("routes") else { return Ok(()) };
    read_routes(given).map_err(|why| invalid(&why))?;
    let of = named::<Bgpvpn>(work.ask, &it.desired.bgpvpn_id).await?.desired.kind;
    for id in it.desired.routes.iter().filter_map(BgpvpnRoute::bgpvpn_id) {
        let missing = || bad("BGPVPNPortAssocRouteNoSuchBGPVPN", format!("bgpvpn specified in route does not exist ({id})"));
        let vpn = named::<Bgpvpn>(work.ask, id).await.map_err(|failure| match failure {
            Failure::Named { status: StatusCode::NOT_FOUND, .. } => missing(),
            other => other,
        })?;
        if vpn.desired.kind != of {
            let text = format!(
                "bgpvpn specified in route is of type {}, differing from type of associated BGPVPN {})",
                vpn.desired.kind.as_str(),
                of.as_str()
            );
            return Err(bad("BGPVPNPortAssocRouteBGPVPNTypeDiffer", text));
        }
        if vpn.project_id != it.project_id {
            let text = format!("bgpvpn specified in route does not belong to the project ({id})");
            return Err(bad("BGPVPNPortAssocRouteWrongBGPVPNProject", text));
        }
        // Changed, so that a removal of it that knows nothing of this begins anew.
        work.gone_means::<Bgpvpn>(missing());
        work.step(|batch| batch.touch(id));
    }
    Ok(())
}

static PORT_FORM: LazyLock<Form<BgpvpnPortAssociation>> = LazyLock::new(|| {
    let mut form =
        Form::new("port_association", "port_associations", "port_associations", "BGPVPNPortAssocNotFound", "BGPVPN port association")
            .rule("bgpvpn_port_association")
            .owner_hidden();
    form.fields.extend(owner_fields("get_bgpvpn_port_association:project_id"));
    form.fields(vec![
        field("port_id", |it: &Object<BgpvpnPortAssociation>, _: &()| json!(it.desired.port_id))
            .set_once(|it, v| put(&mut it.desired.port_id, uuid(v)))
            .required()
            .sort()
            .column("port_id"),
        // What is wrong with them has a failure of its own.
        field("routes", |it: &Object<BgpvpnPortAssociation>, _| it.desired.routes.iter().map(route_shown).collect()).set(|it, v| {
            if let Ok(read) = read_routes(v) {
                it.desired.routes = read;
            }
            Ok(())
        }),
        field("advertise_fixed_ips", |it: &Object<BgpvpnPortAssociation>, _| json!(it.desired.advertise_fixed_ips))
            .set(|it, v| put(&mut it.desired.advertise_fixed_ips, value::boolean(v)))
            .sort(),
    ])
});

impl Noun for BgpvpnPortAssociation {
    type Around = ();

    const PARENT: Option<&'static str> = Some("bgpvpn_id");

    fn form() -> &'static Form<Self> {
        &PORT_FORM
    }

    fn blank(ask: &Ask, _: Option<&Id<Project>>) -> Result<BgpvpnPortAssociationDesired, Failure> {
        Ok(BgpvpnPortAssociationDesired { bgpvpn_id: vpn_of(ask)?, port_id: Id::random(), advertise_fixed_ips: true, routes: Vec::new() })
    }

    async fn create(work: &mut Work<'_>, it: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let port = named::<Port>(work.ask, &it.desired.port_id).await?;
        let vpn = named::<Bgpvpn>(work.ask, &it.desired.bgpvpn_id).await?;
        join(work, it, &vpn, &port)?;
        check_routes(work, it, body).await
    }

    /// What a body does not name stays as it is, also routes: upstream forgets those.
    async fn update(work: &mut Work<'_>, _: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        check_routes(work, after, body).await
    }

    async fn delete(work: &mut Work<'_>, it: &Object<Self>) -> Result<(), Failure> {
        leave(work, it);
        Ok(())
    }
}

impl Nested for BgpvpnPortAssociation {
    type Parent = Bgpvpn;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_a_form() {
        let id = "11111111-1111-1111-1111-111111111111";
        let right = json!([
            {"type": "prefix", "prefix": "10.0.0.0/8", "local_pref": "7"},
            {"type": "prefix", "prefix": "2001:db8::/32"},
            {"type": "bgpvpn", "bgpvpn_id": id, "local_pref": 0},
        ]);
        let shown: Vec<Value> = read_routes(&right).unwrap().iter().map(route_shown).collect();
        assert_eq!((&shown[0]["local_pref"], &shown[1]["local_pref"], &shown[2]["bgpvpn_id"]), (&json!(7), &Value::Null, &json!(id)));
        assert_eq!(read_routes(&Value::Null).unwrap(), []);
        for wrong in [
            json!("x"),
            json!(["x"]),
            json!([{}]),
            json!([{"type": "x"}]),
            json!([{"type": "prefix"}]),
            json!([{"type": "prefix", "prefix": "10.0.0.7"}]),
            json!([{"type": "prefix", "prefix": "10.0.0.0/33"}]),
            json!([{"type": "prefix", "prefix": "10.0.0.0/8", "local_pref": -1}]),
            json!([{"type": "prefix", "prefix": "10.0.0.0/8", "bgpvpn_id": id}]),
            json!([{"type": "bgpvpn", "bgpvpn_id": "x"}]),
            json!([{"type": "bgpvpn", "bgpvpn_id": id, "prefix": "10.0.0.0/8"}]),
            json!([{"type": "prefix", "prefix": "10.0.0.0/8"}, {"type": "prefix", "prefix": "10.0.0.0/8"}]),
        ] {
            assert!(read_routes(&wrong).is_err(), "{wrong}");
        }
    }
}
