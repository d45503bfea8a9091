//! Network: Neutron v2.0 for containers, servers and bare metal.
//!
//! What is the same for all things is in [`noun`]; each file beside it says what is special about one kind of thing.

mod access;
mod address_groups;
mod address_scopes;
mod agents;
mod allocation;
mod auto_topology;
mod bgp;
mod bgpvpn_associations;
mod bgpvpns;
mod bindings;
mod conntrack_helpers;
mod default_rules;
mod fabric;
mod flavors;
mod floating_ips;
mod floatingip_pools;
mod flow_classifiers;
mod gateways;
mod ip_availability;
mod ipam;
mod l2_gateways;
mod l3_ports;
mod local_ips;
mod logs;
mod metering;
mod ndp_proxies;
mod networks;
pub(crate) mod noun;
pub(crate) mod policies;
mod port_chains;
mod port_forwardings;
mod port_pair_groups;
mod port_pairs;
mod port_parts;
mod ports;
mod qos;
mod quarantine;
pub(crate) mod quotas;
mod reachability;
mod resource_requests;
mod router_interfaces;
mod routers;
mod scheduling;
mod security_group_rules;
mod security_groups;
mod segment_ranges;
mod segments;
mod service_graphs;
mod settings;
mod subnetpools;
mod subnets;
mod switch_ports;
mod switches;
mod trunks;

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri, Path, State as Shared};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use model::identity::Project;
use model::{Id, Kind, Object};
use serde_json::{Value, json};

use noun::Body;
pub(crate) use ports::sees as sees_port;

use crate::App;
use crate::caller::Caller;
use crate::enforce::allows;
use crate::failure::{self, Failure, class};
use crate::links::origin;
use crate::resource::Parameters;

pub use settings::{IdRange, NetworkSettings, PhysicalNetwork};

/// Most objects made by one request.
const MAX_BULK: usize = 1000;

/// What this service remembers between requests.
#[derive(Default)]
pub(crate) struct State {
    /// Who shares what with whom.
    pub(crate) shares: noun::Remembered,
    /// Default security groups.
    pub(crate) security_groups: security_groups::Remembered,
}

/// An extension as `/v2.0/extensions` lists it: what is listed works.
pub(crate) struct Extension {
    pub(crate) alias: &'static str,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// When its definition changed last, as Neutron gives it.
    pub(crate) updated: &'static str,
}

/// An extension.
pub(crate) const fn extension(alias: &'static str, name: &'static str, description: &'static str, updated: &'static str) -> Extension {
    Extension { alias, name, description, updated }
}

/// All extensions, by file.
fn extensions() -> impl Iterator<Item = &'static Extension> {
    let all: &[&[Extension]] = &[
        EXTENSIONS,
        routers::EXTENSIONS,
        floating_ips::EXTENSIONS,
        port_forwardings::EXTENSIONS,
        conntrack_helpers::EXTENSIONS,
        ndp_proxies::EXTENSIONS,
        local_ips::EXTENSIONS,
        floatingip_pools::EXTENSIONS,
        ports::EXTENSIONS,
        resource_requests::EXTENSIONS,
        bindings::EXTENSIONS,
        trunks::EXTENSIONS,
        auto_topology::EXTENSIONS,
        ipam::EXTENSIONS,
        subnets::EXTENSIONS,
        subnetpools::EXTENSIONS,
        networks::EXTENSIONS,
        agents::EXTENSIONS,
        scheduling::EXTENSIONS,
        segments::EXTENSIONS,
        segment_ranges::EXTENSIONS,
        ip_availability::EXTENSIONS,
        security_groups::EXTENSIONS,
        security_group_rules::EXTENSIONS,
        address_groups::EXTENSIONS,
        default_rules::EXTENSIONS,
        access::EXTENSIONS,
        address_scopes::EXTENSIONS,
        qos::EXTENSIONS,
        quotas::EXTENSIONS,
        metering::EXTENSIONS,
        logs::EXTENSIONS,
        flavors::EXTENSIONS,
        flow_classifiers::EXTENSIONS,
        port_chains::EXTENSIONS,
        service_graphs::EXTENSIONS,
        l2_gateways::EXTENSIONS,
        bgp::EXTENSIONS,
        bgpvpns::EXTENSIONS,
    ];
    all.iter().flat_map(|them| them.iter())
}

