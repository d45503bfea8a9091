//! Sets of prefixes: what several cover together, what is left of them, and where the next subnet of a pool goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::addresses::{address, number, span};

/// Units of a subnet pool's quota: IPv4 counts single addresses, IPv6 prefixes of this length.
const IPV6_QUOTA_PREFIX: i32 = 64;

/// The family of an address, as its number of bits.
fn bits(of: IpAddr) -> u8 {
    if of.is_ipv4() { 32 } else { 128 }
}

fn family(bits: u8) -> IpAddr {
    if bits == 32 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) }
}

/// The largest number of the family.
fn top(bits: u8) -> u128 {
    if bits == 32 { u128::from(u32::MAX) } else { u128::MAX }
}

fn prefix(first: u128, length: u8, bits: u8) -> Option<IpNet> {
    IpNet::new(address(first, family(bits))?, length).ok()
}

/// A cidr as clients write it, made canonical: bits behind the prefix are dropped, an address alone is a prefix of itself, and IPv4's mask
/// may be given as an address (`10.0.0.1/255.255.255.0`). None if it is no cidr.
pub fn normalise(text: &str) -> Option<IpNet> {
    let (addr, length) = text.split_once('/').map_or((text, None), |(addr, length)| (addr, Some(length)));
    let addr: IpAddr = addr.parse().ok()?;
    let length = match length {
        None => bits(addr),
        Some(length) if !length.is_empty() && length.len() <= 3 && length.bytes().all(|it| it.is_ascii_digit()) => length.parse().ok()?,
        Some(mask) => match (addr, mask.parse().ok()?) {
            (IpAddr::V4(_), IpAddr::V4(mask)) => ipnet::ipv4_mask_to_prefix(mask).ok()?,
            (IpAddr::V6(_), IpAddr::V6(mask)) => ipnet::ipv6_mask_to_prefix(mask).ok()?,
            _ => return None,
        },
    };
    Some(IpNet::new(addr, length).ok()?.trunc())
}

/// Whether two prefixes share an address.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Two prefixes, one of each list, that share an address.
pub fn overlapping(these: &[IpNet], those: &[IpNet]) -> Option<(IpNet, IpNet)> {
    these.iter().find_map(|a| those.iter().find(|b| overlap(a, b)).map(|b| (*a, *b)))
}

/// The fewest prefixes that cover the same addresses, in order, IPv4 first.
pub fn summarise(prefixes: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    prefixes.into_iter().collect::<AddressSet>().prefixes()
}

/// How much of a subnet pool's quota these subnets take: addresses for IPv4, /64 prefixes (or fractions of them) for IPv6.
pub fn quota_units<'a>(subnets: impl IntoIterator<Item = &'a IpNet>) -> f64 {
    let unit = |net: &IpNet| if net.addr().is_ipv4() { 32 } else { IPV6_QUOTA_PREFIX };
    subnets.into_iter().map(|net| 2_f64.powi(unit(net) - i32::from(net.prefix_len()))).sum()
}

/// Any set of addresses of both families, as ranges in order with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

/// Sorts ranges and joins those that touch.
fn joined(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut().filter(|it| it.1.checked_add(1).is_none_or(|next| first <= next)) {
            Some(before) => before.1 = before.1.max(last),
            None => joined.push((first, last)),
        }
    }
    joined
}

/// What is in `these` and not in `those`.
fn minus(these: &[(u128, u128)], those: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut left = Vec::new();
    let mut holes = those.iter().peekable();
    for (first, last) in these {
        let mut from = Some(*first);
        while let (Some(start), Some((hole, end))) = (from, holes.peek()) {
            if *hole > *last {
                break;
            }
            if *end >= start {
                if *hole > start {
                    left.push((start, *hole - 1));
                }
                from = end.checked_add(1).filter(|next| next <= last);
            }
            // A hole that goes on behind this range may cut the next one too.
            if *end > *last {
                break;
            }
            holes.next();
        }
        if let Some(start) = from {
            left.push((start, *last));
        }
    }
    left
}

