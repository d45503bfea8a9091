//! `/v1/volume`: by what nodes reach volumes, and which.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::baremetal::{Node, PowerState, ProvisionState, VolumeConnector, VolumeConnectorDesired, VolumeTarget, VolumeTargetDesired};
use model::secret::Settings;
use model::{Id, Object};
use serde_json::{Map, Value, json};

use super::resource::{Change, Detail, Field, Form, Resource, Rules, Search, Shape, Whose, field, id_of, links};
use super::versions::Minor;
use super::{Ask, access};
use crate::App;
use crate::failure::Failure;

/// Allocation pool of connectors: `<type>/<connector id>`.
const CONNECTOR_POOL: &str = "volume-connector";
/// Allocation pool of places in boot orders: `<node>/<index>`.
const INDEX_POOL: &str = "volume-boot-index";

const RULES: Rules = Rules {
    get: "baremetal:volume:get",
    list: Some(("baremetal:volume:list_all", "baremetal:volume:list")),
    create: "baremetal:volume:create",
    update: "baremetal:volume:update",
    delete: "baremetal:volume:delete",
};

static CONNECTOR_FIELDS: &[Field<VolumeConnector>] = &[
    field::<VolumeConnector>("connector_id", 32, |it, _| json!(it.desired.connector_id))
        .set(Shape::Must(255), |it, value| {
            value.as_str().unwrap_or_default().clone_into(&mut it.desired.connector_id);
            Ok(())
        })
        .required()
        .brief(),
    field::<VolumeConnector>("extra", 32, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    field::<VolumeConnector>("node_uuid", 32, |it, _| json!(it.desired.node_id))
        .set(Shape::Uuid, |it, value| {
            it.desired.node_id = id_of(&value).ok_or("Schema error for connector: None is not of type 'string'")?;
            Ok(())
        })
        .required()
        .brief(),
    field::<VolumeConnector>("type", 32, |it, _| json!(it.desired.kind))
        .set(Shape::Must(32), |it, value| {
            value.as_str().unwrap_or_default().clone_into(&mut it.desired.kind);
            Ok(())
        })
        .required()
        .brief(),
];

static TARGET_FIELDS: &[Field<VolumeTarget>] = &[
    field::<VolumeTarget>("boot_index", 32, |it, _| json!(it.desired.boot_index))
        .set(Shape::Number, |it, value| {
            let index = value.as_u64().and_then(|it| u32::try_from(it).ok());
            it.desired.boot_index =
                index.ok_or_else(|| format!("Schema error for target: {value} is greater than the maximum of 4294967295"))?;
            Ok(())
        })
        .required()
        .brief(),
    field::<VolumeTarget>("extra", 32, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    field::<VolumeTarget>("node_uuid", 32, |it, _| json!(it.desired.node_id))
        .set(Shape::Uuid, |it, value| {
            it.desired.node_id = id_of(&value).ok_or("Schema error for target: None is not of type 'string'")?;
            Ok(())
        })
        .required()
        .brief(),
    field::<VolumeTarget>("properties", 32, |it, ask| match access::may_any(ask, "baremetal:volume:view_target_properties") {
        true => Value::Object(it.desired.properties.masked()),
        false => json!({
            "redacted_contents":
                "** Value redacted: Requires permission baremetal:volume:view_target_properties access. Permission denied. **"
        }),
    })
    .map(|it| &mut it.desired.properties.0)
    .raw(|it, _| Value::Object(it.desired.properties.0.clone())),
    field::<VolumeTarget>("volume_id", 32, |it, _| json!(it.desired.volume_id))
        .set(Shape::Must(255), |it, value| {
            value.as_str().unwrap_or_default().clone_into(&mut it.desired.volume_id);
            Ok(())
        })
        .required()
        .brief(),
    field::<VolumeTarget>("volume_type", 32, |it, _| json!(it.desired.volume_type))
        .set(Shape::Must(64), |it, value| {
            value.as_str().unwrap_or_default().clone_into(&mut it.desired.volume_type);
            Ok(())
        })
        .required()
        .brief(),
];

static CONNECTOR: Form<VolumeConnector> = Form {
    one: "connector",
    title: "Volume connector",
    a: "A volume connector",
    many: "connectors",
    path: "volume/connectors",
    link: None,
    since: (32, "Resource could not be found."),
    writes_405: false,
    patch_since: None,
    named: false,
    detail: Detail::Argument,
    rules: RULES,
    whose: Whose::Node(|it| &it.desired.node_id),
    fields: CONNECTOR_FIELDS,
    patchable: &[],
    unsortable: &["extra"],
    filters: &[("node", 32)],
};

static TARGET: Form<VolumeTarget> = Form {
    one: "target",
    title: "Volume target",
    a: "A volume target",
    many: "targets",
    path: "volume/targets",
    link: None,
    since: (32, "Resource could not be found."),
    writes_405: false,
    patch_since: None,
    named: false,
    detail: Detail::Argument,
    rules: RULES,
    whose: Whose::Node(|it| &it.desired.node_id),
    fields: TARGET_FIELDS,
    patchable: &[],
    unsortable: &["extra", "properties"],
    filters: &[("node", 32)],
};

/// Volumes of a machine that runs are not changed under it.
fn off(node: &Object<Node>, action: &str) -> Result<(), Failure> {
    access::unlocked(node)?;
    if node.observed.power == Some(PowerState::Off) {
        return Ok(());
    }
    let state = node.observed.power.map_or("None", PowerState::as_str);
    Err(Failure::BadRequest(format!(
        "The requested action \"{action}\" can not be performed on node \"{}\" while it is in state \"{state}\".",
        node.id
    )))
}

/// The same of removing them, which a machine that is nobody's does not mind.
fn removable(node: &Object<Node>, action: &str) -> Result<(), Failure> {
    match node.observed.state {
        ProvisionState::Manageable | ProvisionState::Enroll | ProvisionState::AdoptFailed => access::unlocked(node),
        _ => off(node, action),
    }
}

async fn of_node<K: Resource>(ask: &Ask, search: Search<K>, query: &HashMap<String, String>) -> Result<Search<K>, Failure> {
    match query.get("node") {
        Some(node) => Ok(search.column("node_id", [access::node(ask, node).await?.id.to_string()])),
        None => Ok(search),
    }
}

impl Resource for VolumeConnector {
    fn form() -> &'static Form<Self> {
        &CONNECTOR
    }

    fn blank() -> VolumeConnectorDesired {
        VolumeConnectorDesired { node_id: Id::random(), kind: String::new(), connector_id: String::new(), extra: Map::new() }
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        if change.before.is_some() {
            off(&access::settled(change.ask, change.node()?.clone()).await?, "volume connector update")?;
        }
        change.hold(CONNECTOR_POOL, |it| Some(format!("{}/{}", it.desired.kind, it.desired.connector_id)));
        Ok(())
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        removable(&access::settled(change.ask, change.node()?.clone()).await?, "volume connector deletion")?;
        change.free(&[CONNECTOR_POOL]);
        Ok(())
    }

    async fn filter(ask: &Ask, search: Search<Self>, query: &HashMap<String, String>) -> Result<Search<Self>, Failure> {
        of_node(ask, search, query).await
    }

    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        let it = &object.desired;
        let text = || format!("A volume connector with type {} and connector ID {} already exists.", it.kind, it.connector_id);
        (pool == CONNECTOR_POOL).then(text)
    }
}

