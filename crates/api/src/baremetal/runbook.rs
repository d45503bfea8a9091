//! `/v1/runbooks`: steps kept under a name, which who may not write steps may run.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::{StatusCode, header};
use model::Object;
use model::baremetal::{Runbook, RunbookDesired};
use serde_json::{Value, json};
use store::{Batch, Query, StoreError, Term};

use super::Ask;
use super::access::{is_logical_name, require_of};
use super::resource::{
    Change, Detail, Field, Form, Ident, Resource, Rules, Shape, Whose, check_trait, field, find, held_name, refused, steps,
};
use super::versions::Minor;
use super::words::only;
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;

/// Allocation pool of names.
const NAME_POOL: &str = "runbook-name";

static FIELDS: &[Field<Runbook>] = &[
    field::<Runbook>("name", 92, |it, _| json!(it.name))
        .set(Shape::Must(255), |it, value| {
            value.as_str().unwrap_or_default().clone_into(&mut it.name);
            Ok(())
        })
        .required()
        .brief(),
    field::<Runbook>("extra", 92, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    field::<Runbook>("public", 92, |it, _| json!(it.desired.public)).flag(false, |it| &mut it.desired.public),
    field::<Runbook>("owner", 92, |it, _| json!(it.desired.owner)).text(255, |it| &mut it.desired.owner),
    field::<Runbook>("disable_ramdisk", 92, |it, _| json!(it.desired.disable_ramdisk)).flag(false, |it| &mut it.desired.disable_ramdisk),
    field::<Runbook>("description", 112, |it, _| json!(it.desired.description)).text(255, |it| &mut it.desired.description),
    field::<Runbook>("steps", 92, |it, _| steps::shown(&it.desired.steps, "order"))
        .raw(|it, _| steps::raw(&it.desired.steps, "order"))
        .set(Shape::Any, |it, value| {
            it.desired.steps = steps::read("runbook", &value, "order")?;
            Ok(())
        })
        .required(),
    field::<Runbook>("traits", 112, |it, _| json!(it.desired.traits)),
];

static FORM: Form<Runbook> = Form {
    one: "runbook",
    title: "Runbook",
    a: "A runbook",
    many: "runbooks",
    path: "runbooks",
    link: None,
    since: (92, "The API version does not allow runbooks"),
    writes_405: true,
    patch_since: None,
    named: true,
    detail: Detail::Argument,
    rules: Rules {
        get: "baremetal:runbook:get",
        list: Some(("baremetal:runbook:list_all", "baremetal:runbook:list")),
        create: "baremetal:runbook:create",
        update: "baremetal:runbook:update",
        delete: "baremetal:runbook:delete",
    },
    whose: Whose::Says(says),
    fields: FIELDS,
    patchable: &["disable_ramdisk", "extra", "name", "owner", "public", "steps", "description"],
    unsortable: &["extra", "steps", "traits"],
    filters: &[("project", 92)],
};

/// What rules see of one.
pub(super) fn says(runbook: &Object<Runbook>) -> policy::Target {
    match &runbook.desired.owner {
        // Without an owner the key is missing, so that a caller without a project is not taken for it.
        Some(owner) => json!({"runbook.owner": owner}),
        None => json!({}),
    }
}

impl Resource for Runbook {
    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank() -> RunbookDesired {
        RunbookDesired::default()
    }

    fn may_create(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        // The owner is a wish until it is admitted: the rule is asked of nobody's.
        super::access::require_any(change.ask, FORM.rules.create)?;
        if change.ask.caller.system {
            return Ok(());
        }
        let project = change.ask.caller.project_id.as_ref().map(ToString::to_string);
        if change.after.desired.owner.is_some() && change.after.desired.owner != project {
            let why = "Cannot create a runbook as a project scoped admin with an owner other than your own project.";
            return Err(Failure::BadRequest(why.into()));
        }
        if project.is_some() && change.after.desired.public {
            return Err(Failure::BadRequest("Cannot create a public runbook as a project scoped admin.".into()));
        }
        change.after.desired.owner = project;
        Ok(())
    }

    fn may_patch(change: &Change<'_, Self>) -> Result<(), Failure> {
        let special = [("owner", "baremetal:runbook:update:owner"), ("public", "baremetal:runbook:update:public")];
        for (_, rule) in special.iter().filter(|(name, _)| change.names(name)) {
            change.require(rule)?;
        }
        let is_special = |name: &String| special.iter().any(|(it, _)| it == name);
        if change.given.is_empty() || !change.given.iter().all(is_special) {
            change.require(FORM.rules.update)?;
        }
        Ok(())
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let name = change.after.name.clone();
        // Names given in newer versions stay.
        let is_new = change.before.as_ref().is_none_or(|it| it.name != name);
        let schema = |why: String| Failure::BadRequest(format!("Schema error for runbook: {why}"));
        if is_new && change.ask.minor < Minor(112) {
            check_trait(&json!(name)).map_err(schema)?;
        } else if !is_logical_name(&name) {
            return Err(schema(format!("'{name}' does not match '^[A-Za-z0-9\\\\-._~]+$'")));
        }
        if let Some(before) = &change.before {
            let public = change.after.desired.public;
            let gets_owner = change.names("owner") && change.after.desired.owner.is_some();
            if gets_owner && (public || (before.desired.public && !change.names("public"))) {
                return Err(Failure::BadRequest("There cannot be an owner for a public runbook".into()));
            }
            if change.names("public") && !change.names("owner") {
                change.after.desired.owner = None;
            }
        }
        change.hold(NAME_POOL, held_name);
        Ok(())
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        change.free(&[NAME_POOL]);
        Ok(())
    }

    fn own(ask: &Ask, query: Query<Self>) -> Query<Self> {
        let owners: Vec<String> = ask.caller.project_id.iter().map(ToString::to_string).collect();
        query.any_of(vec![Term::column("owner", owners), Term::column("public", vec!["true".into()])])
    }

    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        (pool == NAME_POOL).then(|| format!("A runbook with name {} already exists.", object.name))
    }

    fn is_public(object: &Object<Self>) -> bool {
        object.desired.public
    }
}

