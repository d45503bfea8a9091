//! Whoever dies, the other goes on: the control plane is killed again and again while two tenants get and give back their clusters.

use std::sync::Arc;
use std::time::Duration;

use crate::support::api::{Service, Session};
use crate::support::database;
use crate::support::killer::Killer;
use crate::support::monitor::Monitor;
use crate::support::rack::Rack;
use crate::support::say;
use crate::support::serve::Serve;
use crate::support::story::{MEMBERS, Operator};
use crate::support::supplies::Supplies;

/// Three VLANs for three networks: one that does not come back is missed at once.
const VLANS: (u16, u16) = (100, 102);

#[test]
fn rack_survives_kills() {
    let Some(rack) = Rack::up('k', 4) else { return };
    let rack = Arc::new(rack);
    let supplies = Supplies::get();
    let serve = Arc::new(Serve::start(rack.setting(VLANS)));
    let (base, state_dir) = (serve.setting.base(), serve.setting.state_dir.clone());
    let admin = Session::admin(&base, &state_dir);
    let monitor = Monitor::start(&rack, &admin, VLANS);
    let mut killer = Killer::new(&serve);

    let operator = killer.during("inventory", 2, Duration::from_secs(4), || Operator::enrol(admin, &base, &rack, &supplies));
    killer.during("enrolment and cleaning", 4, Duration::from_secs(9), || operator.provide());
    let finance = operator.tenant("finance");
    let medical = operator.tenant("medical");
    let (vlans, ports, allocations) = (operator.vlans(), operator.ports(), database::allocations(&state_dir));
    let attachments = rack.attachments();

    let clusters = killer.during("clusters", 5, Duration::from_secs(20), || {
        let clusters = [&finance, &medical].map(|tenant| (tenant, tenant.create_cluster()));
        for (tenant, cluster) in &clusters {
            tenant.await_complete(cluster);
        }
        clusters
    });
    let owners = operator.owners(&[&finance, &medical]);
    for tenant in ["finance", "medical"] {
        assert_eq!(owners.values().filter(|owner| *owner == tenant).count(), MEMBERS, "{owners:?}");
    }
    assert_eq!(operator.vlans().len(), vlans.len() + 2);

    killer.during("deletion and cleaning", 4, Duration::from_secs(8), || {
        for (tenant, cluster) in &clusters {
            tenant.delete_cluster(cluster);
        }
        for (tenant, cluster) in &clusters {
            tenant.await_gone(cluster, Duration::from_secs(420));
        }
        operator.await_available(Duration::from_secs(420));
    });
    assert!(killer.kills >= 10, "{} kills", killer.kills);
    say(&format!("killed {} times", killer.kills));
    monitor.judge(&owners);

    // Nothing is left of the clusters: what is there is what was there before.
    assert_eq!(operator.vlans(), vlans, "networks are left");
    assert_eq!(operator.ports(), ports, "ports are left");
    assert_eq!(database::allocations(&state_dir), allocations, "allocations are left");
    assert_eq!(rack.attachments(), attachments, "the control plane's own namespaces are left");
    for (machine, seen) in rack.vlans().unwrap() {
        assert_eq!(seen.tag, Some(4094), "{machine}");
    }
    let again: Vec<Result<u16, u16>> = ["one", "two", "three"].map(|name| operator.take_vlan(name)).into();
    let mut got: Vec<u16> = again.iter().filter_map(|it| it.ok()).collect();
    got.sort_unstable();
    let free: Vec<u16> = (VLANS.0..=VLANS.1).filter(|vlan| !vlans.values().any(|used| used == vlan)).collect();
    assert_eq!(got, free, "VLANs have not come back: {again:?}");
    assert_eq!(operator.admin.list(Service::ContainerInfra, "/clusters").len(), 0);
    assert!(serve.terminate().success());
}
