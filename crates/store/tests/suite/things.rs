//! Objects to store.

use model::baremetal::{Node, NodeDesired};
use model::identity::Project;
use model::net::{Network, NetworkDesired, Segment, Subnet, SubnetDesired, VlanId};
use model::{Id, Kind, Object};
use store::{Batch, Store, StoreError};

pub fn network(name: &str) -> Object<Network> {
    let desired = NetworkDesired { segments: vec![Segment::vlan("physnet1", VlanId::new(100).unwrap())], ..NetworkDesired::new(1500) };
    Object::new(Id::random(), Some(project("finance")), name, desired)
}

pub fn subnet(of: &Id<Network>) -> Object<Subnet> {
    let desired = SubnetDesired::new(of.clone(), "10.0.0.0/24".parse().unwrap());
    Object::new(Id::random(), Some(project("finance")), "", desired)
}

pub fn node(name: &str, class: Option<&str>) -> Object<Node> {
    let desired = NodeDesired { driver: "redfish".into(), resource_class: class.map(str::to_owned), ..NodeDesired::default() };
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
        Err(StoreError::OverLimit { .. }) => "over limit",
        Err(StoreError::LeaseLost { .. }) => "lease lost",
        Err(StoreError::Newer { .. }) => "newer",
        Err(StoreError::Open(_)) => "open",
        Err(StoreError::Database(_)) => "database",
        Err(StoreError::Unstorable) => "unstorable",
        Err(StoreError::Corrupt { .. }) => "corrupt",
    }
}
