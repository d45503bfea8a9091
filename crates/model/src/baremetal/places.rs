//! Where the ports of networks go that are attached to a machine: to a card, or to the cards of a group, which act as one.

use serde_json::{Map, Value};

use super::{BaremetalPort, Node, Portgroup};
use crate::net::Port;
use crate::{Id, Object};

/// Under this name a card or group says which port it was chosen for.
pub const TENANT_VIF: &str = "tenant_vif_port_id";

/// What one port of a network can be attached to.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The group, unless it is a card by itself.
    pub group: Option<&'a Object<Portgroup>>,
    /// The cards that are plugged in somewhere; at least one.
    pub cards: Vec<&'a Object<BaremetalPort>>,
}

impl<'a> Place<'a> {
    /// A card by itself.
    pub fn card(card: &'a Object<BaremetalPort>) -> Self {
        Self { group: None, cards: vec![card] }
    }

    /// The hardware address that whoever is there has; `None`: whichever the port has.
    pub fn address(&self) -> Option<&'a str> {
        match self.group {
            Some(group) => group.desired.address.as_deref(),
            None => self.cards.first().map(|card| card.desired.address.as_str()),
        }
    }

    /// The same place for what knows nothing of groups, such as a ramdisk: the card that is booted from, if there is one, alone.
    #[must_use]
    pub fn alone(&self) -> Self {
        let card = self.cards.iter().find(|card| card.desired.pxe_enabled).or(self.cards.first());
        Self { group: None, cards: card.copied().into_iter().collect() }
    }

    /// Source: Ironic, `ironic/drivers/modules/network/common.py`: what has a physical network first, then groups, then cards that boot.
    fn rank(&self) -> (bool, bool, bool) {
        let card = self.cards.first();
        let has_network = match self.group {
            Some(group) => group.desired.physical_network.is_some(),
            None => card.is_some_and(|it| it.desired.physical_network.is_some()),
        };
        (!has_network, self.group.is_none(), self.group.is_none() && !card.is_some_and(|it| it.desired.pxe_enabled))
    }
}

/// The options of a group's bond as others are told of them: each name begins with `bond`. (Source: Ironic, Nova and cloud-init alike.)
pub fn bond_properties(group: &Object<Portgroup>) -> Map<String, Value> {
    let named = |name: &String| if name.starts_with("bond") { name.clone() } else { format!("bond_{name}") };
    group.desired.properties.iter().map(|(name, value)| (named(name), value.clone())).collect()
}

/// Which port goes where on a machine.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// Where the attached ports go.
    pub taken: Vec<(Id<Port>, Place<'a>)>,
    /// Where others could go, the best first.
    pub free: Vec<Place<'a>>,
    /// Attached ports for which there is no place.
    pub left: Vec<Id<Port>>,
}

/// Which port an object was chosen for, if that is one of these.
pub fn chosen_for<'a>(internal_info: &Map<String, Value>, vifs: &'a [Id<Port>]) -> Option<&'a Id<Port>> {
    let named = internal_info.get(TENANT_VIF).and_then(Value::as_str)?;
    vifs.iter().find(|it| it.as_str() == named)
}

