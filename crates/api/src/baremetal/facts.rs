//! `/v1/nodes/{node}/bios`, `firmware`, `inventory`: what was found out about a node.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{BiosSetting, FirmwareComponent, Node, NodeBios, NodeFirmware, NodeInventory};
use model::{Id, Kind, Object};
use serde_json::{Map, Value, json};

use super::versions::Minor;
use super::words::boolean;
use super::{Ask, access, node_fields};
use crate::failure::Failure;
use crate::page::Parameters;

fn since(ask: &Ask, minor: u16) -> Result<(), Failure> {
    if ask.minor < Minor(minor) { Err(Failure::NoRoute) } else { Ok(()) }
}

/// The row that has the node's id.
async fn of<K: Kind>(ask: &Ask, node: &Object<Node>) -> Result<Option<Object<K>>, Failure> {
    match Id::<K>::parse(node.id.as_str()) {
        Some(id) => Ok(ask.app.store.get(&id).await?),
        None => Ok(None),
    }
}

/// The names in `fields`, if any are asked for, of these.
fn fields<'a>(query: &'a HashMap<String, String>, known: &[&str]) -> Result<Option<Vec<&'a str>>, Failure> {
    if let Some(other) = query.keys().find(|key| !["fields", "detail"].contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let Some(text) = query.get("fields") else { return Ok(None) };
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
    match names.iter().find(|name| !known.contains(*name)) {
        Some(other) => Err(Failure::BadRequest(format!("Field(s) \"{other}\" are not valid"))),
        None => Ok(Some(names)),
    }
}

const SETTING: &[&str] = &[
    "name",
    "value",
    "attribute_type",
    "allowable_values",
    "lower_bound",
    "max_length",
    "min_length",
    "read_only",
    "reset_required",
    "unique",
    "upper_bound",
];

fn setting(ask: &Ask, bios: &Object<NodeBios>, setting: &BiosSetting, names: &[&str]) -> Value {
    let mut out = Map::from_iter([
        ("created_at".to_owned(), node_fields::time(Some(bios.created_at))),
        ("updated_at".to_owned(), node_fields::time(bios.updated_at)),
        ("links".to_owned(), node_fields::links(&ask.base, &format!("nodes/{}/bios/{}", bios.id, setting.name))),
    ]);
    for name in names {
        let value = match *name {
            "name" => json!(setting.name),
            "value" => json!(setting.value),
            "attribute_type" => json!(setting.attribute_type),
            "allowable_values" => json!(setting.allowable_values),
            "lower_bound" => json!(setting.lower_bound),
            "max_length" => json!(setting.max_length),
            "min_length" => json!(setting.min_length),
            "read_only" => json!(setting.read_only),
            "reset_required" => json!(setting.reset_required),
            "unique" => json!(setting.unique),
            "upper_bound" => json!(setting.upper_bound),
            _ => continue,
        };
        out.insert((*name).to_owned(), value);
    }
    Value::Object(out)
}

pub(super) async fn bios(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    since(&ask, 40)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:bios:get").await?;
    if ask.minor < Minor(74)
        && let Some((key, value)) = query.iter().find(|(key, _)| ["fields", "detail"].contains(&key.as_str()))
    {
        return Err(Failure::BadRequest(format!("Invalid query parameter ?{key}={value} received.")));
    }
    let detail = query.get("detail").map(|it| boolean("detail", &json!(it))).transpose()?.unwrap_or(false);
    let fields = fields(&query, SETTING)?;
    if detail && fields.is_some() {
        return Err(Failure::BadRequest("Can not specify ?detail=True and fields in the same request.".into()));
    }
    let names = fields.unwrap_or_else(|| if detail { SETTING.to_vec() } else { vec!["name", "value"] });
    let found: Option<Object<NodeBios>> = of(&ask, &node).await?;
    let items: Vec<Value> = found.iter().flat_map(|bios| bios.desired.settings.iter().map(|it| setting(&ask, bios, it, &names))).collect();
    Ok(Json(json!({ "bios": items })).into_response())
}

pub(super) async fn bios_setting(ask: Ask, Path((ident, name)): Path<(String, String)>) -> Result<Response, Failure> {
    since(&ask, 40)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:bios:get").await?;
    let found: Option<Object<NodeBios>> = of(&ask, &node).await?;
    let names: &[&str] = if ask.minor < Minor(74) { &["name", "value"] } else { SETTING };
    let one = found.as_ref().and_then(|bios| {
        let it = bios.desired.settings.iter().find(|it| it.name == name)?;
        Some(setting(&ask, bios, it, names))
    });
    let one = one.ok_or_else(|| {
        let text = format!("Node {} doesn't have a BIOS setting '{name}'", node.id);
        Failure::named(StatusCode::NOT_FOUND, "BIOSSettingNotFound", text)
    })?;
    Ok(Json(Value::Object(Map::from_iter([(name, one)]))).into_response())
}

const COMPONENT: &[&str] = &["created_at", "updated_at", "component", "initial_version", "current_version", "last_version_flashed"];
/// The fields of components that came with 1.114.
const IDENTITY: &[&str] = &["vendor", "model", "serial_number"];

fn component(firmware: &Object<NodeFirmware>, component: &FirmwareComponent, names: &[&str]) -> Value {
    let value = |name: &str| match name {
        "created_at" => node_fields::time(Some(firmware.created_at)),
        "updated_at" => node_fields::time(firmware.updated_at),
        "component" => json!(component.component),
        "initial_version" => json!(component.initial_version),
        "current_version" => json!(component.current_version),
        "last_version_flashed" => json!(component.last_version_flashed),
        "vendor" => json!(component.vendor),
        "model" => json!(component.model),
        "serial_number" => json!(component.serial_number),
        _ => Value::Null,
    };
    names.iter().map(|name| ((*name).to_owned(), value(name))).collect()
}

pub(super) async fn firmware(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    since(&ask, 86)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:firmware:get").await?;
    let all = [COMPONENT, IDENTITY].concat();
    let fields = fields(&query, &all)?;
    if ask.minor < Minor(114)
        && let Some(names) = &fields
    {
        let mut early: Vec<&str> = names.iter().copied().filter(|it| IDENTITY.contains(it)).collect();
        early.sort_unstable();
        if !early.is_empty() {
            return Err(Failure::BadRequest(format!(
                "Fields {} are not allowed in this API version. They require at least API version 1.114.",
                early.join(", ")
            )));
        }
    }
    let names = fields.unwrap_or_else(|| if ask.minor < Minor(114) { COMPONENT.to_vec() } else { all.clone() });
    let found: Option<Object<NodeFirmware>> = of(&ask, &node).await?;
    let items: Vec<Value> = found.iter().flat_map(|it| it.desired.components.iter().map(|one| component(it, one, &names))).collect();
    Ok(Json(json!({ "firmware": items })).into_response())
}

pub(super) async fn inventory(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    since(&ask, 81)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:inventory:get").await?;
    let found: Option<Object<NodeInventory>> = of(&ask, &node).await?;
    let found = found.ok_or_else(|| {
        let text = format!("Node inventory record for node {} could not be found.", node.id);
        Failure::named(StatusCode::NOT_FOUND, "NodeInventoryNotFound", text)
    })?;
    Ok(Json(json!({"inventory": found.desired.inventory, "plugin_data": found.desired.plugin_data})).into_response())
}
