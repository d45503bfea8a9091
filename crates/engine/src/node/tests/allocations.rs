//! Machines that are given to allocations.

use super::*;

#[tokio::test]
async fn allocations_never_share_a_machine() {
    let rig = Arc::new(Rig::new(|_| {}).await);
    for _ in 0..12 {
        rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
    }
    let mut batch = Batch::wishes();
    for at in 0..15 {
        let desired = AllocationDesired { resource_class: Some("big".into()), ..AllocationDesired::default() };
        let it: Object<Allocation> = Object::new(Id::random(), None, format!("a{at}"), desired);
        batch = batch.create(&it).wake(&it.id);
    }
    rig.store().apply(batch).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let rig = Arc::clone(&rig);
        workers.spawn(async move { while rig.look(None).await {} });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let all = rig.store().list(&Query::<Allocation>::new()).await.unwrap();
    let mut nodes: Vec<_> = all.iter().filter_map(|it| it.observed.node_id.clone()).collect();
    nodes.sort();
    nodes.dedup();
    let failed: Vec<_> = all.iter().filter(|it| it.observed.state == AllocationState::Error).collect();
    assert_eq!((nodes.len(), failed.len()), (12, 3));
    assert!(failed.iter().all(|it| it.observed.last_error.is_some()));
    for it in all.iter().filter(|it| it.observed.state == AllocationState::Active) {
        let node = rig.node(it.observed.node_id.as_ref().unwrap()).await;
        assert_eq!((node.desired.instance_uuid, node.desired.allocation_id), (Some(it.id.to_string()), Some(it.id.clone())));
    }
}