impl AddressSet {
    /// The set of these ranges, ends included; those that mix families or are the wrong way round hold nothing.
    pub fn of_ranges(ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (start, end) in ranges {
            let range = (number(start), number(end));
            if start.is_ipv4() == end.is_ipv4() && range.0 <= range.1 {
                if start.is_ipv4() { &mut v4 } else { &mut v6 }.push(range);
            }
        }
        Self { v4: joined(v4), v6: joined(v6) }
    }

    fn of(&self, like: IpAddr) -> &[(u128, u128)] {
        if like.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    /// Whether it holds no address.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether it holds the address. O(log n).
    pub fn contains(&self, wanted: IpAddr) -> bool {
        let at = number(wanted);
        self.holds(self.of(wanted), at, at)
    }

    /// Whether it holds every address of the prefix. O(log n).
    pub fn contains_all(&self, net: &IpNet) -> bool {
        let (first, last) = span(net);
        self.holds(self.of(net.addr()), first, last)
    }

    fn holds(&self, ranges: &[(u128, u128)], first: u128, last: u128) -> bool {
        let before = ranges.partition_point(|it| it.0 <= first);
        before.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|it| it.1 >= last)
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let both = |a: &[(u128, u128)], b: &[(u128, u128)]| joined(a.iter().chain(b).copied().collect());
        Self { v4: both(&self.v4, &other.v4), v6: both(&self.v6, &other.v6) }
    }

    /// What is in this and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        Self { v4: minus(&self.v4, &other.v4), v6: minus(&self.v6, &other.v6) }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.difference(&self.difference(other))
    }

    /// Whether they share an address.
    pub fn intersects(&self, other: &Self) -> bool {
        !self.intersection(other).is_empty()
    }

    /// Whether every address of the other is in this.
    pub fn covers(&self, other: &Self) -> bool {
        other.difference(self).is_empty()
    }

    /// How many addresses it holds; the largest number if there are more than can be counted (all of IPv6).
    pub fn size(&self) -> u128 {
        let sizes = self.v4.iter().chain(&self.v6).map(|it| (it.1 - it.0).saturating_add(1));
        sizes.fold(0, u128::saturating_add)
    }

    /// Its ranges in order, IPv4 first.
    pub fn ranges(&self) -> Vec<(IpAddr, IpAddr)> {
        let shown = |bits: u8| move |it: &(u128, u128)| Some((address(it.0, family(bits))?, address(it.1, family(bits))?));
        self.v4.iter().filter_map(shown(32)).chain(self.v6.iter().filter_map(shown(128))).collect()
    }

    /// The fewest prefixes that hold the same addresses, in order, IPv4 first.
    pub fn prefixes(&self) -> Vec<IpNet> {
        let mut prefixes = Vec::new();
        for (bits, ranges) in [(32, &self.v4), (128, &self.v6)] {
            for range in ranges {
                prefixes.extend(range_prefixes(*range, bits));
            }
        }
        prefixes
    }
}

/// The fewest prefixes that hold exactly this range.
fn range_prefixes((first, last): (u128, u128), bits: u8) -> Vec<IpNet> {
    let mut prefixes = Vec::new();
    let mut from = Some(first);
    while let Some(start) = from {
        let mut length = bits;
        // One bit shorter while it still begins here and does not reach beyond the end.
        while length > 0 && start & size_mask(length - 1, bits) == 0 && start | size_mask(length - 1, bits) <= last {
            length -= 1;
        }
        prefixes.extend(prefix(start, length, bits));
        let end = start | size_mask(length, bits);
        from = end.checked_add(1).filter(|next| *next <= last);
    }
    prefixes
}

/// The bits behind a prefix of that length: its size less one.
fn size_mask(length: u8, bits: u8) -> u128 {
    top(bits).checked_shr(u32::from(length)).unwrap_or(0)
}

