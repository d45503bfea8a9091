//! Machines that are never switched off: whatever is done with them, they are only restarted.

use super::*;

/// Orders that are given to a machine's BMC; none of them may cut its power.
fn orders(rig: &Rig, id: &Id<Node>) -> Vec<String> {
    let orders = rig.script.with(id.as_str(), |it| std::mem::take(&mut it.orders));
    assert!(orders.iter().all(|it| it == "Reset"), "{orders:?}");
    orders
}

async fn never_off(rig: &Rig, state: ProvisionState) -> Id<Node> {
    let id = rig.enrolled("redfish", state, |it| it.disable_power_off = true).await;
    rig.script.with(id.as_str(), |it| it.on = true);
    id
}

#[tokio::test]
async fn its_whole_life_is_restarts() {
    for seed in [None, Some(5_u64), Some(19), Some(2027)] {
        println!("seed {seed:?}");
        let rig = Rig::new(|_| {}).await;
        let id = never_off(&rig, ProvisionState::Manageable).await;
        for (verb, steps, state, ramdisk) in [
            (Verb::Provide, vec![], ProvisionState::Available, true),
            (Verb::Deploy, vec![], ProvisionState::Active, true),
            (Verb::Rebuild, vec![], ProvisionState::Active, true),
            (Verb::Service, vec![step("deploy", "inject_files", 0)], ProvisionState::Active, true),
            (Verb::Undeploy, vec![], ProvisionState::Available, true),
            (Verb::Manage, vec![], ProvisionState::Manageable, false),
            (Verb::Clean, vec![step("deploy", "erase_devices", 0), step("power", "reboot", 0)], ProvisionState::Manageable, true),
        ] {
            rig.ask(&id, verb, steps).await;
            let node = rig.until_killed(&id, state, seed.map(Dice)).await;
            assert!(node.observed.last_error.is_none(), "{verb:?}: {:?}", node.observed.last_error);
            let restarts = orders(&rig, &id).len();
            assert_eq!(restarts > 0, ramdisk, "{verb:?}: {restarts} restarts");
            assert!(rig.script.with(id.as_str(), |it| it.on), "{verb:?}");
            if state == ProvisionState::Active {
                assert_eq!(rig.script.with(id.as_str(), |it| it.boot), Some(BootDevice::Disk), "{verb:?}");
                assert!(restarts >= 2, "{verb:?}: into its ramdisk, and out of it");
            }
        }
    }
}

#[tokio::test]
async fn nobody_switches_it_off() {
    let rig = Rig::new(|_| {}).await;
    let id = never_off(&rig, ProvisionState::Manageable).await;
    rig.script.with(id.as_str(), |it| it.fails = Some("erase_devices".into()));
    rig.ask(&id, Verb::Clean, vec![step("deploy", "erase_devices", 0)]).await;
    rig.until(&id, ProvisionState::CleanFailed).await;
    assert!(!orders(&rig, &id).is_empty(), "a job that failed leaves it on, too");
    rig.ask(&id, Verb::Manage, vec![]).await;
    rig.until(&id, ProvisionState::Manageable).await;
    rig.ask(&id, Verb::Clean, vec![step("power", "power_off", 0)]).await;
    let node = rig.until(&id, ProvisionState::CleanFailed).await;
    assert!(node.observed.last_error.unwrap().contains("never switched off"));
    for verb in [PowerVerb::Off, PowerVerb::SoftOff] {
        let seq = rig.power(&id, verb).await;
        while rig.node(&id).await.observed.handled_power < seq {
            rig.look(None).await;
        }
        assert!(rig.node(&id).await.observed.last_error.unwrap().contains("never switched off"), "{verb:?}");
    }
    orders(&rig, &id);
}

#[tokio::test]
async fn what_happened_says_who_asked_for_it() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("fake-hardware", ProvisionState::Enroll, |_| {}).await;
    let (user, project) = (Some("u1".to_owned()), Some("p1".to_owned()));
    rig.ask_as(&id, ProvisionRequest { verb: Verb::Manage, user, project, ..ProvisionRequest::default() }).await;
    rig.until(&id, ProvisionState::Manageable).await;
    rig.ask(&id, Verb::Provide, vec![]).await;
    rig.until(&id, ProvisionState::Available).await;
    let lines = rig.store().history(Node::NAME, id.as_str(), 100).await.unwrap();
    let of = |verb: &str| lines.iter().filter(|it| it.detail["verb"] == verb).collect::<Vec<_>>();
    assert!(
        of("manage").len() >= 2 && of("manage").iter().all(|it| it.detail["user"] == "u1" && it.detail["project"] == "p1"),
        "{lines:?}"
    );
    assert!(!of("provide").is_empty() && of("provide").iter().all(|it| it.detail["user"].is_null()), "asked by nobody in particular");
    assert!(lines.iter().all(|it| it.detail["conductor"] == "here"));
}
