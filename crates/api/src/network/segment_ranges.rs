//! `/v2.0/network_segment_ranges`: ids that segments of networks are taken from. Those of the configuration are shown with the rest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::operation::{NetworkSegmentRange, NetworkSegmentRangeDesired};
use model::net::{Network, NetworkType, segment_pool};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError};

use super::allocation::{configured, physical_networks};
use super::noun::{Body, Form, Noun, Work, field, tagged_routes};
use super::{Ask, Extension, extension, networks};
use crate::failure::Failure;
use crate::resource::{put, value};
use crate::{App, Settings};

pub(super) const EXTENSIONS: &[Extension] = &[extension(
    "network-segment-range",
    "Neutron Network Segment Range",
    "Provides support for the network segment range management",
    "2018-11-29T00:00:00-00:00",
)];

/// Most ids that are listed as available: of millions nobody reads more, and an answer with all of them takes seconds.
const MOST_AVAILABLE: usize = 65_536;
/// Every change of a range changes this setting: two cannot overlap because they were made at once.
const EPOCH: &str = "network/segment_ranges";

pub(super) fn routes() -> Router<Arc<App>> {
    tagged_routes::<NetworkSegmentRange>()
}

/// What is read beside ranges: for each pool what is held, and by a network of which project.
#[derive(Default)]
pub(crate) struct Around {
    held: HashMap<String, BTreeMap<u32, Value>>,
}

fn pool(range: &NetworkSegmentRangeDesired) -> Option<String> {
    segment_pool(range.network_type, range.physical_network.as_deref())
}

impl Around {
    fn used<'a>(&'a self, range: &NetworkSegmentRangeDesired) -> impl Iterator<Item = (u32, &'a Value)> {
        let held = pool(range).and_then(|pool| self.held.get(&pool));
        let bounds = range.minimum..=range.maximum.max(range.minimum);
        held.into_iter().flat_map(move |held| held.range(bounds.clone())).map(|(id, project)| (*id, project))
    }
}

async fn held(ask: &Ask, ranges: &[Object<NetworkSegmentRange>]) -> Result<HashMap<String, BTreeMap<u32, Value>>, Failure> {
    let mut all = HashMap::new();
    for name in ranges.iter().filter_map(|it| pool(&it.desired)) {
        if all.contains_key(&name) {
            continue;
        }
        let held = ask.app.store.allocations(&name).await?;
        let networks = networks::by_ids(ask, held.iter().filter_map(|it| Id::<Network>::parse(&it.holder))).await?;
        let project = |holder: &str| json!(Id::parse(holder).and_then(|id| networks.get(&id)).and_then(|it| it.project_id.as_ref()));
        all.insert(name, held.iter().filter_map(|it| Some((it.value.parse().ok()?, project(&it.holder)))).collect());
    }
    Ok(all)
}

fn available(range: &Object<NetworkSegmentRange>, around: &Around) -> Value {
    let range = &range.desired;
    let mut used = around.used(range).map(|(id, _)| id).peekable();
    let free = (range.minimum..=range.maximum).filter(|id| used.next_if_eq(id).is_none());
    free.take(MOST_AVAILABLE).collect()
}