impl FromIterator<IpNet> for AddressSet {
    fn from_iter<T: IntoIterator<Item = IpNet>>(prefixes: T) -> Self {
        Self::of_ranges(prefixes.into_iter().map(|it| (it.network(), it.broadcast())))
    }
}

impl<'a> FromIterator<&'a IpNet> for AddressSet {
    fn from_iter<T: IntoIterator<Item = &'a IpNet>>(prefixes: T) -> Self {
        prefixes.into_iter().copied().collect()
    }
}

/// What is free of a subnet pool, so kept that taking and giving back cost O(log n) each.
///
/// Free space lies in prefixes that are as short as can be, sorted by length and then by place. As in Neutron
/// (`neutron/ipam/subnet_alloc.py`), a subnet goes into the *smallest* free prefix with room for it, and among those into the lowest, so
/// that large gaps stay whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreeSpace {
    /// First addresses by family (bits) and prefix length.
    free: BTreeMap<(u8, u8), BTreeSet<u128>>,
}

impl FreeSpace {
    /// What is left of a pool's prefixes when these subnets are taken.
    pub fn new<'a>(prefixes: impl IntoIterator<Item = &'a IpNet>, used: impl IntoIterator<Item = &'a IpNet>) -> Self {
        let left = prefixes.into_iter().collect::<AddressSet>().difference(&used.into_iter().collect());
        let mut space = Self::default();
        for net in left.prefixes() {
            space.add(bits(net.addr()), net.prefix_len(), number(net.network()));
        }
        space
    }

    fn add(&mut self, bits: u8, length: u8, first: u128) {
        self.free.entry((bits, length)).or_default().insert(first);
    }

    fn remove(&mut self, bits: u8, length: u8, first: u128) -> bool {
        let Some(starts) = self.free.get_mut(&(bits, length)) else { return false };
        let removed = starts.remove(&first);
        if starts.is_empty() {
            self.free.remove(&(bits, length));
        }
        removed
    }

    /// The place for a subnet of that prefix length in the family of `like`, without taking it.
    pub fn find(&self, like: IpAddr, length: u8) -> Option<IpNet> {
        let bits = bits(like);
        if length > bits {
            return None;
        }
        let (_, starts) = self.free.range((bits, 0)..=(bits, length)).next_back()?;
        prefix(*starts.first()?, length, bits)
    }

    /// Whether all of this very subnet is free.
    pub fn has(&self, wanted: &IpNet) -> bool {
        self.holder(wanted).is_some()
    }

    /// The length of the free prefix that holds it.
    fn holder(&self, wanted: &IpNet) -> Option<u8> {
        let (bits, first) = (bits(wanted.addr()), number(wanted.network()));
        (0..=wanted.prefix_len())
            .rev()
            .find(|length| self.free.get(&(bits, *length)).is_some_and(|it| it.contains(&(first & !size_mask(*length, bits)))))
    }

    /// Takes the place [`FreeSpace::find`] tells.
    pub fn take(&mut self, like: IpAddr, length: u8) -> Option<IpNet> {
        let found = self.find(like, length)?;
        self.take_this(&found).then_some(found)
    }

    /// Takes this very subnet; `false` and nothing is changed if not all of it is free.
    pub fn take_this(&mut self, wanted: &IpNet) -> bool {
        let Some(holder) = self.holder(wanted) else { return false };
        let (bits, first) = (bits(wanted.addr()), number(wanted.network()));
        self.remove(bits, holder, first & !size_mask(holder, bits));
        // The other half of each prefix between the two stays free.
        for length in holder + 1..=wanted.prefix_len() {
            let half = size_mask(length, bits).wrapping_add(1);
            self.add(bits, length, (first & !size_mask(length, bits)) ^ half);
        }
        true
    }

    /// Gives a subnet back; what touches it grows together. `false` and nothing is changed if part of it is free already.
    pub fn give(&mut self, net: &IpNet) -> bool {
        let (bits, mut first, mut length) = (bits(net.addr()), number(net.network()), net.prefix_len());
        let last = first | size_mask(length, bits);
        let inside = self.free.range((bits, length)..=(bits, bits)).any(|(_, starts)| starts.range(first..=last).next().is_some());
        if inside || self.has(net) {
            return false;
        }
        while length > 0 && self.remove(bits, length, first ^ size_mask(length, bits).wrapping_add(1)) {
            length -= 1;
            first &= !size_mask(length, bits);
        }
        self.add(bits, length, first);
        true
    }
}

