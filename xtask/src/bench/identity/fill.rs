//! A store that is not empty: many users, each with a role in some project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::world::{World, create, list, list_once, role};
use crate::bench::client::Connection;
use crate::bench::parallel::{parallel, send_all};

/// How many users share a project.
const USERS_A_PROJECT: usize = 100;
/// What names begin with; it stays after the run, so that the next finds it.
const PREFIX: &str = "bench-fill-";

/// Makes as many users without passwords, projects for them, and one role assignment each, as far as they are not there.
///
/// # Errors
/// The service refuses.
pub(crate) async fn fill(world: &World, users: usize) -> Result<()> {
    let mut connection = world.connection();
    let (target, token) = (&world.target, world.token());
    let reader = role(target, token, &mut connection, "reader").await?;
    let named = async |connection: &mut Connection, plural: &str| -> Result<BTreeMap<String, String>> {
        let all = list(target, token, connection, plural).await?;
        let mine =
            all.iter().filter_map(|it| Some((it["name"].as_str()?, it["id"].as_str()?))).filter(|(name, _)| name.starts_with(PREFIX));
        Ok(mine.map(|(name, id)| (name.to_owned(), id.to_owned())).collect())
    };
    let mut project_ids = named(&mut connection, "projects").await?;
    let old: BTreeSet<String> = project_ids.keys().cloned().collect();
    let mut user_ids = named(&mut connection, "users").await?;
    let projects: Vec<String> = (0..users.div_ceil(USERS_A_PROJECT)).map(|number| format!("{PREFIX}project-{number:04}")).collect();
    let names: Vec<String> = (0..users).map(|number| format!("{PREFIX}user-{number:06}")).collect();
    project_ids.extend(make(world, "project", &projects, &project_ids).await?);
    user_ids.extend(make(world, "user", &names, &user_ids).await?);

    // Project by project: asked for all, Keystone needs minutes.
    let asked: Vec<String> = projects.iter().filter(|name| old.contains(*name)).filter_map(|name| project_ids.get(name)).cloned().collect();
    let (all_asked, own_target, own_token) = (Arc::new(asked), Arc::clone(target), Arc::new(token.to_owned()));
    let held = parallel(target, "projects looked at", all_asked.len(), move |mut connection, number| {
        let (asked, target, token) = (Arc::clone(&all_asked), Arc::clone(&own_target), Arc::clone(&own_token));
        async move {
            let project = asked.get(number).context("no such project")?;
            let path = format!("/role_assignments?scope.project.id={project}");
            let list = list_once(&target, &token, &mut connection, &path, "role_assignments").await?;
            let users = list.iter().filter_map(|it| Some((it["user"]["id"].as_str()?.to_owned(), project.clone())));
            Ok((connection, users.collect::<Vec<_>>()))
        }
    })
    .await?;
    let held: BTreeSet<(String, String)> = held.into_iter().flatten().collect();
    let mut grants = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let user = user_ids.get(name).with_context(|| format!("{name} was not made"))?;
        let project = projects.get(number / USERS_A_PROJECT).and_then(|name| project_ids.get(name)).context("a project was not made")?;
        if !held.contains(&(user.clone(), project.clone())) {
            let path = format!("/projects/{project}/users/{user}/roles/{reader}");
            grants.push(target.request("PUT", &path, &[("X-Auth-Token", token)], None));
        }
    }
    send_all(target, "assignments", grants, 204).await
}

/// Makes those of the names that are not there; their ids by name.
async fn make(world: &World, noun: &'static str, names: &[String], there: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    let missing: Arc<Vec<String>> = Arc::new(names.iter().filter(|name| !there.contains_key(*name)).cloned().collect());
    let (target, token) = (Arc::clone(&world.target), Arc::new(world.token().to_owned()));
    parallel(&world.target, if noun == "user" { "users" } else { "projects" }, missing.len(), move |mut connection, number| {
        let (missing, target, token) = (Arc::clone(&missing), Arc::clone(&target), Arc::clone(&token));
        async move {
            let name = missing.get(number).context("no such name")?;
            let id = create(&target, &token, &mut connection, noun, json!({"name": name, "domain_id": "default"})).await?;
            Ok((connection, (name.clone(), id)))
        }
    })
    .await
}
