//! `/v2.0/ndp_proxies`: inner IPv6 addresses for which routers answer on their external networks.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::Router as Routes;
use http::StatusCode;
use model::identity::Project;
use model::net::Port;
use model::net::l3::{NdpProxy, NdpProxyDesired, Router};
use model::{Id, Object};
use serde_json::json;

use super::floating_ips::maybe_ip;
use super::l3_ports::{self, bad, conflict};
use super::noun::{Body, Form, Noun, Work, field, find, named, routes as noun_routes};
use super::{Ask, Extension, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("l3-ndp-proxy", "L3 NDP Proxy", "NDP proxy support for routers", "2021-06-29T10:00:00-00:00")];

pub(super) fn routes() -> Routes<Arc<App>> {
    noun_routes::<NdpProxy>()
}

static FORM: LazyLock<Form<NdpProxy>> = LazyLock::new(|| {
    Form::new("ndp_proxy", "ndp_proxies", "ndp_proxies", "NDPProxyNotFound", "Ndp proxy").named().stamped().fields(vec![
        field("router_id", |it: &Object<NdpProxy>, _: &()| json!(it.desired.router_id))
            .set_once(|it, v| {
                it.desired.router_id = Some(l3_ports::uuid(v)?);
                Ok(())
            })
            .required()
            .sort()
            .column("router_id"),
        field("port_id", |it: &Object<NdpProxy>, _| json!(it.desired.port_id))
            .set_once(|it, v| {
                it.desired.port_id = Some(l3_ports::uuid(v)?);
                Ok(())
            })
            .required()
            .sort()
            .column("port_id"),
        field("ip_address", |it: &Object<NdpProxy>, _| json!(it.desired.ip_address))
            .set_once(|it, v| put(&mut it.desired.ip_address, maybe_ip(v)))
            .sort()
            .column("ip_address"),
        field("description", |it: &Object<NdpProxy>, _| json!(it.desired.description))
            .set(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
            .filter(),
    ])
});

impl Noun for NdpProxy {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<NdpProxyDesired, Failure> {
        Ok(NdpProxyDesired { description: String::new(), router_id: None, port_id: None, ip_address: None, subnet_id: None })
    }

    async fn create(work: &mut Work<'_>, proxy: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let ask = work.ask;
        let (Some(router), Some(port)) = (proxy.desired.router_id.clone(), proxy.desired.port_id.clone()) else { return Ok(()) };
        let port = named::<Port>(ask, &port).await?;
        let (router, _) = find::<Router>(ask, router.as_str()).await?;
        let here: Vec<_> = router.desired.interfaces.iter().filter(|it| it.network_id == port.desired.network_id).collect();
        let unreachable =
            || conflict("PortUnreachableRouter", format!("The port {} cannot reach the router {} by IPv6 subnet.", port.id, router.id));
        if here.is_empty() {
            return Err(unreachable());
        }
        let gateway = router.desired.gateways.first().filter(|_| router.desired.enable_ndp_proxy);
        let Some(gateway) = gateway else {
            let text =
                format!("The enable_ndp_proxy parameter of router {} must be set as True while create ndp proxy entry on it.", router.id);
            return Err(conflict("RouterNDPProxyNotEnable", text));
        };
        let own: Vec<_> = port.desired.fixed_ips.iter().filter(|it| it.ip_address.is_ipv6()).collect();
        if own.is_empty() {
            return Err(bad("ndp_proxy", format!("Requested port {} must allocate one IPv6 address at least", port.id)));
        }
        let reached = |subnet: &Id<model::net::Subnet>| here.iter().any(|it| it.subnet_ids.contains(subnet));
        let invalid = |address: IpAddr, why: String| {
            Failure::named(StatusCode::BAD_REQUEST, "InvalidAddress", format!("The address {address} is invalid, reason: {why}."))
        };
        let chosen = match proxy.desired.ip_address {
            None => own.iter().find(|it| reached(&it.subnet_id)).ok_or_else(unreachable)?,
            Some(address) => {
                let found = own.iter().find(|it| it.ip_address == address);
                let found = found.ok_or_else(|| invalid(address, format!("This address not belong to the port {}", port.id)))?;
                if !reached(&found.subnet_id) {
                    return Err(invalid(address, format!("This address cannot reach the router {}", router.id)));
                }
                found
            }
        };
        let outside = l3_ports::v6_scope(work, &gateway.network_id).await?;
        let inside = l3_ports::v6_scope(work, &port.desired.network_id).await?;
        if outside != inside {
            let spelled = |it: Option<Id<_>>| it.map_or_else(|| "None".to_owned(), |it| it.to_string());
            let text = format!(
                "The IPv6 address scope {} of external network conflict with internal network's IPv6 address scope {}.",
                spelled(outside),
                spelled(inside)
            );
            return Err(conflict("AddressScopeConflict", text));
        }
        proxy.desired.ip_address = Some(chosen.ip_address);
        proxy.desired.subnet_id = Some(chosen.subnet_id.clone());
        let interface = here.iter().find(|it| it.subnet_ids.contains(&chosen.subnet_id));
        for port in [Some(&gateway.port_id), interface.map(|it| &it.port_id), Some(&port.id)].into_iter().flatten() {
            work.step(|batch| batch.require(port));
        }
        // With prefixes of several subnets an interface may stay and lose this one.
        work.step(|batch| batch.touch(&router.id));
        Ok(())
    }
}