/// Where a subnet of that prefix length goes in a pool of these prefixes, of which these subnets are taken.
pub fn carve(prefixes: &[IpNet], used: &[IpNet], length: u8) -> Option<IpNet> {
    FreeSpace::new(prefixes, used).find(prefixes.first()?.addr(), length)
}

/// Whether all of `wanted` lies in these prefixes and in none of those taken.
pub fn has_room(prefixes: &[IpNet], used: &[IpNet], wanted: &IpNet) -> bool {
    prefixes.iter().collect::<AddressSet>().contains_all(wanted) && !used.iter().any(|it| overlap(it, wanted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn nets(text: &[&str]) -> Vec<IpNet> {
        text.iter().map(|it| net(it)).collect()
    }

    #[test]
    fn cidrs_become_canonical() {
        let cases = [
            ("10.0.0.1/24", Some("10.0.0.0/24")),
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("10.0.0.1/255.255.255.0", Some("10.0.0.0/24")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("2001:db8::1", Some("2001:db8::1/128")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.1/33", None),
            ("10.0.0.1/", None),
            ("10.0.0.1/+4", None),
            ("10.0.0.1/255.0.255.0", None),
            ("10.0.0/24", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(normalise(text), wanted.map(net), "{text}");
        }
    }

    #[test]
    fn neighbours_become_one() {
        assert_eq!(summarise(nets(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32"])), nets(&["10.0.0.0/23"]));
        assert_eq!(summarise(nets(&["10.0.1.0/24", "10.0.2.0/24"])), nets(&["10.0.1.0/24", "10.0.2.0/24"]));
        assert_eq!(summarise(nets(&["2001:db8::/64", "10.0.0.0/8"])), nets(&["10.0.0.0/8", "2001:db8::/64"]));
        assert_eq!(summarise(nets(&["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"])), nets(&["0.0.0.0/0", "::/0"]));
    }

    #[test]
    fn subnets_go_into_the_smallest_gap() {
        let pool = nets(&["10.0.0.0/16"]);
        assert_eq!(carve(&pool, &[], 24), Some(net("10.0.0.0/24")));
        assert_eq!(carve(&pool, &nets(&["10.0.0.0/24"]), 24), Some(net("10.0.1.0/24")));
        // A gap of exactly this size is preferred to a lower, larger one.
        assert_eq!(carve(&pool, &nets(&["10.0.128.0/18", "10.0.192.0/24"]), 24), Some(net("10.0.193.0/24")));
        assert_eq!(carve(&pool, &[], 15), None);
        assert_eq!(carve(&pool, &pool, 32), None);
        assert_eq!(carve(&pool, &[], 64), None);
        assert_eq!(carve(&[], &[], 24), None);
        assert_eq!(carve(&nets(&["2001:db8::/48"]), &nets(&["2001:db8::/64"]), 64), Some(net("2001:db8:0:1::/64")));
        assert!(has_room(&nets(&["10.0.0.0/24", "10.0.1.0/24"]), &[], &net("10.0.0.0/23")));
        assert!(!has_room(&pool, &nets(&["10.0.3.0/24"]), &net("10.0.0.0/20")));
        assert!(!has_room(&pool, &[], &net("10.1.0.0/24")));
    }

    #[test]
    fn overlaps_and_quota() {
        assert_eq!(
            overlapping(&nets(&["10.0.0.0/24", "10.1.0.0/24"]), &nets(&["10.1.0.128/25"])),
            Some((net("10.1.0.0/24"), net("10.1.0.128/25")))
        );
        assert_eq!(overlapping(&nets(&["10.0.0.0/24"]), &nets(&["::/0"])), None);
        assert_eq!(quota_units(&nets(&["10.0.0.0/24", "10.0.1.0/32"])), 257.0);
        assert_eq!(quota_units(&nets(&["2001:db8::/60"])), 16.0);
    }

    #[test]
    fn everything_is_a_set_too() {
        let all: AddressSet = nets(&["::/0", "0.0.0.0/0"]).into_iter().collect();
        assert_eq!(all.size(), u128::MAX);
        assert!(all.difference(&all).is_empty());
        assert_eq!(all.prefixes(), nets(&["0.0.0.0/0", "::/0"]));
        assert_eq!(all.ranges().len(), 2);
    }

    /// Prefixes within 256 addresses of either family, so that sets can be compared with plain ones.
    fn small() -> impl Strategy<Value = Vec<IpNet>> {
        let one = (any::<bool>(), any::<u8>(), 0_u8..=8).prop_map(|(v4, at, behind)| {
            let net = if v4 {
                IpNet::new(IpAddr::from([10, 0, 0, at]), 32 - behind)
            } else {
                IpNet::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, u16::from(at) | 0xff00]), 128 - behind)
            };
            net.unwrap().trunc()
        });
        proptest::collection::vec(one, 0..12)
    }

    fn plain(nets: &[IpNet]) -> BTreeSet<IpAddr> {
        nets.iter().flat_map(|it| (number(it.network())..=number(it.broadcast())).map(|at| address(at, it.addr()).unwrap())).collect()
    }

    proptest! {
        #[test]
        fn sets_are_sets(a in small(), b in small()) {
            let (x, y): (AddressSet, AddressSet) = (a.iter().collect(), b.iter().collect());
            let (p, q) = (plain(&a), plain(&b));
            prop_assert_eq!(plain(&x.union(&y).prefixes()), p.union(&q).copied().collect());
            prop_assert_eq!(plain(&x.difference(&y).prefixes()), p.difference(&q).copied().collect());
            prop_assert_eq!(plain(&x.intersection(&y).prefixes()), p.intersection(&q).copied().collect());
            prop_assert_eq!(x.size(), p.len() as u128);
            prop_assert_eq!(x.covers(&y), p.is_superset(&q));
            for net in &b {
                prop_assert_eq!(x.contains_all(net), plain(&[*net]).is_subset(&p));
                prop_assert_eq!(x.contains(net.network()), p.contains(&net.network()));
            }
            // As few prefixes as ipnet's own way finds.
            prop_assert_eq!(x.prefixes().len(), IpNet::aggregate(&a).len());
        }

        #[test]
        fn free_space_is_what_is_not_taken(pool in small(), steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0_u8..=8, any::<u8>()), 0..40)) {
            let mut space = FreeSpace::new(&pool, &[]);
            let mut used: Vec<IpNet> = Vec::new();
            for (give, v4, behind, at) in steps {
                let like = family(if v4 { 32 } else { 128 });
                if give && !used.is_empty() {
                    let net = used.swap_remove(usize::from(at) % used.len());
                    prop_assert!(space.give(&net));
                    prop_assert!(!space.give(&net));
                } else {
                    let length = bits(like) - behind;
                    let of_family: Vec<IpNet> = pool.iter().filter(|it| it.addr().is_ipv4() == v4).copied().collect();
                    prop_assert_eq!(space.find(like, length), carve(&of_family, &used, length));
                    if let Some(net) = space.take(like, length) {
                        prop_assert!(has_room(&pool, &used, &net));
                        prop_assert!(!space.take_this(&net));
                        used.push(net);
                    }
                }
                prop_assert_eq!(&space, &FreeSpace::new(&pool, &used));
            }
        }
    }
}
