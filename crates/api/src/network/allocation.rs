//! Where segments of networks get their ids: the ranges of the configuration and those of operators.

use http::StatusCode;
use model::identity::Project;
use model::net::operation::NetworkSegmentRange;
use model::net::{NetworkType, Segment, segment_key, segment_pool};
use model::{Id, Object};
use store::Query;

use super::noun::Work;
use crate::Settings;
use crate::failure::Failure;

/// Ids from first to last.
pub(super) type Range = (u128, u128);

/// A segment as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) network_type: NetworkType,
    pub(super) physical_network: Option<String>,
    pub(super) segmentation_id: Option<u32>,
}

/// Neutron's `InvalidInput`.
pub(super) fn invalid(text: impl std::fmt::Display) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "InvalidInput", format!("Invalid input for operation: {text}."))
}

impl Wanted {
    /// What somebody asks for, if there can be such a segment here.
    ///
    /// # Errors
    /// There cannot: `InvalidInput`, as ML2's type drivers say it.
    pub(super) fn new(settings: &Settings, network_type: &str, physical_network: Option<String>, id: Option<i64>) -> Result<Self, Failure> {
        let kind = NetworkType::parse(network_type).ok_or_else(|| invalid(format!("network_type value '{network_type}' not supported")))?;
        let physical_network = physical_network.filter(|it| !it.is_empty());
        let fabric = &settings.fabric;
        match (kind, &physical_network, id) {
            (NetworkType::Vlan, None, Some(_)) => {
                return Err(invalid("segmentation_id requires physical_network for VLAN provider network"));
            }
            (NetworkType::Vlan, Some(name), _) if !physical_networks(settings).any(|it| it == name) => {
                return Err(invalid(format!("physical_network '{name}' unknown for VLAN provider network")));
            }
            (NetworkType::Vlan, Some(name), Some(id)) if *name == fabric.physical_network && id == i64::from(fabric.isolation_vlan) => {
                return Err(invalid(format!("segmentation_id {id} is the isolation VLAN of {name}")));
            }
            (NetworkType::Vxlan | NetworkType::Geneve, Some(_), _) => {
                return Err(invalid(format!("provider:physical_network specified for {network_type} network")));
            }
            (NetworkType::Flat, None, _) => return Err(invalid("physical_network required for flat provider network")),
            (NetworkType::Flat, Some(name), _) if !settings.network.flat_networks.iter().any(|it| it == "*" || it == name) => {
                return Err(invalid(format!("physical_network '{name}' unknown for flat provider network")));
            }
            (NetworkType::Local, Some(_), _) => return Err(invalid("physical_network prohibited for local provider network")),
            (NetworkType::Flat | NetworkType::Local, _, Some(_)) => {
                return Err(invalid(format!("segmentation_id prohibited for {network_type} provider network")));
            }
            _ => {}
        }
        let id = match id.map(|id| u32::try_from(id).ok().filter(|id| (1..=kind.most()).contains(id))) {
            Some(None) => return Err(invalid(format!("segmentation_id out of range (1 through {})", kind.most()))),
            id => id.flatten(),
        };
        Ok(Self { network_type: kind, physical_network, segmentation_id: id })
    }
}

/// The physical networks that have VLANs, the fabric first.
pub(super) fn physical_networks(settings: &Settings) -> impl Iterator<Item = &str> {
    std::iter::once(settings.fabric.physical_network.as_str()).chain(settings.network.physical_networks.iter().map(|it| it.name.as_str()))
}

/// What the configuration says: ids of that type (on that fabric) that networks of all projects are given.
pub(super) fn configured(settings: &Settings, network_type: NetworkType, physical_network: Option<&str>) -> Vec<(u32, u32)> {
    match network_type {
        NetworkType::Vlan if physical_network == Some(settings.fabric.physical_network.as_str()) => {
            let (first, last) = settings.fabric.vlan_range;
            vec![(first.into(), last.into())]
        }
        NetworkType::Vlan => {
            let named = settings.network.physical_networks.iter().filter(|it| Some(it.name.as_str()) == physical_network);
            named.flat_map(|it| &it.vlan_ranges).map(|it| (it.first, it.last)).collect()
        }
        NetworkType::Vxlan => vec![(settings.network.vxlan_ids.first, settings.network.vxlan_ids.last)],
        NetworkType::Geneve => vec![(settings.network.geneve_ids.first, settings.network.geneve_ids.last)],
        NetworkType::Flat | NetworkType::Local => Vec::new(),
    }
}