/// What [`noun`] does for all things.
const EXTENSIONS: &[Extension] = &[
    extension(
        "filter-validation",
        "Filter parameters validation",
        "Provides validation on filter parameters.",
        "2018-03-21T10:00:00-00:00",
    ),
    extension(
        "empty-string-filtering",
        "Empty String Filtering Extension",
        "Allow filtering by attributes with empty string value",
        "2018-05-01T10:00:00-00:00",
    ),
    extension("pagination", "Pagination support", "Extension that indicates that pagination is enabled.", "2016-06-12T00:00:00-00:00"),
    extension("sorting", "Sorting support", "Extension that indicates that sorting is enabled.", "2016-06-12T00:00:00-00:00"),
    extension("sort-key-validation", "Sort key validation", "Validates sort keys in query parameters", "2021-03-01T10:00:00-00:00"),
    extension(
        "project-id",
        "project_id field enabled",
        "Extension that indicates that project_id field is enabled.",
        "2016-09-09T09:09:09-09:09",
    ),
    extension(
        "standard-attr-description",
        "standard-attr-description",
        "Extension to add descriptions to standard attributes",
        "2016-02-10T10:00:00-00:00",
    ),
    extension(
        "standard-attr-revisions",
        "Resource revision numbers",
        "This extension will display the revision number of neutron resources.",
        "2016-04-11T10:00:00-00:00",
    ),
    extension(
        "revision-if-match",
        "If-Match constraints based on revision_number",
        "Extension indicating that If-Match based on revision_number is supported.",
        "2016-12-11T00:00:00-00:00",
    ),
    extension(
        "standard-attr-timestamp",
        "Resource timestamps",
        "Adds created_at and updated_at fields to all Neutron resources that have Neutron standard attributes.",
        "2016-09-12T10:00:00-00:00",
    ),
    extension(
        "standard-attr-tag",
        "Tag support for resources with standard attribute: subnet, trunk, network_segment_range, router, network, policy, subnetpool, port, security_group, floatingip",
        "Enables to set tag on resources with standard attribute.",
        "2017-01-01T00:00:00-00:00",
    ),
    extension("tag-creation", "Tag creation extension", "Allow to create multiple tags in one request", "2023-08-01T00:00:00-00:00"),
];

/// The service, below `/network`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let v2 = Router::new()
        .route("/", get(resources))
        .route("/extensions", get(list_extensions))
        .route("/extensions/{alias}", get(show_extension))
        .merge(access::routes())
        .merge(reachability::routes())
        .merge(fabric::routes())
        .merge(auto_topology::routes())
        .merge(subnets::routes())
        .merge(subnetpools::routes())
        .merge(agents::routes())
        .merge(scheduling::routes())
        .merge(segments::routes())
        .merge(segment_ranges::routes())
        .merge(ip_availability::routes())
        .merge(networks::routes())
        .merge(ports::routes())
        .merge(bindings::routes())
        .merge(trunks::routes())
        .merge(address_groups::routes())
        .merge(address_scopes::routes())
        .merge(default_rules::routes())
        .merge(security_groups::routes())
        .merge(security_group_rules::routes())
        .merge(flavors::routes())
        .merge(flow_classifiers::routes())
        .merge(port_pairs::routes())
        .merge(port_pair_groups::routes())
        .merge(port_chains::routes())
        .merge(service_graphs::routes())
        .merge(l2_gateways::routes())
        .merge(bgp::routes())
        .merge(bgpvpns::routes())
        .merge(logs::routes())
        .merge(metering::routes())
        .merge(qos::routes())
        .merge(routers::routes())
        .merge(floating_ips::routes())
        .merge(port_forwardings::routes())
        .merge(conntrack_helpers::routes())
        .merge(ndp_proxies::routes())
        .merge(local_ips::routes())
        .merge(floatingip_pools::routes())
        .merge(quotas::routes());
    Router::new()
        .route("/", get(versions))
        .nest("/v2.0", v2)
        .fallback(async || Failure::NoRoute)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .with_state(app)
        .layer(map_response(async |response: Response| enveloped(response)))
}

