//! Conductors: the processes that work on nodes, and which of them may work on which.

use serde::{Deserialize, Serialize};

use super::Node;
use crate::{Column, Id, Kind, Timestamp};

/// A process that works on nodes; its name is its host name, its id is derived from that.
pub enum Conductor {}

/// The work, once for each conductor group, of reading the power of all its nodes (see [`power_sync_of`]).
pub const POWER_SYNC_WORK: &str = "power_sync";

/// The id in the work queue of a group's [`POWER_SYNC_WORK`].
pub fn power_sync_of(group: &str) -> String {
    if group.is_empty() { POWER_SYNC_WORK.to_owned() } else { format!("{POWER_SYNC_WORK}:{group}") }
}

/// How long a conductor that is not heard of counts as alive, in seconds; it beats six times in that time.
pub const CONDUCTOR_ALIVE_SECONDS: i64 = 30;
/// How long one that is not heard of is remembered, in seconds: 14 days, as Ironic does (`conductor_cleanup_timeout`).
pub const CONDUCTOR_KEPT_SECONDS: i64 = 14 * 24 * 3600;

/// What a [`Conductor`] says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConductorDesired {
    /// The group of nodes it works on; empty: those of no group.
    pub conductor_group: String,
    /// The hardware types it works with, in order.
    pub drivers: Vec<String>,
    /// False once it ended as it was told to.
    pub online: bool,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// Which installation it is: the one that had the name before may have it again at once, another only once that is not alive.
    pub instance: String,
}

impl ConductorDesired {
    /// Whether it works.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.online && now.seconds_since(self.seen_at) < f64::from(i32::try_from(CONDUCTOR_ALIVE_SECONDS).unwrap_or(i32::MAX))
    }

    /// Whether it has not been heard of for so long that it is forgotten.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        now.seconds_since(self.seen_at) > f64::from(i32::try_from(CONDUCTOR_KEPT_SECONDS).unwrap_or(i32::MAX))
    }

    /// Whether it may work on nodes of that group and hardware type.
    pub fn serves(&self, group: &str, driver: &str) -> bool {
        self.conductor_group == group && self.drivers.iter().any(|it| it == driver)
    }
}

impl Kind for Conductor {
    const NAME: &'static str = "conductor";
    type Desired = ConductorDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

/// Whether a conductor group can be called so: at most 255 letters, digits, `_`, `-`, `.` (Source: Ironic, `conductor_group`).
pub fn is_conductor_group(text: &str) -> bool {
    text.len() <= 255 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Of several hosts the one that answers for a node: the same for whoever asks, whatever their order, and another for few nodes when one
/// comes or goes.
pub fn responsible<'a>(hosts: impl Iterator<Item = &'a str>, node: &Id<Node>) -> Option<&'a str> {
    hosts.max_by_key(|host| (weight(host, node.as_str()), *host))
}

/// A number for a pair of texts (FNV-1a, with its bits mixed so that ends that differ little give numbers that differ much).
fn weight(host: &str, node: &str) -> u64 {
    let bytes = host.bytes().chain([0]).chain(node.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_for_a_while_and_kept_for_long() {
        let now = Timestamp::now();
        let seen = |seconds: i64| ConductorDesired { online: true, seen_at: now.plus_seconds(-seconds), ..ConductorDesired::default() };
        assert!(seen(0).is_alive(now) && seen(29).is_alive(now) && !seen(31).is_alive(now));
        assert!(!ConductorDesired { online: false, ..seen(0) }.is_alive(now));
        assert!(!seen(31).is_forgotten(now) && seen(15 * 24 * 3600).is_forgotten(now));
        // A clock that is a little ahead does not make it dead.
        assert!(seen(-5).is_alive(now));
    }

    #[test]
    fn who_serves_whom() {
        let it = ConductorDesired { conductor_group: "rack1".into(), drivers: vec!["redfish".into()], ..ConductorDesired::default() };
        assert!(it.serves("rack1", "redfish") && !it.serves("", "redfish") && !it.serves("rack1", "ipmi"));
        assert!(is_conductor_group("") && is_conductor_group("rack-1_a.b") && !is_conductor_group("a b") && !is_conductor_group("ä"));
        assert_eq!((power_sync_of(""), power_sync_of("x")), ("power_sync".to_owned(), "power_sync:x".to_owned()));
    }

    #[test]
    fn nodes_are_spread_and_stay_when_another_host_goes() {
        let nodes: Vec<Id<Node>> = (0..900).map(|n| Id::derived(&n.to_string())).collect();
        let three = ["a.example", "b.example", "c.example"];
        let of = |hosts: &[&'static str], node: &Id<Node>| responsible(hosts.iter().copied(), node).unwrap();
        for host in three {
            let has = nodes.iter().filter(|node| of(&three, node) == host).count();
            assert!((220..=380).contains(&has), "{host} has {has} of 900");
        }
        for node in &nodes {
            assert_eq!(of(&three, node), of(&["c.example", "a.example", "b.example"], node));
            if of(&three, node) != "c.example" {
                assert_eq!(of(&three[..2], node), of(&three, node), "moved although its host stayed");
            }
        }
        assert_eq!(responsible(std::iter::empty(), &nodes[0]), None);
    }
}
