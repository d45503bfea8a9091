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

/// Whoever is to give an order dies just before or just after: it is given again at once, where it is not seen to have been followed. What
/// shuts down by itself goes by no short clock, and a restart cannot be seen in the power.
#[tokio::test]
async fn no_order_is_lost_with_who_was_to_give_it() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    let cases: [(PowerVerb, bool, PowerAction, &[&str]); 6] = [
        (PowerVerb::On, false, PowerAction::On, &["On"]),
        (PowerVerb::Off, true, PowerAction::Off, &["Off"]),
        (PowerVerb::SoftOff, true, PowerAction::SoftOff, &["SoftOff"]),
        (PowerVerb::SoftReboot, true, PowerAction::SoftOff, &["SoftOff", "On"]),
        (PowerVerb::Reboot, true, PowerAction::Reset, &["Reset"]),
        (PowerVerb::SoftReboot, true, PowerAction::On, &["SoftOff", "On"]),
    ];
    for (verb, before, killer, expected) in cases {
        for death in [Death::BeforeOrder, Death::AfterOrder] {
            let what = format!("{verb:?}, killed by {killer:?}, {death:?}");
            rig.script.with(id.as_str(), |it| {
                *it = Box9 { on: before, death: Some((killer, death)), ..Box9::default() };
            });
            let mut node = rig.node(&id).await;
            node.observed.power = Some(if before { model::baremetal::PowerState::On } else { model::baremetal::PowerState::Off });
            rig.observe(&node).await;
            let seq = rig.power(&id, verb).await;
            until_death(&rig, &id).await;
            let until = std::time::Instant::now() + Duration::from_secs(4);
            while rig.node(&id).await.observed.handled_power < seq {
                assert!(std::time::Instant::now() < until, "{what}: {:?}", rig.node(&id).await.observed);
                rig.look(None).await;
            }
            let seen = rig.node(&id).await.observed;
            assert_eq!((seen.last_error, seen.power_began, seen.power), (None, None, Some(verb.target())), "{what}");
            let (on, mut orders) = rig.script.with(id.as_str(), |it| (it.on, std::mem::take(&mut it.orders)));
            assert_eq!(on, verb.target() == model::baremetal::PowerState::On, "{what}");
            orders.dedup();
            assert_eq!(orders, expected, "{what}");
        }
    }
}

/// Looks until somebody dies of an order of power.
pub(super) async fn until_death(rig: &Rig, id: &Id<Node>) {
    let looks = async { while rig.look(None).await {} };
    let death = async {
        while !rig.script.with(id.as_str(), |it| it.died) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = looks => panic!("nobody died: {:?}", rig.node(id).await.observed),
        () = death => {}
    }
    rig.script.with(id.as_str(), |it| it.death = None);
    rig.store().void_leases().await.unwrap();
}

/// What was asked of the power before a job is not gone on with after it, however far it was: a machine that was released stays off, and
/// one that was deployed stays on.
#[tokio::test]
async fn no_power_change_outlives_a_job() {
    for killer in [PowerAction::SoftOff, PowerAction::On] {
        let rig = Rig::new(|_| {}).await;
        let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
        rig.ask(&id, Verb::Deploy, Vec::new()).await;
        rig.until(&id, ProvisionState::Active).await;
        while rig.look(None).await {}
        assert!(rig.script.with(id.as_str(), |it| it.on));
        rig.script.with(id.as_str(), |it| it.death = Some((killer, Death::BeforeOrder)));
        let seq = rig.power(&id, PowerVerb::SoftReboot).await;
        until_death(&rig, &id).await;
        rig.ask(&id, Verb::Undeploy, Vec::new()).await;
        rig.until(&id, ProvisionState::Available).await;
        while rig.look(None).await {}
        let seen = rig.node(&id).await.observed;
        assert_eq!((seen.handled_power, seen.power_began, seen.last_error), (seq, None, None), "{killer:?}");
        assert!(!rig.script.with(id.as_str(), |it| it.on), "{killer:?}: nobody's machine was switched on");
        let lines = rig.store().history(Node::NAME, id.as_str(), 100).await.unwrap();
        let told = lines.iter().any(|it| it.detail["reason"].as_str().is_some_and(|it| it.ends_with("soft rebooting is given up")));
        assert!(told, "{lines:?}");

        // One that was asked together with the verb, and was not begun.
        let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
        rig.ask(&id, Verb::Deploy, Vec::new()).await;
        rig.power(&id, PowerVerb::Off).await;
        rig.until(&id, ProvisionState::Active).await;
        while rig.look(None).await {}
        assert!(rig.script.with(id.as_str(), |it| it.on), "the tenant's machine was switched off");
    }
}

/// What is asked together is all done: none is forgotten with the row of the others.
#[tokio::test]
async fn a_boot_mode_asked_with_a_verb_is_set_after_its_job() {
    let rig = Rig::new(|_| {}).await;
    // A verb that is done, and one that cannot be.
    for (verb, state) in [(Verb::Deploy, ProvisionState::Active), (Verb::Rescue, ProvisionState::Available)] {
        let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
        let mut node = rig.node(&id).await;
        node.desired.boot_mode_request =
            Some(model::baremetal::BootModeRequest { seq: 1, boot_mode: Some("uefi".into()), secure_boot: None });
        rig.store().apply(Batch::wishes().want(&node).wake(&node.id)).await.unwrap();
        rig.ask(&id, verb, Vec::new()).await;
        if state == ProvisionState::Active {
            rig.until(&id, state).await;
        }
        while rig.look(None).await {}
        let seen = rig.node(&id).await.observed;
        assert_eq!((seen.state, seen.handled, seen.handled_boot_mode), (state, 1, 1));
    }
}

/// A change that began in the future began now: the clock was set back.
#[tokio::test]
async fn a_power_change_of_a_clock_that_was_set_back_ends() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    rig.power(&id, PowerVerb::On).await;
    let mut node = rig.node(&id).await;
    node.observed.power_began = Some(Timestamp::now().plus_seconds(3600));
    node.observed.power_phase = model::baremetal::PowerPhase::Told;
    rig.observe(&node).await;
    rig.look(None).await;
    rig.look(None).await;
    assert!(rig.node(&id).await.observed.power_began.is_some_and(|it| it <= Timestamp::now()));
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
    assert!(took < Duration::from_secs(25), "{took:?}");
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