/// Neutron's form of a failure; identity's for one about identity, as its middleware answers.
fn enveloped(response: Response) -> Response {
    failure::envelope(response, |failure| match failure {
        Failure::Unauthorized(text) => json!({"error": {"code": 401, "title": "Unauthorized", "message": text}}),
        other => {
            let kind = match other {
                Failure::Named { kind, .. } => (*kind).to_owned(),
                Failure::Forbidden(_) => "PolicyNotAuthorized".to_owned(),
                Failure::NotFound { what, .. } => format!("{what}NotFound"),
                Failure::Internal(_) => "HTTPInternalServerError".to_owned(),
                plain => format!("HTTP{}", class(plain)),
            };
            let message = match other {
                Failure::Forbidden(text) => disallowed(text),
                other => other.message(),
            };
            json!({"NeutronError": {"type": kind, "message": message, "detail": ""}})
        }
    })
}

/// A refusal by policy in Neutron's words, which name the rule.
fn disallowed(text: &str) -> String {
    let rule = text.strip_prefix("You are not authorized to perform the requested action: ").and_then(|it| it.strip_suffix('.'));
    rule.map_or_else(|| text.to_owned(), |rule| format!("rule:{rule} is disallowed by policy"))
}

/// What handlers of this service are given.
pub(crate) struct Ask {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    pub(crate) parameters: Parameters,
    /// The address that was asked, without its parameters: for links to other pages.
    pub(crate) address: String,
    /// The thing the path goes through, such as the floating IP of a port forwarding.
    pub(crate) inside: Option<String>,
    /// The revisions of `If-Match`.
    if_match: Vec<String>,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let path = parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.path(), |it| it.0.path());
        let if_match = parts.headers.get_all(http::header::IF_MATCH);
        Ok(Self {
            app: Arc::clone(app),
            caller,
            address: format!("{}{path}", origin(app, &parts.headers)),
            parameters: Parameters::parse(parts.uri.query()),
            inside: None,
            if_match: if_match
                .iter()
                .filter_map(|it| it.to_str().ok())
                .flat_map(|it| it.split(','))
                .map(|it| it.trim().to_owned())
                .collect(),
        })
    }
}

impl Ask {
    /// Whether the object is in what the path goes through.
    pub(crate) fn is_inside<K: noun::Noun>(&self, object: &Object<K>) -> bool {
        match (&self.inside, K::PARENT.and_then(|name| <K as Kind>::COLUMNS.iter().find(|column| column.name == name))) {
            (Some(parent), Some(column)) => (column.value)(object).as_ref() == Some(parent),
            _ => true,
        }
    }

    /// Holds the object against `If-Match: revision_number=N`, of requests that have one.
    ///
    /// # Errors
    /// It is another revision (412), or the header names none (400).
    pub(crate) fn check_revision<K: Kind>(&self, object: &Object<K>) -> Result<(), Failure> {
        let wanted: Vec<&str> = self.if_match.iter().filter_map(|it| it.trim_matches('"').strip_prefix("revision_number=")).collect();
        let bad = |text: &str| Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", text);
        match wanted.as_slice() {
            [] => Ok(()),
            [one] => {
                let wanted: i64 = one.parse().map_err(|_| bad("revision_number precondition is not an integer"))?;
                if wanted == object.generation {
                    return Ok(());
                }
                let text = format!("Constrained to {wanted}, but current revision is {}", object.generation);
                Err(Failure::named(StatusCode::PRECONDITION_FAILED, "RevisionNumberConstraintFailed", text))
            }
            _ => Err(bad("Multiple revision_number precondition supplied")),
        }
    }
}

