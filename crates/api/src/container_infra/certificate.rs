//! `/v1/certificates`: a cluster's authority, and certificates of its users.

use std::time::SystemTime;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};
use store::{Batch, Severity};

use super::policies::of_cluster;
use super::{Ask, cluster, wire};
use crate::failure::Failure;
use crate::page::Parameters;

/// Longest request that is signed, in bytes.
const MAX_REQUEST: usize = 16 * 1024;

/// Magnum has several authorities for Kubernetes; a swarm has one.
fn kind(kind: Option<&str>) -> Result<(), Failure> {
    match kind {
        None => Ok(()),
        Some(other) => Err(Failure::BadRequest(format!("ca_cert_type: '{other}': a cluster here has one authority"))),
    }
}

pub(super) async fn authority(ask: Ask, Path(ident): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let cluster = cluster::find(&ask, &ident).await?;
    ask.require("certificate:get", &of_cluster(&cluster))?;
    kind(query.get("ca_cert_type").map(String::as_str))?;
    Ok(Json(json!({
        "cluster_uuid": cluster.id,
        "pem": cluster.desired.ca_cert_pem,
        "csr": null,
        "links": wire::links(&ask.base, "certificates", cluster.id.as_str()),
    }))
    .into_response())
}

pub(super) async fn sign(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    let text = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_REQUEST => Ok(Some(text.as_str())),
        Some(_) => Err(Failure::BadRequest(format!("{key}: a string of at most {MAX_REQUEST} bytes"))),
    };
    let ident = text("cluster_uuid")?.ok_or_else(|| Failure::BadRequest("cluster_uuid: mandatory".into()))?;
    let csr = text("csr")?.ok_or_else(|| Failure::BadRequest("csr: mandatory".into()))?.to_owned();
    let cluster = match cluster::find(&ask, ident).await {
        Err(Failure::NotFound { .. }) => return Err(Failure::BadRequest(format!("Cluster {ident} could not be found."))),
        other => other?,
    };
    ask.require("certificate:create", &of_cluster(&cluster))?;
    kind(text("ca_cert_type")?)?;
    if cluster.is_deleting() {
        return Err(Failure::Conflict(format!("Cluster {ident} is being deleted.")));
    }
    let (cert, key, request) = (cluster.desired.ca_cert_pem.clone(), cluster.desired.ca_key_pem.clone(), csr.clone());
    let signed = tokio::task::spawn_blocking(move || pki::Authority::load(&cert, &key)?.sign_csr(&request, SystemTime::now())).await;
    let pem = match signed.map_err(|error| Failure::Internal(error.to_string()))? {
        Ok(pem) => pem,
        Err(error @ pki::PkiError::Invalid { .. }) => return Err(Failure::BadRequest(error.to_string())),
        Err(error) => return Err(Failure::Internal(error.to_string())),
    };
    // A certificate cannot be taken back: who got one is written down.
    let detail = json!({"user": ask.caller.user_id});
    ask.app.store.apply(Batch::wishes().history(&cluster.id, Severity::Info, "certificate issued", &detail)).await?;
    Ok((
        StatusCode::CREATED,
        Json(json!({
            "cluster_uuid": cluster.id,
            "pem": pem,
            "csr": csr,
            "links": wire::links(&ask.base, "certificates", cluster.id.as_str()),
        })),
    )
        .into_response())
}