/// What of the ranges is in none of the holes, in order, no two touching the same id.
fn without(ranges: &[(u32, u32)], holes: &[(u32, u32)]) -> Vec<Range> {
    let mut left: Vec<(u32, u32)> = ranges.to_vec();
    for (first, last) in holes {
        left = left
            .into_iter()
            .flat_map(|(a, b)| {
                let below = first.checked_sub(1).map(|end| (a, b.min(end)));
                let above = last.checked_add(1).map(|start| (a.max(start), b));
                [below, above].into_iter().flatten().filter(|(a, b)| a <= b).collect::<Vec<_>>()
            })
            .collect();
    }
    left.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for (a, b) in left.into_iter().map(|(a, b)| (u128::from(a), u128::from(b))) {
        match merged.last_mut() {
            Some(last) if a <= last.1 => last.1 = last.1.max(b),
            _ => merged.push((a, b)),
        }
    }
    merged
}

/// Whence a project's networks take ids: its own ranges, then what is for all. Other projects' ranges are theirs alone.
fn sources(
    settings: &Settings,
    ranges: &[Object<NetworkSegmentRange>],
    project: Option<&Id<Project>>,
    network_type: NetworkType,
    physical_network: Option<&str>,
) -> [Vec<Range>; 2] {
    let here = |it: &&Object<NetworkSegmentRange>| {
        let it = &it.desired;
        !it.is_default && it.network_type == network_type && it.physical_network.as_deref() == physical_network
    };
    let (mut own, mut shared, mut others) = (Vec::new(), configured(settings, network_type, physical_network), Vec::new());
    for it in ranges.iter().filter(here) {
        let range = (it.desired.minimum, it.desired.maximum);
        if it.desired.shared {
            shared.push(range);
        } else if it.project_id.is_some() && it.project_id.as_ref() == project {
            own.push(range);
        } else {
            others.push(range);
        }
    }
    let fabric = &settings.fabric;
    if network_type == NetworkType::Vlan && physical_network == Some(fabric.physical_network.as_str()) {
        let isolation = u32::from(fabric.isolation_vlan);
        others.push((isolation, isolation));
        own = without(&own, &[(isolation, isolation)])
            .into_iter()
            .filter_map(|(a, b)| Some((u32::try_from(a).ok()?, u32::try_from(b).ok()?)))
            .collect();
    }
    [without(&own, &[]), without(&shared, &others)]
}

fn vlan_key(id: u128) -> String {
    u32::try_from(id).map(|id| segment_key(NetworkType::Vlan, id)).unwrap_or_default()
}

fn tunnel_key(id: u128) -> String {
    u32::try_from(id).map(|id| segment_key(NetworkType::Vxlan, id)).unwrap_or_default()
}

/// The id of a key in a pool of segments.
pub(super) fn number(key: &str) -> Option<u128> {
    key.parse().ok()
}

/// Takes the segment that is asked for, for a network of that project; an id that is not said is chosen.
///
/// # Errors
/// Somebody has it, or none is left.
pub(super) async fn take(work: &mut Work<'_>, project: Option<&Id<Project>>, wanted: &Wanted, holder: &str) -> Result<Segment, Failure> {
    let kind = wanted.network_type;
    let segment = |physical_network: Option<&str>, segmentation_id| Segment {
        id: Id::random(),
        network_type: kind,
        physical_network: physical_network.map(str::to_owned),
        segmentation_id,
    };
    if wanted.segmentation_id.is_some() || matches!(kind, NetworkType::Flat | NetworkType::Local) {
        let segment = segment(wanted.physical_network.as_deref(), wanted.segmentation_id);
        if let Some((pool, key)) = segment.held() {
            // Looked up anew in every attempt: what was lost to another request is found here in the next.
            let is_first = work.claim(&pool, u128::from(wanted.segmentation_id.unwrap_or(0)));
            if !is_first || work.ask.app.store.allocation(&pool, &key).await?.is_some() {
                return Err(in_use(&segment));
            }
            work.step(|batch| batch.hold(&pool, &key, holder));
        }
        return Ok(segment);
    }
    match choose(work, project, kind, wanted.physical_network.as_deref(), holder).await? {
        Some((physical_network, id)) => Ok(segment(physical_network.as_deref(), Some(id))),
        None => Err(none_left()),
    }
}