fn gate(ask: &Ask) -> Result<(), Failure> {
    if ask.minor < Minor(112) {
        return Err(refused(StatusCode::NOT_FOUND, "The API version does not allow runbook traits"));
    }
    Ok(())
}

/// `GET /v1/runbooks/{ident}/traits`.
async fn traits(ask: Ask, Path(path): Path<Ident>) -> Result<Response, Failure> {
    gate(&ask)?;
    let (runbook, _) = find::<Runbook>(&ask, &path.ident).await?;
    Ok(Json(json!({"traits": runbook.desired.traits})).into_response())
}

/// Changes the traits of one.
async fn change(ask: &Ask, ident: &str, change: impl Fn(&mut Vec<String>)) -> Result<(), Failure> {
    gate(ask)?;
    for _ in 0..RACES {
        let (mut runbook, _) = find::<Runbook>(ask, ident).await?;
        require_of(ask, FORM.rules.update, &says(&runbook))?;
        change(&mut runbook.desired.traits);
        match ask.app.store.apply(Batch::wishes().want(&runbook)).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("Runbook {ident} is being changed by others; try again")))
}

fn valid(value: &Value) -> Result<String, Failure> {
    check_trait(value).map_err(|why| Failure::BadRequest(format!("Schema error for body: {why}")))
}

/// `PUT /v1/runbooks/{ident}/traits`.
async fn set_traits(ask: Ask, Path(path): Path<Ident>, Json(body): Json<Value>) -> Result<Response, Failure> {
    only(&body, &["traits"])?;
    let items = body.get("traits").and_then(Value::as_array).ok_or_else(|| {
        let why = "A single runbook trait may be added via PUT /v1/runbooks/<runbook identifier>/traits/<trait> with no body, or all \
                   runbook traits may be replaced via PUT /v1/runbooks/<runbook identifier>/traits with the list of traits specified in \
                   the request body.";
        Failure::BadRequest(why.into())
    })?;
    let traits: Vec<String> = items.iter().map(valid).collect::<Result<_, _>>()?;
    change(&ask, &path.ident, |has| {
        has.clone_from(&traits);
        has.sort();
        has.dedup();
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /v1/runbooks/{ident}/traits`.
async fn delete_traits(ask: Ask, Path(path): Path<Ident>) -> Result<Response, Failure> {
    change(&ask, &path.ident, Vec::clear).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PUT /v1/runbooks/{ident}/traits/{trait}`.
async fn add_trait(ask: Ask, Path((ident, name)): Path<(String, String)>) -> Result<Response, Failure> {
    let name = valid(&json!(name))?;
    change(&ask, &ident, |has| {
        if !has.contains(&name) {
            has.push(name.clone());
            has.sort();
        }
    })
    .await?;
    let location = format!("{}/v1/runbooks/{ident}/traits/{name}", ask.base);
    Ok((StatusCode::NO_CONTENT, [(header::LOCATION, location)]).into_response())
}

/// `DELETE /v1/runbooks/{ident}/traits/{trait}`.
async fn delete_trait(ask: Ask, Path((ident, name)): Path<(String, String)>) -> Result<Response, Failure> {
    change(&ask, &ident, |has| has.retain(|it| *it != name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What runbooks have beside what all resources have.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/runbooks/{ident}/traits", get(traits).put(set_traits).delete(delete_traits))
        .route("/v1/runbooks/{ident}/traits/{trait}", put(add_trait).delete(delete_trait))
}
