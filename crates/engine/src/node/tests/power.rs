//! Power that users ask for, and rounds that read it.

use super::*;

#[tokio::test]
async fn power_on_request() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    for (verb, on, orders) in [
        (PowerVerb::On, true, vec!["On"]),
        (PowerVerb::SoftReboot, true, vec!["SoftOff", "On"]),
        (PowerVerb::Reboot, true, vec!["Reset"]),
        (PowerVerb::SoftOff, false, vec!["SoftOff"]),
        (PowerVerb::SoftReboot, true, vec!["On"]),
        (PowerVerb::Off, false, vec!["Off"]),
    ] {
        let seq = rig.power(&id, verb).await;
        while rig.look(None).await {}
        let node = rig.node(&id).await;
        assert_eq!((node.observed.handled_power, node.observed.last_error), (seq, None), "{verb:?}");
        assert_eq!(node.observed.power.map(|it| it == model::baremetal::PowerState::On), Some(on), "{verb:?}");
        assert_eq!(rig.script.with(id.as_str(), |it| std::mem::take(&mut it.orders)), orders, "{verb:?}");
    }
}

#[tokio::test]
async fn a_round_over_all_machines_is_held_up_by_nobody() {
    let rig = Rig::new(|_| {}).await;
    let mut ids = Vec::new();
    for at in 0..300 {
        let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
        rig.script.with(id.as_str(), |it| {
            it.on = at % 2 == 0;
            it.hangs = at % 50 == 7;
        });
        ids.push(id);
    }
    let round = async || {
        rig.store().apply(Batch::wishes().wake_named(model::baremetal::POWER_SYNC_WORK, model::baremetal::POWER_SYNC_WORK)).await.unwrap();
        let began = std::time::Instant::now();
        rig.look(None).await;
        began.elapsed()
    };
    let took = round().await;
    assert!(took < Duration::from_secs(12), "{took:?}");
    let node = rig.node(&ids[0]).await;
    assert_eq!(node.observed.power, Some(model::baremetal::PowerState::On));
    let revision = rig.node(&ids[2]).await.revision;
    assert_eq!(rig.node(&ids[7]).await.observed.power_failures, 1);
    for id in ids.iter().skip(8).filter(|id| rig.script.with(id.as_str(), |it| it.hangs)) {
        rig.script.with(id.as_str(), |it| it.hangs = false);
    }
    rig.script.with(ids[7].as_str(), |it| {
        it.hangs = false;
        it.silent = true;
    });
    round().await;
    round().await;
    assert_eq!(rig.node(&ids[2]).await.revision, revision, "nothing changed, nothing is written");
    let node = rig.node(&ids[7]).await;
    assert!(node.desired.maintenance && node.observed.fault == Some(NodeFault::PowerFailure));
    assert_eq!(rig.node(&ids[57]).await.observed.power_failures, 0);
    rig.script.with(ids[7].as_str(), |it| it.silent = false);
    round().await;
    assert!(!rig.node(&ids[7]).await.desired.maintenance);
    assert!(rig.shared.metrics.render().contains("cofferdam_node_power{"));
}
