//! What must be there, kept beside the cloud: what its calls must come to is read from here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What each project may have.
pub const LIMITS: [(&str, usize); 7] =
    [("network", 3), ("subnet", 5), ("port", 12), ("security_group", 4), ("security_group_rule", 12), ("router", 2), ("floatingip", 2)];

/// Pseudo-random numbers that a seed repeats.
pub struct Chance(pub u64);

impl Chance {
    /// SplitMix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// What every thing has.
#[derive(Debug, Default)]
pub struct Common {
    /// Which of the two projects.
    pub owner: usize,
    /// How many things were made before it: ids differ from run to run, and choices must not.
    pub serial: usize,
    pub name: String,
    pub tags: Vec<String>,
    pub revision: u64,
}

impl Common {
    pub fn new(owner: usize, serial: usize, name: &str) -> Self {
        Self { owner, serial, name: name.to_owned(), tags: Vec::new(), revision: 1 }
    }
}

/// A subnet of 10.0.0.0/27.
#[derive(Debug)]
pub struct Subnet {
    pub common: Common,
    pub network: String,
    /// Last byte of its first address, and how many it has.
    pub start: u8,
    pub size: u8,
}

impl Subnet {
    pub fn gateway(&self) -> u8 {
        self.start + 1
    }

    /// What ports may ask for.
    pub fn has(&self, ip: u8) -> bool {
        (self.start + 1..self.start + self.size - 1).contains(&ip)
    }

    pub fn overlaps(&self, start: u8, size: u8) -> bool {
        start < self.start + self.size && self.start < start + size
    }
}

#[derive(Debug)]
pub struct Port {
    pub common: Common,
    pub network: String,
    /// By subnet.
    pub ips: BTreeMap<String, u8>,
    pub groups: Vec<String>,
    /// The router whose interface it is.
    pub router: Option<String>,
}

#[derive(Debug)]
pub struct Group {
    pub common: Common,
    pub is_default: bool,
    /// What its rules let in, by rule; those it began with are not here.
    pub rules: BTreeMap<String, u16>,
    pub began_with: usize,
}

#[derive(Debug)]
pub struct Router {
    pub common: Common,
    /// Whether it has a gateway.
    pub is_connected: bool,
    /// Its ports by subnet.
    pub on: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Floating {
    pub common: Common,
    /// The port, its subnet and the address it stands for.
    pub at: Option<(String, String, u8)>,
}

/// What is there.
#[derive(Default)]
pub struct Model {
    pub networks: BTreeMap<String, Common>,
    pub subnets: BTreeMap<String, Subnet>,
    pub ports: BTreeMap<String, Port>,
    pub groups: BTreeMap<String, Group>,
    pub routers: BTreeMap<String, Router>,
    pub floating: BTreeMap<String, Floating>,
    /// Networks, subnets and groups that ever were.
    pub ever: [BTreeSet<String>; 3],
}

impl Model {
    /// The things of a resource, oldest first; rules are their groups' and not here.
    pub fn all(&self, resource: &str) -> Vec<(&String, &Common)> {
        let mut all: Vec<(&String, &Common)> = match resource {
            "network" => self.networks.iter().collect(),
            "subnet" => self.subnets.iter().map(|it| (it.0, &it.1.common)).collect(),
            "port" => self.ports.iter().map(|it| (it.0, &it.1.common)).collect(),
            "security_group" => self.groups.iter().map(|it| (it.0, &it.1.common)).collect(),
            "router" => self.routers.iter().map(|it| (it.0, &it.1.common)).collect(),
            "floatingip" => self.floating.iter().map(|it| (it.0, &it.1.common)).collect(),
            _ => Vec::new(),
        };
        all.sort_by_key(|it| it.1.serial);
        all
    }

    /// How much of a resource a project has.
    pub fn used(&self, resource: &str, owner: usize) -> usize {
        if resource == "security_group_rule" {
            return self.groups.values().filter(|it| it.common.owner == owner).map(|it| it.rules.len() + it.began_with).sum();
        }
        self.all(resource).iter().filter(|it| it.1.owner == owner).count()
    }

    /// Whether that many more would be too many. The default group does not count against anything when it is made, which is before.
    pub fn is_full(&self, resource: &str, owner: usize, more: usize) -> bool {
        let limit = LIMITS.iter().find(|it| it.0 == resource).unwrap().1;
        self.used(resource, owner) + more > limit
    }

    /// The subnets of a network, oldest first.
    pub fn subnets_of(&self, network: &str) -> Vec<&String> {
        self.in_order(self.subnets.iter().filter(|it| it.1.network == network).map(|it| it.0))
    }

    /// Subnets, oldest first.
    pub fn in_order<'a>(&self, subnets: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
        let mut all: Vec<&String> = subnets.collect();
        all.sort_by_key(|it| self.subnets[*it].common.serial);
        all
    }

    pub fn is_taken(&self, subnet: &str, ip: u8) -> bool {
        self.ports.values().any(|it| it.ips.get(subnet) == Some(&ip))
    }

    /// Whether a subnet has an address left for who asks for none in particular.
    pub fn has_free(&self, subnet: &str) -> bool {
        let it = &self.subnets[subnet];
        (it.start + 2..it.start + it.size - 1).any(|ip| !self.is_taken(subnet, ip))
    }

    /// The subnet of a network an address can be of.
    pub fn subnet_for(&self, network: &str, ip: u8) -> Option<String> {
        self.subnets.iter().find(|it| it.1.network == network && it.1.has(ip)).map(|it| it.0.clone())
    }

    pub fn router_on(&self, subnet: &str) -> Option<&Router> {
        self.routers.values().find(|it| it.on.contains_key(subnet))
    }

    /// What may be tagged: its collection, and itself.
    pub fn tagged(&mut self, which: usize, key: &str) -> (&'static str, &mut Common) {
        match which {
            0 => ("networks", self.networks.get_mut(key).unwrap()),
            1 => ("ports", &mut self.ports.get_mut(key).unwrap().common),
            _ => ("security-groups", &mut self.groups.get_mut(key).unwrap().common),
        }
    }
}

pub fn text(ip: u8) -> String {
    format!("10.0.0.{ip}")
}

pub fn byte(ip: &Value) -> u8 {
    ip.as_str().unwrap().strip_prefix("10.0.0.").unwrap().parse().unwrap()
}

pub fn addresses(port: &Value) -> BTreeMap<String, u8> {
    let all = port["fixed_ips"].as_array().unwrap();
    let ips: BTreeMap<String, u8> = all.iter().map(|it| (it["subnet_id"].as_str().unwrap().to_owned(), byte(&it["ip_address"]))).collect();
    assert_eq!(ips.len(), all.len(), "one address of each subnet: {port}");
    ips
}
