//! A store that is not empty: networks of many projects with their ports, one of them with a /16 that is half taken, and rules.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::world::World;

/// How many projects share it all; the first of them is the administrator's.
const PROJECTS: usize = 50;
/// How many ports there are for each network.
const PORTS_A_NETWORK: usize = 20;
/// How many ports there are for each rule.
const PORTS_A_RULE: usize = 5;
/// How many rules a group has; one request makes rules of one group only, as Neutron would have it (SecurityGroupNotSingleGroupRules).
const RULES_A_GROUP: usize = 100;
/// How many of the ports are on the one large network at most: half of a /16.
const HALF: usize = 1 << 15;
/// How many are made by one request else.
const BULK: usize = 1000;

/// How many of what.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    networks: usize,
    ports: usize,
    /// Of these on the first network.
    on_first: usize,
    rules: usize,
}

impl Plan {
    fn of(ports: usize) -> Self {
        Self { networks: (ports / PORTS_A_NETWORK).max(2), ports, on_first: (ports / 3).min(HALF), rules: ports / PORTS_A_RULE }
    }

    /// The number of the network a port is on.
    fn network_of(&self, port: usize) -> usize {
        if port < self.on_first { 0 } else { 1 + (port - self.on_first) % (self.networks - 1) }
    }
}

/// Fills the store by bulk requests; remembers which network has the /16 that is half taken.
///
/// # Errors
/// The service refuses.
pub(crate) async fn fill(world: &mut World, ports: usize) -> Result<()> {
    let plan = Plan::of(ports);
    let mut projects = vec![world.project_id.clone()];
    projects.extend((1..PROJECTS).map(|number| format!("{:032x}", 0xbe0c_0000_0000_u64 + number as u64)));
    for project in projects.iter().skip(1) {
        world.lift_quota(project).await?;
    }
    let project_of = |number: usize| projects.get(number % PROJECTS);

    let network = |number: usize| json!({"name": format!("bench-fill-{number:05}"), "project_id": project_of(number)});
    let networks = make(world, "networks", plan.networks, BULK, network).await?;
    let subnet = |number: usize| {
        let cidr = if number == 0 { "10.0.0.0/16".to_owned() } else { format!("10.{}.{}.0/24", (number >> 8) & 0xff, number & 0xff) };
        json!({"network_id": networks.get(number), "ip_version": 4, "cidr": cidr, "project_id": project_of(number)})
    };
    make(world, "subnets", plan.networks, BULK, subnet).await?;
    let port = |number: usize| {
        let network = plan.network_of(number);
        json!({"network_id": networks.get(network), "project_id": project_of(network), "name": format!("bench-fill-{number:06}")})
    };
    make(world, "ports", plan.ports, BULK, port).await?;
    if world.has_groups {
        let group = |number: usize| json!({"name": format!("bench-fill-{number:04}"), "project_id": project_of(number)});
        let groups = make(world, "security-groups", plan.rules.div_ceil(RULES_A_GROUP), BULK, group).await?;
        let rule = |number: usize| {
            let (group, port) = (number / RULES_A_GROUP, number % RULES_A_GROUP + 1);
            json!({
                "security_group_id": groups.get(group), "project_id": project_of(group), "direction": "ingress", "ethertype": "IPv4",
                "protocol": "tcp", "port_range_min": port, "port_range_max": port, "remote_ip_prefix": "198.51.100.0/24",
            })
        };
        make(world, "security-group-rules", plan.rules, RULES_A_GROUP, rule).await?;
    }
    world.half_full = networks.into_iter().next();
    Ok(())
}

/// Makes so many, `bulk` by one request; their ids in order.
async fn make(world: &World, plural: &str, count: usize, bulk: usize, object: impl Fn(usize) -> Value) -> Result<Vec<String>> {
    let began = std::time::Instant::now();
    let mut ids = Vec::new();
    while ids.len() < count {
        let objects: Vec<Value> = (ids.len()..count.min(ids.len() + bulk)).map(&object).collect();
        ids.extend(world.make_many(plural, &objects).await.with_context(|| format!("after {} {plural}", ids.len()))?);
    }
    eprintln!("  {count} {plural} in {}", crate::phases::seconds(began.elapsed()));
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_ports_are_what_was_promised() {
        let plan = Plan::of(100_000);
        assert_eq!(plan, Plan { networks: 5000, ports: 100_000, on_first: 32_768, rules: 20_000 });
        let mut counts = vec![0; plan.networks];
        for port in 0..plan.ports {
            counts[plan.network_of(port)] += 1;
        }
        assert_eq!((counts[0], counts[1], counts[4999]), (32_768, 14, 13));
        assert!(counts.iter().skip(1).all(|count| (1..=200).contains(count)), "a /24 would not do");
    }

    #[test]
    fn a_small_fill_is_one_too() {
        let plan = Plan::of(10);
        assert_eq!(plan, Plan { networks: 2, ports: 10, on_first: 3, rules: 2 });
        assert_eq!((plan.network_of(2), plan.network_of(3), plan.network_of(9)), (0, 1, 1));
    }
}
