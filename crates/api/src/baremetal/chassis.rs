//! `/v1/chassis`: what nodes sit in.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use model::baremetal::{Chassis, ChassisDesired, Node};
use serde_json::{Value, json};
use store::Query;

use super::resource::{Change, Detail, Field, Form, Ident, Resource, Rules, Whose, field, find, links};
use super::{Ask, node_list};
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

static FIELDS: &[Field<Chassis>] = &[
    field::<Chassis>("description", 1, |it, _| json!(it.desired.description)).text(255, |it| &mut it.desired.description).brief(),
    field::<Chassis>("extra", 1, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    // Two links inside a list inside a list, as Ironic shows them.
    field::<Chassis>("nodes", 1, |it, ask| json!([links(ask, &format!("chassis/{}/nodes", it.id))])),
];

static FORM: Form<Chassis> = Form {
    one: "chassis",
    title: "Chassis",
    a: "A chassis",
    many: "chassis",
    path: "chassis",
    link: None,
    since: (1, ""),
    writes_405: false,
    patch_since: None,
    named: false,
    detail: Detail::Path,
    rules: Rules {
        get: "baremetal:chassis:get",
        list: None,
        create: "baremetal:chassis:create",
        update: "baremetal:chassis:update",
        delete: "baremetal:chassis:delete",
    },
    whose: Whose::Operator,
    fields: FIELDS,
    patchable: &[],
    unsortable: &["extra", "nodes"],
    filters: &[],
};

impl Resource for Chassis {
    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank() -> ChassisDesired {
        ChassisDesired::default()
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let id = change.after.id.to_string();
        let inside = Query::<Node>::new().column("chassis_id", [id.clone()]).limit(1);
        if !change.ask.app.store.list(&inside).await?.is_empty() {
            return Err(Failure::BadRequest(format!("Cannot complete the requested action because chassis {id} contains nodes.")));
        }
        change.step(|batch| batch.unless_referenced::<Node>("chassis_id", &id));
        Ok(())
    }
}

/// `GET /v1/chassis/{ident}/nodes`.
async fn nodes(ask: Ask, Path(path): Path<Ident>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let (chassis, _) = find::<Chassis>(&ask, &path.ident).await?;
    node_list::of_chassis(&ask, &query, &chassis.id, false).await
}

/// `GET /v1/chassis/{ident}/nodes/detail`.
async fn nodes_detail(ask: Ask, Path(path): Path<Ident>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let (chassis, _) = find::<Chassis>(&ask, &path.ident).await?;
    node_list::of_chassis(&ask, &query, &chassis.id, true).await
}

/// What chassis have beside what all resources have.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/chassis/{ident}/nodes", get(nodes)).route("/v1/chassis/{ident}/nodes/detail", get(nodes_detail))
}
