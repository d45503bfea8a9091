//! Objects to store.

use model::baremetal::{Node, NodeDesired};
use model::identity::Project;
use model::net::{Network, NetworkDesired, Segment, Subnet, SubnetDesired, VlanId};
use model::secret::Settings;
use model::{Id, Kind, Object};
use store::{Batch, Store, StoreError};

pub fn network(name: &str) -> Object<Network> {
    let desired = NetworkDesired {
        admin_state_up: true,
        shared: false,
        external: false,
        description: String::new(),
        mtu: 1500,
        port_security_enabled: true,
        segment: Segment { physical_network: "physnet1".into(), vlan: VlanId::new(100).unwrap() },
    };
    Object::new(Id::random(), Some(project("finance")), name, desired)
}

pub fn subnet(of: &Id<Network>) -> Object<Subnet> {
    let desired = SubnetDesired {
        network_id: of.clone(),
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway_ip: None,
        allocation_pools: vec![],
        dns_nameservers: vec![],
        host_routes: vec![],
        enable_dhcp: true,
        description: String::new(),
    };
    Object::new(Id::random(), Some(project("finance")), "", desired)
}

pub fn node(name: &str, class: Option<&str>) -> Object<Node> {
    let desired = NodeDesired {
        driver: "redfish".into(),
        driver_info: Settings::default(),
        properties: serde_json::Map::new(),
        extra: serde_json::Map::new(),
        instance_info: Settings::default(),
        instance_uuid: None,
        resource_class: class.map(str::to_owned),
        owner: None,
        lessee: None,
        description: None,
        maintenance: false,
        maintenance_reason: None,
        vifs: vec![],
        configdrive: None,
        request: None,
        power_request: None,
    };
    Object::new(Id::random(), None, name, desired)
}

pub fn project(name: &str) -> Id<Project> {
    Id::parse(name).unwrap()
}

pub async fn create<K: Kind>(store: &Store, object: &Object<K>) {
    store.apply(Batch::wishes().create(object)).await.unwrap();
}

pub async fn read<K: Kind>(store: &Store, id: &Id<K>) -> Object<K> {
    store.get(id).await.unwrap().unwrap()
}

/// Which kind of failure it was, for comparisons.
pub fn kind_of(result: &Result<(), StoreError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(StoreError::Stale { .. }) => "stale",
        Err(StoreError::Exists { .. }) => "exists",
        Err(StoreError::Taken { .. }) => "taken",
        Err(StoreError::Referenced { .. }) => "referenced",
        Err(StoreError::LeaseLost { .. }) => "lease lost",
        Err(StoreError::Newer { .. }) => "newer",
        Err(StoreError::Open(_)) => "open",
        Err(StoreError::Database(_)) => "database",
        Err(StoreError::Unstorable) => "unstorable",
        Err(StoreError::Corrupt { .. }) => "corrupt",
    }
}