impl Resource for VolumeTarget {
    fn form() -> &'static Form<Self> {
        &TARGET
    }

    fn blank() -> VolumeTargetDesired {
        VolumeTargetDesired {
            node_id: Id::random(),
            volume_type: String::new(),
            volume_id: String::new(),
            boot_index: 0,
            properties: Settings::default(),
            extra: Map::new(),
        }
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        if change.before.is_some() {
            off(&access::settled(change.ask, change.node()?.clone()).await?, "volume target update")?;
        }
        change.hold(INDEX_POOL, |it| Some(format!("{}/{}", it.desired.node_id, it.desired.boot_index)));
        Ok(())
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        removable(&access::settled(change.ask, change.node()?.clone()).await?, "volume target deletion")?;
        change.free(&[INDEX_POOL]);
        Ok(())
    }

    async fn filter(ask: &Ask, search: Search<Self>, query: &HashMap<String, String>) -> Result<Search<Self>, Failure> {
        of_node(ask, search, query).await
    }

    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        let text = || format!("A volume target with boot index '{}' for the same node already exists.", object.desired.boot_index);
        (pool == INDEX_POOL).then(text)
    }
}

/// `GET /v1/volume`.
async fn root(ask: Ask) -> Result<Response, Failure> {
    access::require_any(&ask, RULES.get)?;
    parts(&ask, "volume")
}

/// `GET /v1/nodes/{node}/volume`.
async fn root_of_node(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let node = access::permitted(&ask, &ident, RULES.get).await?;
    parts(&ask, &format!("nodes/{}/volume", node.id))
}

fn parts(ask: &Ask, path: &str) -> Result<Response, Failure> {
    if ask.minor < Minor(32) {
        return Err(Failure::NoRoute);
    }
    let below = |part: &str| links(ask, &format!("{path}/{part}"));
    Ok(Json(json!({"links": below(""), "connectors": below("connectors"), "targets": below("targets")})).into_response())
}

/// What volumes have beside what all resources have.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/volume", get(root)).route("/v1/nodes/{node}/volume", get(root_of_node))
}