async fn versions(Shared(app): Shared<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let href = format!("{}/network/v2.0/", origin(&app, &headers));
    Json(json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": href}]}]}))
}

async fn resources(Shared(app): Shared<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let origin = origin(&app, &headers);
    let shown = [("network", "networks"), ("subnet", "subnets"), ("subnetpool", "subnetpools"), ("port", "ports")]
        .map(|(name, collection)| json!({"name": name, "collection": collection, "links": [{"rel": "self", "href": format!("{origin}/network/v2.0/{collection}")}]}));
    Json(json!({ "resources": shown }))
}

fn extension_shown(it: &Extension) -> Value {
    json!({"alias": it.alias, "name": it.name, "description": it.description, "updated": it.updated, "links": []})
}

async fn list_extensions(ask: Ask) -> Json<Value> {
    let fields = ask.parameters.fields();
    let shown = extensions().map(|it| {
        let mut shown = extension_shown(it);
        if let (Some(shown), false) = (shown.as_object_mut(), fields.is_empty()) {
            shown.retain(|key, _| fields.contains(key));
        }
        shown
    });
    Json(json!({"extensions": shown.collect::<Vec<_>>()}))
}

async fn show_extension(_ask: Ask, Path(alias): Path<String>) -> Result<Response, Failure> {
    let missing = || Failure::named(StatusCode::NOT_FOUND, "HTTPNotFound", format!("Extension with alias {alias} does not exist"));
    let found = extensions().find(|it| it.alias == alias).ok_or_else(missing)?;
    Ok(Json(json!({"extension": extension_shown(found)})).into_response())
}

/// The objects of a creating request: one below `singular`, or several below `plural`.
fn bodies(body: &Value, singular: &str, plural: &str) -> Result<(Vec<Body>, bool), Failure> {
    if let Some(many) = body.get(plural) {
        let many = many.as_array().ok_or_else(|| Failure::BadRequest(format!("'{plural}' is not a list")))?;
        if many.is_empty() || many.len() > MAX_BULK {
            return Err(Failure::BadRequest(if many.is_empty() {
                "Resources required".into()
            } else {
                format!("Resources required: at most {MAX_BULK} '{plural}'")
            }));
        }
        let one = |it: &Value| {
            it.get(singular).unwrap_or(it).as_object().cloned().ok_or_else(|| Failure::BadRequest(format!("Invalid body of a {singular}")))
        };
        return Ok((many.iter().map(one).collect::<Result<_, _>>()?, true));
    }
    Ok((vec![crate::resource::rooted(body, singular)?.clone()], false))
}

/// Takes the project out of a body, which can name it two ways.
fn same_owner(body: &mut Body) -> Result<Option<Value>, Failure> {
    let (project, tenant) = (body.remove("project_id"), body.remove("tenant_id"));
    if let (Some(a), Some(b)) = (&project, &tenant)
        && a != b
    {
        return Err(Failure::BadRequest("'project_id' and 'tenant_id' do not match".into()));
    }
    Ok(project.or(tenant))
}

/// The project an object is to belong to: the caller's, or the one an administrator names.
fn owner(ask: &Ask, body: &mut Body) -> Result<Id<Project>, Failure> {
    let own = ask.caller.project().cloned();
    match same_owner(body)? {
        Some(given) => {
            let id: Id<Project> = crate::resource::value::id(&given)
                .map_err(|why| Failure::BadRequest(format!("Invalid input for project_id. Reason: {why}.")))?;
            let target = policies::of_project(Some(&id));
            let may = |rule| allows(&ask.app, &ask.caller, rule, &target);
            if own.as_ref().ok() != Some(&id) && !may("network:context_is_admin") && !may("context_is_advsvc") {
                let text = "Specifying 'project_id' other than the authenticated project in request is not allowed for the current user.";
                return Err(Failure::BadRequest(text.into()));
            }
            Ok(id)
        }
        None => own,
    }
}
