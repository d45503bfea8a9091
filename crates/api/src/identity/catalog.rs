//! The catalog of a token: which services there are and where.
//!
//! It is rendered once for each count of identity's changes and address by which clients come, and apart for a project that sees only
//! some endpoints and for what is put into URLs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::{IntoResponse as _, Response};
use http::header;
use model::identity::{Endpoint, Project, Service, User};
use model::{Id, Object};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{Query, Store};

use super::ask::Ask;
use super::endpoint_filter;
use super::token::Valid;
use crate::App;
use crate::failure::Failure;

/// Most bytes of rendered catalogs that are remembered. Clients choose by which address they come.
const REMEMBERED_BYTES: usize = 16 << 20;
/// What Keystone lets a URL name (Source: `keystone.common.utils.WHITELISTED_PROPERTIES`). The last two are settings of its own, which have
/// no value here.
const NAMES: [&str; 5] = ["tenant_id", "project_id", "user_id", "compute_host", "public_endpoint"];

/// An address: its own URLs begin with `/` and are shown below `origin`, the scheme and authority by which the client came.
pub(super) fn absolute(url: &str, origin: &str) -> String {
    if url.starts_with('/') { format!("{origin}{url}") } else { url.to_owned() }
}

/// A piece of a URL.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// `%(name)s` or `$(name)s`.
    Name(&'a str),
}

/// The pieces of a URL; `None` if it is no template. As in Python's formatting, `%%` is a per cent sign; unlike there, nothing but text can
/// be asked for.
fn pieces(url: &str) -> Option<Vec<Piece<'_>>> {
    let mut found = Vec::new();
    let mut rest = url;
    while let Some(at) = rest.find(['%', '$']) {
        let (before, mark) = rest.split_at(at);
        found.push(Piece::Text(before));
        if let Some(after) = mark.strip_prefix("%(").or_else(|| mark.strip_prefix("$(")) {
            let (name, after) = after.split_once(')')?;
            rest = after.strip_prefix('s')?;
            found.push(Piece::Name(name));
        } else if let Some(after) = mark.strip_prefix("%%") {
            found.push(Piece::Text("%"));
            rest = after;
        } else {
            rest = mark.strip_prefix('$')?;
            found.push(Piece::Text("$"));
        }
    }
    found.push(Piece::Text(rest));
    Some(found)
}

/// Whether a URL names only what can be put into it.
pub(super) fn is_template(url: &str) -> bool {
    pieces(url)
        .is_some_and(|found| found.iter().all(|it| matches!(it, Piece::Text(_)) || matches!(it, Piece::Name(name) if NAMES.contains(name))))
}

/// The URL with what it names; `None` if it names what there is not.
fn filled(url: &str, project: Option<&str>, user: &str) -> Option<String> {
    let mut text = String::with_capacity(url.len());
    for piece in pieces(url)? {
        text.push_str(match piece {
            Piece::Text(it) => it,
            Piece::Name("tenant_id" | "project_id") => project?,
            Piece::Name("user_id") => user,
            Piece::Name(_) => return None,
        });
    }
    Some(text)
}

fn names_any(url: &str, names: &[&str]) -> bool {
    pieces(url).is_some_and(|found| found.iter().any(|it| matches!(it, Piece::Name(name) if names.contains(name))))
}

/// An entry of a catalog. Its members are in the order in which Keystone prints them.
#[derive(Serialize)]
struct Entry<'a> {
    endpoints: Vec<Place<'a>>,
    id: &'a Id<Service>,
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
}

/// An endpoint of an entry.
#[derive(Serialize)]
struct Place<'a> {
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
    id: &'a Id<Endpoint>,
    interface: &'a str,
    region_id: Option<&'a str>,
    url: String,
    region: Option<&'a str>,
}

/// For whom a catalog is rendered apart.
type Who = (Option<Id<Project>>, Option<Id<User>>);

/// All that catalogs are made of, as of one count.
struct Source {
    /// Enabled services with their enabled endpoints.
    services: Vec<(Object<Service>, Vec<Object<Endpoint>>)>,
    /// What projects see that do not see all.
    restricted: HashMap<Id<Project>, HashSet<Id<Endpoint>>>,
    /// Whether a URL names the project.
    names_project: bool,
    /// Whether a URL names the user.
    names_user: bool,
}

impl Source {
    async fn read(store: &Store) -> Result<Self, Failure> {
        let all = store.list(&Query::<Endpoint>::new().sort("id", false)).await?;
        let restricted = endpoint_filter::restricted(store, &all).await?;
        let mut of: HashMap<Id<Service>, Vec<Object<Endpoint>>> = HashMap::new();
        for it in all.into_iter().filter(|it| it.desired.enabled) {
            of.entry(it.desired.service_id.clone()).or_default().push(it);
        }
        let named = |names: &[&str]| of.values().flatten().any(|it| names_any(&it.desired.url, names));
        let (names_project, names_user) = (named(&["tenant_id", "project_id"]), named(&["user_id"]));
        let services = store.list(&Query::<Service>::new().sort("id", false)).await?;
        let services = services.into_iter().filter(|it| it.desired.enabled).map(|it| {
            let endpoints = of.remove(&it.id).unwrap_or_default();
            (it, endpoints)
        });
        Ok(Self {
            services: services.collect(),
            restricted: restricted.into_iter().map(|(project, ids)| (project, ids.into_iter().collect())).collect(),
            names_project,
            names_user,
        })
    }

    /// For whom the catalog must be rendered apart.
    fn who(&self, valid: &Valid) -> Who {
        let project = valid.project.as_ref().map(|(project, _)| &project.id);
        let project = project.filter(|id| self.names_project || self.restricted.contains_key(*id)).cloned();
        (project, self.names_user.then(|| valid.user.id.clone()))
    }