/// Says which of the attached ports goes where: to what it was chosen for, the others in order of preference. Cards that are plugged in
/// nowhere are no place. The cards of a group are places only while one of them was chosen already, and only if the group may be used so.
pub fn places<'a>(node: &Object<Node>, cards: &'a [Object<BaremetalPort>], groups: &'a [Object<Portgroup>]) -> Places<'a> {
    let vifs = &node.desired.vifs;
    let plugged: Vec<&Object<BaremetalPort>> = cards.iter().filter(|card| card.desired.local_link_connection.is_some()).collect();
    let (mut taken, mut free) = (Vec::new(), Vec::new());
    let mut give = |vif: Option<&Id<Port>>, place: Place<'a>| match vif {
        Some(vif) => taken.push((vif.clone(), place)),
        None => free.push(place),
    };
    for group in groups {
        let members: Vec<_> = plugged.iter().copied().filter(|card| card.desired.portgroup_id.as_ref() == Some(&group.id)).collect();
        let one_by_one = members.iter().any(|card| chosen_for(&card.desired.internal_info, vifs).is_some());
        if one_by_one {
            let usable = |vif: &Option<&Id<Port>>| vif.is_some() || group.desired.standalone_ports_supported;
            let each = members.into_iter().map(|card| (chosen_for(&card.desired.internal_info, vifs), card));
            each.filter(|(vif, _)| usable(vif)).for_each(|(vif, card)| give(vif, Place::card(card)));
        } else if !members.is_empty() {
            give(chosen_for(&group.desired.internal_info, vifs), Place { group: Some(group), cards: members });
        }
    }
    let is_grouped = |card: &&Object<BaremetalPort>| groups.iter().any(|group| card.desired.portgroup_id.as_ref() == Some(&group.id));
    for card in plugged.iter().copied().filter(|card| !is_grouped(card)) {
        give(chosen_for(&card.desired.internal_info, vifs), Place::card(card));
    }
    free.sort_by_key(Place::rank);
    let rest: Vec<Id<Port>> = vifs.iter().filter(|vif| !taken.iter().any(|(has, _)| has == *vif)).cloned().collect();
    let fit = rest.len().min(free.len());
    let (now, left) = rest.split_at(fit);
    taken.extend(now.iter().cloned().zip(free.drain(..fit)));
    Places { taken, free, left: left.to_vec() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(vifs: &[&Id<Port>]) -> Object<Node> {
        let vifs: Vec<Id<Port>> = vifs.iter().map(|it| (*it).clone()).collect();
        let desired = serde_json::from_value(json!({"driver": "fake-hardware", "vifs": vifs})).unwrap();
        Object::new(Id::random(), None, "m", desired)
    }

    fn card(nth: u8, group: Option<&Object<Portgroup>>, boots: bool) -> Object<BaremetalPort> {
        let desired = json!({
            "node_id": Id::<Node>::random(), "address": format!("52:54:00:00:00:{nth:02x}"), "pxe_enabled": boots,
            "local_link_connection": {"switch_id": "02:cf:00:00:00:01", "port_id": format!("p{nth}")},
            "portgroup_id": group.map(|it| &it.id),
        });
        Object::new(Id::random(), None, "", serde_json::from_value(desired).unwrap())
    }

    fn group(alone: bool) -> Object<Portgroup> {
        let desired = json!({
            "node_id": Id::<Node>::random(), "mode": "802.3ad", "standalone_ports_supported": alone,
            "properties": {"miimon": 100, "bond_xmit_hash_policy": "layer3+4"},
        });
        Object::new(Id::random(), None, "bond0", serde_json::from_value(desired).unwrap())
    }

    fn addresses(place: &Place<'_>) -> Vec<String> {
        place.cards.iter().map(|it| it.desired.address.clone()).collect()
    }

    #[test]
    fn a_group_is_one_place_and_comes_first() {
        let (group, a, b) = (group(true), Id::<Port>::random(), Id::<Port>::random());
        let mut cards = [card(1, None, false), card(2, Some(&group), false), card(3, None, true), card(4, Some(&group), true)];
        cards[0].desired.local_link_connection = None;
        let groups = [group];
        let found = places(&node(&[&a, &b]), &cards, &groups);
        assert_eq!(
            found.taken.iter().map(|it| (&it.0, it.1.group.is_some(), it.1.cards.len())).collect::<Vec<_>>(),
            [(&a, true, 2), (&b, false, 1)]
        );
        assert!(found.free.is_empty() && found.left.is_empty());
        assert_eq!(addresses(&found.taken[0].1.alone()), ["52:54:00:00:00:04"], "the one that boots");
        assert_eq!(found.taken[0].1.address(), None);
        assert_eq!(Value::Object(bond_properties(&groups[0])), json!({"bond_miimon": 100, "bond_xmit_hash_policy": "layer3+4"}));
        let third = Id::<Port>::random();
        assert_eq!(places(&node(&[&a, &b, &third]), &cards, &groups).left, [third]);
    }

    #[test]
    fn cards_of_a_group_go_alone_only_where_one_does() {
        for alone in [true, false] {
            let (group, a, b) = (group(alone), Id::<Port>::random(), Id::<Port>::random());
            let mut cards = [card(1, Some(&group), false), card(2, Some(&group), false)];
            cards[1].desired.internal_info.insert(TENANT_VIF.into(), json!(b));
            let groups = [group];
            let found = places(&node(&[&a, &b]), &cards, &groups);
            assert_eq!(found.taken.iter().find(|it| it.0 == b).map(|it| addresses(&it.1)), Some(vec!["52:54:00:00:00:02".to_owned()]));
            assert_eq!(found.left.is_empty(), alone);
            assert!(found.taken.iter().all(|it| it.1.group.is_none()));
            // Chosen for a port that is not attached any more: that is nobody's choice.
            let found = places(&node(&[&a]), &cards, &groups);
            assert_eq!(found.taken.iter().map(|it| it.1.cards.len()).collect::<Vec<_>>(), [2]);
        }
    }

    #[test]
    fn what_was_chosen_stays() {
        let (first, second, a, b) = (group(true), group(true), Id::<Port>::random(), Id::<Port>::random());
        let cards = [card(1, Some(&first), true), card(2, Some(&second), true), card(3, None, true)];
        let mut groups = [first, second];
        groups[1].desired.internal_info.insert(TENANT_VIF.into(), json!(a));
        let found = places(&node(&[&b, &a]), &cards, &groups);
        let of = |vif: &Id<Port>| found.taken.iter().find(|it| it.0 == *vif).map(|it| addresses(&it.1).remove(0)).unwrap();
        assert_eq!((of(&a), of(&b)), ("52:54:00:00:00:02".to_owned(), "52:54:00:00:00:01".to_owned()));
        assert_eq!(found.free.len(), 1);
    }
}