static FORM: LazyLock<Form<NetworkSegmentRange>> = LazyLock::new(|| {
    Form::new(
        "network_segment_range",
        "network_segment_ranges",
        "network_segment_ranges",
        "NetworkSegmentRangeNotFound",
        "Network Segment Range",
    )
    .standard()
    .fields(vec![
        field("default", |it: &Object<NetworkSegmentRange>, _: &Around| json!(it.desired.is_default)),
        field("shared", |it: &Object<NetworkSegmentRange>, _| json!(it.desired.shared))
            .set_once(|it, v| put(&mut it.desired.shared, value::boolean(v))),
        // Which types have ranges is for `create` to say.
        field("network_type", |it: &Object<NetworkSegmentRange>, _| json!(it.desired.network_type))
            .set_once(|_, v| match v.as_str() {
                Some("vlan" | "vxlan" | "gre" | "geneve") => Ok(()),
                _ => Err(format!("'{v}' is not in ['vlan', 'vxlan', 'gre', 'geneve']")),
            })
            .filter(),
        field("physical_network", |it: &Object<NetworkSegmentRange>, _| json!(it.desired.physical_network.as_deref().unwrap_or_default()))
            .set_once(|it, v| {
                it.desired.physical_network = Some(value::text(v, 64)?).filter(|it| !it.is_empty());
                Ok(())
            })
            .filter(),
        field("minimum", |it: &Object<NetworkSegmentRange>, _| json!(it.desired.minimum))
            .set(|it, v| put(&mut it.desired.minimum, bound(v)))
            .required(),
        field("maximum", |it: &Object<NetworkSegmentRange>, _| json!(it.desired.maximum))
            .set(|it, v| put(&mut it.desired.maximum, bound(v)))
            .required(),
        field("used", |it: &Object<NetworkSegmentRange>, around: &Around| {
            Value::Object(around.used(&it.desired).map(|(id, project)| (id.to_string(), project.clone())).collect::<Map<_, _>>())
        }),
        field("available", available),
    ])
});

fn bound(v: &Value) -> Result<u32, String> {
    let number = value::number(v, 1, i64::from(u32::MAX))?;
    u32::try_from(number).map_err(|_| format!("{v} is out of range"))
}

fn refused(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(status, kind, text)
}

impl Noun for NetworkSegmentRange {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<NetworkSegmentRangeDesired, Failure> {
        Ok(NetworkSegmentRangeDesired {
            description: String::new(),
            tags: Vec::new(),
            network_type: NetworkType::Local,
            physical_network: None,
            minimum: 0,
            maximum: 0,
            shared: true,
            is_default: false,
        })
    }

    async fn around(ask: &Ask, ranges: &[Object<Self>]) -> Result<Around, Failure> {
        Ok(Around { held: held(ask, ranges).await? })
    }