/// Takes a segment for a network of which nobody said what it is to be.
///
/// # Errors
/// None is left.
pub(super) async fn take_any(work: &mut Work<'_>, project: Option<&Id<Project>>, holder: &str) -> Result<Segment, Failure> {
    for kind in work.ask.app.settings.network.tenant_network_types.clone() {
        if kind == NetworkType::Local {
            return Ok(Segment { id: Id::random(), network_type: kind, physical_network: None, segmentation_id: None });
        }
        if let Some((physical_network, id)) = choose(work, project, kind, None, holder).await? {
            return Ok(Segment { id: Id::random(), network_type: kind, physical_network, segmentation_id: Some(id) });
        }
    }
    Err(none_left())
}

/// Chooses and holds an id, and says on which physical network.
async fn choose(
    work: &mut Work<'_>,
    project: Option<&Id<Project>>,
    kind: NetworkType,
    physical_network: Option<&str>,
    holder: &str,
) -> Result<Option<(Option<String>, u32)>, Failure> {
    let app = &work.ask.app;
    let ranges = app.store.list_few(&Query::<NetworkSegmentRange>::new()).await?;
    let places: Vec<Option<&str>> = match (kind, physical_network) {
        (NetworkType::Vlan, None) => physical_networks(&app.settings).map(Some).collect(),
        _ => vec![physical_network],
    };
    for place in places {
        let Some(pool) = segment_pool(kind, place) else { continue };
        let key = if kind == NetworkType::Vlan { vlan_key } else { tunnel_key };
        for source in sources(&app.settings, &ranges, project, kind, place) {
            if source.is_empty() {
                continue;
            }
            if let Some(id) = work.pick(&pool, &source, key, number).await? {
                work.step(|batch| batch.hold(&pool, &key(id), holder));
                return Ok(u32::try_from(id).ok().map(|id| (place.map(str::to_owned), id)));
            }
        }
    }
    Ok(None)
}

fn none_left() -> Failure {
    let text = "Unable to create the network. No project network is available for allocation.";
    Failure::named(StatusCode::SERVICE_UNAVAILABLE, "NoNetworkAvailable", text)
}

fn in_use(segment: &Segment) -> Failure {
    let place = segment.physical_network.as_deref().unwrap_or_default();
    let id = segment.segmentation_id.unwrap_or_default();
    let (kind, text) = match segment.network_type {
        NetworkType::Vlan => ("VlanIdInUse", format!("Unable to create the network. The VLAN {id} on physical network {place} is in use.")),
        NetworkType::Flat => ("FlatNetworkInUse", format!("Unable to create the flat network. Physical network {place} is in use.")),
        _ => ("TunnelIdInUse", format!("Unable to create the network. The tunnel ID {id} is in use.")),
    };
    Failure::named(StatusCode::CONFLICT, kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_less_others() {
        assert_eq!(without(&[(1, 10)], &[]), [(1, 10)]);
        assert_eq!(without(&[(1, 10), (5, 20)], &[(3, 4), (12, 12)]), [(1, 2), (5, 11), (13, 20)]);
        assert_eq!(without(&[(1, 10)], &[(1, 10)]), []);
        assert_eq!(without(&[(1, u32::MAX)], &[(0, 5), (u32::MAX, u32::MAX)]), [(6, u128::from(u32::MAX - 1))]);
    }

    #[test]
    fn keys_sort_as_their_numbers() {
        for key in [vlan_key, tunnel_key] {
            let keys = [1, 9, 10, 999, 4094].map(key);
            assert!(keys.is_sorted());
            assert!(keys.iter().all(|it| it.len() == keys[0].len()));
            assert_eq!(number(&key(77)), Some(77));
        }
        assert!(tunnel_key(4095) > tunnel_key(4094));
    }
}