    fn render(&self, origin: &str, valid: &Valid) -> Result<String, Failure> {
        let project = valid.project.as_ref().map(|(project, _)| &project.id);
        let seen = project.and_then(|id| self.restricted.get(id));
        let entries = self.services.iter().map(|(service, endpoints)| {
            let places = endpoints.iter().filter(|it| seen.is_none_or(|seen| seen.contains(&it.id))).filter_map(|it| {
                let region = it.desired.region_id.as_ref().map(Id::as_str);
                let url = absolute(&filled(&it.desired.url, project.map(Id::as_str), valid.user.id.as_str())?, origin);
                Some(Place { extra: &it.desired.extra, id: &it.id, interface: &it.desired.interface, region_id: region, url, region })
            });
            Entry { endpoints: places.collect(), id: &service.id, kind: &service.desired.service_type, name: &service.name }
        });
        // A service without endpoints is listed, but not to a project that sees only some.
        let entries: Vec<Entry<'_>> = entries.filter(|it| seen.is_none() || !it.endpoints.is_empty()).collect();
        serde_json::to_string(&entries).map_err(|error| Failure::Internal(error.to_string()))
    }
}

/// Catalogs rendered for those who come by one address.
#[derive(Default)]
struct Rendered {
    all: Option<Arc<str>>,
    apart: HashMap<Who, Arc<str>>,
}

#[derive(Default)]
struct Remembered {
    epoch: i64,
    source: Option<Arc<Source>>,
    rendered: HashMap<String, Rendered>,
    bytes: usize,
}

impl Remembered {
    fn find(&self, origin: &str, source: &Source, valid: &Valid) -> Option<Arc<str>> {
        let rendered = self.rendered.get(origin)?;
        match source.who(valid) {
            (None, None) => rendered.all.clone(),
            who => rendered.apart.get(&who).cloned(),
        }
    }

    fn keep(&mut self, origin: &str, source: &Source, valid: &Valid, text: &Arc<str>) {
        // What else a place in the map takes is reckoned with the address.
        let size = text.len() + origin.len() + 256;
        if self.bytes + size > REMEMBERED_BYTES {
            self.rendered.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        let rendered = self.rendered.entry(origin.to_owned()).or_default();
        match source.who(valid) {
            (None, None) => rendered.all = Some(Arc::clone(text)),
            who => {
                rendered.apart.insert(who, Arc::clone(text));
            }
        }
    }
}

/// The catalogs that were rendered lately.
#[derive(Default)]
pub(super) struct Cache(Mutex<Remembered>);

impl Cache {
    fn locked(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // What is remembered is complete before it is put there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The catalog of a token as JSON, an array; `epoch` is how often identity changed so far. Our own endpoints are below `origin`, the scheme
/// and authority by which the client came.
pub(super) async fn catalog(app: &App, origin: &str, valid: &Valid, epoch: i64) -> Result<Arc<str>, Failure> {
    let mut known = None;
    {
        let remembered = app.identity.catalogs.locked();
        if let Some(source) = remembered.source.as_ref().filter(|_| remembered.epoch == epoch) {
            if let Some(text) = remembered.find(origin, source, valid) {
                return Ok(text);
            }
            known = Some(Arc::clone(source));
        }
    }
    let source = match known {
        Some(source) => source,
        None => Arc::new(Source::read(&app.store).await?),
    };
    let text: Arc<str> = source.render(origin, valid)?.into();
    let mut remembered = app.identity.catalogs.locked();
    // A request that began earlier does not put away what a later one found.
    if remembered.source.is_none() || remembered.epoch < epoch {
        *remembered = Remembered { epoch, source: Some(Arc::clone(&source)), ..Remembered::default() };
    }
    if remembered.epoch == epoch {
        remembered.keep(origin, &source, valid, &text);
    }
    Ok(text)
}

/// GET /auth/catalog
pub(super) async fn show(ask: Ask) -> Result<Response, Failure> {
    ask.enforce("identity:get_auth_catalog", json!({}))?;
    if ask.caller.project_id.is_none() {
        return Err(Failure::Forbidden("A project-scoped token is required to produce a service catalog.".into()));
    }
    let catalog = catalog(&ask.app, &ask.origin, &ask.caller.token, ask.caller.epoch).await?;
    let link = json!({"self": ask.link("auth/catalog")});
    let text = format!("{{\"catalog\":{catalog},\"links\":{link}}}");
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_filled() {
        for (url, wanted) in [
            ("http://x/", Some("http://x/")),
            ("http://x/v1/AUTH_%(tenant_id)s", Some("http://x/v1/AUTH_p")),
            ("http://x/$(project_id)s/%(user_id)s?q=%%20", Some("http://x/p/u?q=%20")),
            ("http://x/$a$", Some("http://x/$a$")),
            ("http://$(compute_host)s/", None),
            ("http://x/%(other)s", None),
            ("http://x/%(tenant_id)", None),
            ("http://x/%(tenant_id)d", None),
            ("http://x/%(tenant_id", None),
            ("http://x/%20", None),
            ("http://x/%", None),
        ] {
            assert_eq!(filled(url, Some("p"), "u").as_deref(), wanted, "{url}");
        }
        assert_eq!(filled("http://x/%(tenant_id)s", None, "u"), None);
        assert!(is_template("http://$(compute_host)s/") && !is_template("http://x/%(other)s") && !is_template("http://x/%d"));
    }

    proptest! {
        #[test]
        fn what_is_a_template_can_be_filled(url in "([%$()a-z]|%\\(tenant_id\\)s|\\$\\(user_id\\)s){0,12}") {
            prop_assert_eq!(is_template(&url), filled(&url, Some("p"), "u").is_some());
        }
    }
}