    /// The ranges of the configuration are written down here, so that they have ids.
    async fn before_list(ask: &Ask) -> Result<(), Failure> {
        let wanted = of_configuration(&ask.app.settings);
        let there = ask.app.store.list_few(&Query::<Self>::new()).await?;
        let mut batch = Batch::wishes();
        for old in there.iter().filter(|it| it.desired.is_default && !wanted.iter().any(|new| new.id == it.id)) {
            batch = batch.remove(old);
        }
        for new in wanted.iter().filter(|new| !there.iter().any(|it| it.id == new.id)) {
            batch = batch.create(new);
        }
        if batch.is_empty() {
            return Ok(());
        }
        match ask.app.store.apply(batch).await {
            // Lost to somebody who does the same: then it is done.
            Ok(()) | Err(StoreError::Exists { .. } | StoreError::Stale { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(work: &mut Work<'_>, range: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let name = body.get("network_type").and_then(Value::as_str).unwrap_or_default();
        let kind = NetworkType::parse(name).filter(|it| it.most() > 0).ok_or_else(|| {
            let text = format!("Network type {name} does not support network segment ranges.");
            refused(StatusCode::BAD_REQUEST, "NetworkSegmentRangeNetTypeNotSupported", text)
        })?;
        range.desired.network_type = kind;
        if kind != NetworkType::Vlan {
            range.desired.physical_network = None;
        } else if range.desired.physical_network.is_none() {
            let text = "Bad network_segment_range request: Network type vlan requires 'physical_network' to be specified while creating new range.";
            return Err(refused(StatusCode::BAD_REQUEST, "BadRequest", text));
        }
        if range.desired.shared {
            range.project_id = None;
        }
        check(work, range).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        keep_default(before)?;
        let around = Around { held: held(work.ask, std::slice::from_ref(before)).await? };
        let kept = after.desired.minimum..=after.desired.maximum;
        if around.used(&before.desired).any(|(id, _)| !kept.contains(&id)) {
            return Err(referenced(before));
        }
        check(work, after).await
    }

    async fn delete(work: &mut Work<'_>, range: &Object<Self>) -> Result<(), Failure> {
        keep_default(range)?;
        let around = Around { held: held(work.ask, std::slice::from_ref(range)).await? };
        if around.used(&range.desired).next().is_some() {
            return Err(referenced(range));
        }
        work.step(|batch| batch.remove(range));
        Ok(())
    }
}

fn keep_default(range: &Object<NetworkSegmentRange>) -> Result<(), Failure> {
    if !range.desired.is_default {
        return Ok(());
    }
    let text = format!("Network Segment Range {} is a default segment range which could not be updated or deleted.", range.id);
    Err(refused(StatusCode::BAD_REQUEST, "NetworkSegmentRangeDefaultReadOnly", text))
}

fn referenced(range: &Object<NetworkSegmentRange>) -> Failure {
    let text = format!("Network Segment Range {} is referenced by one or more project networks.", range.id);
    refused(StatusCode::CONFLICT, "NetworkSegmentRangeReferencedByProject", text)
}

/// Checks the bounds by themselves and against other ranges.
async fn check(work: &mut Work<'_>, range: &Object<NetworkSegmentRange>) -> Result<(), Failure> {
    let it = &range.desired;
    let what = if it.network_type == NetworkType::Vlan { "VLAN" } else { "tunnel" };
    let why = if it.minimum > it.maximum {
        Some(format!("'End of {what} range is less than start of {what} range'"))
    } else if it.maximum > it.network_type.most() {
        Some(format!("{} is not a valid {} identifier", it.maximum, it.network_type.as_str()))
    } else {
        None
    };
    if let Some(why) = why {
        let kind = if it.network_type == NetworkType::Vlan { "NetworkVlanRangeError" } else { "NetworkTunnelRangeError" };
        let text = format!("Invalid network {what} range: '{}:{}' - {why}.", it.minimum, it.maximum);
        return Err(refused(StatusCode::BAD_REQUEST, kind, text));
    }
    let epoch = work.ask.app.store.setting_or(EPOCH, "0").await?;
    let next = epoch.parse::<u64>().unwrap_or(0).wrapping_add(1);
    work.step(|batch| batch.change(EPOCH, &epoch, &next.to_string()));
    let there = work.ask.app.store.list_few(&Query::<NetworkSegmentRange>::new()).await?;
    let overlaps = |other: &&Object<NetworkSegmentRange>| {
        let that = &other.desired;
        other.id != range.id
            && !that.is_default
            && (that.network_type, &that.physical_network) == (it.network_type, &it.physical_network)
            && it.minimum <= that.maximum
            && it.maximum >= that.minimum
    };
    let ids: Vec<&str> = there.iter().filter(overlaps).map(|it| it.id.as_str()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let text = format!("Network segment range overlaps with range(s) with id {}", ids.join(", "));
    Err(refused(StatusCode::CONFLICT, "NetworkSegmentRangeOverlaps", text))
}

/// The ranges of the configuration.
fn of_configuration(settings: &Settings) -> Vec<Object<NetworkSegmentRange>> {
    let vlans = physical_networks(settings).map(|name| (NetworkType::Vlan, Some(name)));
    let tunnels = [(NetworkType::Vxlan, None), (NetworkType::Geneve, None)];
    let mut all = Vec::new();
    for (network_type, place) in vlans.chain(tunnels) {
        for (minimum, maximum) in configured(settings, network_type, place) {
            let desired = NetworkSegmentRangeDesired {
                description: String::new(),
                tags: Vec::new(),
                network_type,
                physical_network: place.map(str::to_owned),
                minimum,
                maximum,
                shared: true,
                is_default: true,
            };
            let id = Id::derived(&format!("range {} {} {minimum}:{maximum}", network_type.as_str(), place.unwrap_or_default()));
            all.push(Object::new(id, None, "", desired));
        }
    }
    all
}
