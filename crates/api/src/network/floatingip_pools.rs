//! `/v2.0/floatingip_pools`: where floating IPs can be had.

use std::collections::HashSet;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router as Routes};
use model::net::access::{RbacAction, RbacPolicy};
use model::net::{Network, Subnet};
use serde_json::{Value, json};
use store::Query;

use super::agents::plain_list;
use super::policies::of_project;
use super::{Ask, Extension, extension, l3_ports};
use crate::App;
use crate::enforce::allows;
use crate::failure::Failure;

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("floatingip-pools", "Floating IP Pools Extension", "Provides a floating IP pools API.", "2018-03-21T10:00:00-00:00")];

pub(super) fn routes() -> Routes<Arc<App>> {
    // Its clients spell it so; Neutron takes it either way.
    Routes::new().route("/floatingip-pools", get(list)).route("/floatingip_pools", get(list))
}

/// The IPv4 subnets of networks that are external for the caller.
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let own = ask.caller.project_id.as_ref();
    if !allows(&ask.app, &ask.caller, "get_floatingip_pool", &of_project(own)) {
        return Ok(Json(json!({"floatingip_pools": []})));
    }
    let is_admin = l3_ports::is_admin(&ask);
    let store = &ask.app.store;
    let external = store.list(&Query::<RbacPolicy>::new()).await?;
    let for_caller = |it: &model::Object<RbacPolicy>| {
        it.desired.action == RbacAction::AccessAsExternal && (is_admin || it.desired.target.is_none() || it.desired.target.as_ref() == own)
    };
    let mut ids: HashSet<String> = external.iter().filter(|it| for_caller(it)).map(|it| it.desired.object_id.clone()).collect();
    let owned: Vec<String> =
        external.iter().filter(|it| it.desired.action == RbacAction::AccessAsExternal).map(|it| it.desired.object_id.clone()).collect();
    if let Some(own) = own
        && !owned.is_empty()
    {
        ids.extend(store.list(&Query::<Network>::new().ids(owned).project(own)).await?.into_iter().map(|it| it.id.to_string()));
    }
    let subnets = if ids.is_empty() { Vec::new() } else { store.list(&Query::<Subnet>::new().column("network_id", ids)).await? };
    let project = own.map_or("", |it| it.as_str());
    let shown = subnets.iter().filter(|it| it.desired.cidr.network().is_ipv4()).map(|it| {
        json!({
            "subnet_id": it.id,
            "subnet_name": it.name,
            "project_id": project,
            "tenant_id": project,
            "network_id": it.desired.network_id,
            "cidr": it.desired.cidr.to_string(),
        })
    });
    let filters = ["subnet_id", "subnet_name", "network_id", "cidr", "project_id", "tenant_id"];
    Ok(Json(json!({"floatingip_pools": plain_list(&ask, &filters, shown.collect())?})))
}
