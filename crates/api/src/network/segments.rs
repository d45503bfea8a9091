//! `/v2.0/segments`: the segments of networks, one by one. Each is kept twice, in the same batch: in a row of its own, and in its network,
//! where those look who put the network on wires.

use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::{Network, NetworkSegment, NetworkType, Segment, SegmentDesired, Subnet};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::allocation::{self, Wanted};
use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use super::port_parts::uuid;
use super::{Ask, Extension, extension, networks};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("segment", "Segment", "Segments extension.", "2016-02-24T17:00:00-00:00"),
    extension(
        "standard-attr-segment",
        "Standard Attribute Segment Extension",
        "Add standard attributes to Segment resource",
        "2018-04-09T10:00:00-00:00",
    ),
];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<NetworkSegment>()
}

/// Text, or null where nothing is written.
fn written(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

static FORM: LazyLock<Form<NetworkSegment>> = LazyLock::new(|| {
    Form::new("segment", "segments", "segments", "SegmentNotFound", "Segment")
        .ownerless()
        // Two of one request could be of one network, which is read before and written with each.
        .no_bulk()
        .fields(vec![
            field("network_id", |it: &Object<NetworkSegment>, _: &()| json!(it.desired.network_id))
                .set_once(|it, v| put(&mut it.desired.network_id, uuid(v)))
                .required()
                .column("network_id")
                .sort(),
            field("name", |it: &Object<NetworkSegment>, _| written(&it.name)).set(|it, v| put(&mut it.name, value::text(v, 255))).sort(),
            field("description", |it: &Object<NetworkSegment>, _| written(&it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 255)))
                .sort(),
            field("physical_network", |it: &Object<NetworkSegment>, _| json!(it.desired.physical_network))
                .set_once(|it, v| {
                    it.desired.physical_network = Some(value::text(v, 64)?).filter(|it| !it.is_empty());
                    Ok(())
                })
                .sort(),
            // Which there are is for `create` to say.
            field("network_type", |it: &Object<NetworkSegment>, _| json!(it.desired.network_type))
                .set_once(|_, v| value::text(v, 32).map(drop))
                .required()
                .sort(),
            field("segmentation_id", |it: &Object<NetworkSegment>, _| json!(it.desired.segmentation_id))
                .set_once(|it, v| {
                    if !v.is_null() {
                        it.desired.segmentation_id = u32::try_from(value::number(v, 0, i64::from(u32::MAX))?).ok();
                    }
                    Ok(())
                })
                .sort(),
        ])
        .stamped()
});

impl Noun for NetworkSegment {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<SegmentDesired, Failure> {
        Ok(SegmentDesired {
            network_id: Id::random(),
            network_type: NetworkType::Local,
            physical_network: None,
            segmentation_id: None,
            description: String::new(),
            tags: Vec::new(),
        })
    }

    async fn create(work: &mut Work<'_>, segment: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let network = named::<Network>(work.ask, &segment.desired.network_id).await?;
        let network_type = body.get("network_type").and_then(Value::as_str).unwrap_or_default();
        let id = segment.desired.segmentation_id.map(i64::from);
        let wanted = Wanted::new(&work.ask.app.settings, network_type, segment.desired.physical_network.clone(), id)?;
        let mut taken = allocation::take(work, network.project_id.as_ref(), &wanted, network.id.as_str()).await?;
        taken.id = segment.id.clone();
        segment.desired.network_type = taken.network_type;
        segment.desired.physical_network.clone_from(&taken.physical_network);
        segment.desired.segmentation_id = taken.segmentation_id;
        let mut with = network.clone();
        with.desired.segments.push(taken);
        networks::set_mtu(&mut with.desired)?;
        work.want(&network, &with);
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, segment: &Object<Self>) -> Result<(), Failure> {
        let subnets = Query::<Subnet>::new().column("segment_id", [segment.id.to_string()]);
        let subnets = work.ask.app.store.list_few(&subnets).await?;
        let ids: Vec<&str> = subnets.iter().map(|it| it.id.as_str()).collect();
        let by_subnets = in_use(segment, &format!("The segment is still associated with subnet(s) {}", ids.join(", ")));
        if !ids.is_empty() {
            return Err(by_subnets);
        }
        work.referenced_means::<Subnet>("segment_id", by_subnets);
        work.step(|batch| batch.unless_referenced::<Subnet>("segment_id", segment.id.as_str()).remove(segment));
        if let Some(network) = work.ask.app.store.get(&segment.desired.network_id).await?.filter(|it: &Object<Network>| !it.is_deleting()) {
            if network.desired.dynamic.iter().any(|it| it.id == segment.id) {
                return Err(in_use(
                    segment,
                    "The network was given it for its ports on switches, and gives it back after the last of them",
                ));
            }
            let mut without = network.clone();
            without.desired.segments.retain(|it| it.id != segment.id);
            let gone: Vec<Segment> = network.desired.segments.iter().filter(|it| it.id == segment.id).cloned().collect();
            for it in &gone {
                networks::release(work, &mut without, it, in_use(segment, "The segment is still bound with port(s) of its network"))
                    .await?;
            }
            work.want(&network, &without);
        }
        Ok(())
    }
}

fn in_use(segment: &Object<NetworkSegment>, reason: &str) -> Failure {
    Failure::named(StatusCode::CONFLICT, "SegmentInUse", format!("Segment '{}' cannot be deleted: {reason}.", segment.id))
}
