//! Nodes that have their power from another: what is on before what, and what is off before what, whoever dies.

use model::baremetal::{AskedBy, Conductor, ConductorDesired, PowerState as Power};

use super::*;

/// A node that is on or off, and has its power from another if it is said from which.
async fn node(rig: &Rig, on: bool, parent: Option<&Id<Node>>, change: impl FnOnce(&mut NodeDesired)) -> Id<Node> {
    let id = rig
        .enrolled("redfish", ProvisionState::Available, |it| {
            it.parent_node = parent.cloned();
            it.automated_clean = Some(false);
            change(it);
        })
        .await;
    let it = rig.node(&id).await;
    rig.script.with(id.as_str(), |it| it.on = on);
    let own = it.desired.driver_info.0.contains_key("has_dedicated_power_supply");
    rig.script.with(id.as_str(), |it| it.fed_by = parent.filter(|_| !own).map(ToString::to_string));
    seen(rig, &id, |it| it.observed.power = Some(if on { Power::On } else { Power::Off })).await;
    id
}

async fn seen(rig: &Rig, id: &Id<Node>, change: impl FnOnce(&mut Object<Node>)) {
    let mut node = rig.node(id).await;
    change(&mut node);
    rig.observe(&node).await;
}

fn orders(rig: &Rig, id: &Id<Node>) -> Vec<String> {
    rig.script.with(id.as_str(), |it| std::mem::take(&mut it.orders))
}

fn is_on(rig: &Rig, id: &Id<Node>) -> bool {
    rig.script.with(id.as_str(), |it| it.on)
}

/// What cannot be: something was cut off while it was on.
fn nobody_was_cut(rig: &Rig) {
    assert!(rig.script.all().values().all(|it| it.cuts == 0), "the power of a machine was cut while it was on");
}

/// Looks until the power changes of all these are over, killed now and then.
async fn settle(rig: &Rig, ids: &[&Id<Node>], mut dice: Option<Dice>) {
    for () in looks() {
        let mut left = 0;
        for id in ids {
            let node = rig.node(id).await;
            left += usize::from(node.desired.power_request.as_ref().is_some_and(|it| it.seq > node.observed.handled_power));
        }
        if left == 0 {
            return;
        }
        let polls = dice.as_mut().and_then(|it| (it.below(2) == 0).then(|| it.below(16)));
        if !rig.look(polls).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    for id in ids {
        println!("{:?}", rig.node(id).await);
    }
    panic!("it does not end");
}

async fn error(rig: &Rig, id: &Id<Node>) -> String {
    rig.node(id).await.observed.last_error.unwrap_or_default()
}

#[tokio::test]
async fn a_parent_is_on_before_its_child_whoever_dies() {
    for seed in [None, Some(3_u64), Some(57), Some(1001), Some(4242)] {
        println!("seed {seed:?}");
        let rig = Rig::new(|_| {}).await;
        let top = node(&rig, false, None, |_| {}).await;
        let middle = node(&rig, false, Some(&top), |_| {}).await;
        let child = node(&rig, false, Some(&middle), |_| {}).await;
        let sibling = node(&rig, false, Some(&top), |_| {}).await;
        rig.power(&child, PowerVerb::On).await;
        settle(&rig, &[&child], seed.map(Dice)).await;
        for id in [&top, &middle, &child] {
            assert!(is_on(&rig, id), "{seed:?}: {}", error(&rig, &child).await);
            assert_eq!(orders(&rig, id), ["On"]);
            let it = rig.node(id).await;
            assert_eq!((it.observed.power, it.observed.last_error, it.observed.supply_since), (Some(Power::On), None, None));
        }
        assert!(!is_on(&rig, &sibling) && orders(&rig, &sibling).is_empty());
        let lines = rig.store().history(Node::NAME, middle.as_str(), 10).await.unwrap();
        let asked: Vec<_> = lines.iter().filter(|it| it.event == "asked: power on").collect();
        assert_eq!(asked.len(), 1, "{lines:?}");
        assert_eq!(asked[0].detail["reason"], format!("node {child} has its power from it and is to be switched on"));
        // What is on is left alone, with all that it has its power from.
        rig.power(&child, PowerVerb::On).await;
        settle(&rig, &[&child], None).await;
        assert!([&top, &middle, &child].into_iter().all(|id| orders(&rig, id).is_empty()));
    }
}

#[tokio::test]
async fn what_hangs_on_a_node_is_off_before_it_whoever_dies() {
    for seed in [None, Some(5_u64), Some(23), Some(99), Some(31_337)] {
        for (verb, order) in [(PowerVerb::Off, "Off"), (PowerVerb::SoftOff, "SoftOff")] {
            println!("seed {seed:?} {verb:?}");
            let rig = Rig::new(|_| {}).await;
            let top = node(&rig, true, None, |_| {}).await;
            let middle = node(&rig, true, Some(&top), |_| {}).await;
            let low = node(&rig, true, Some(&middle), |_| {}).await;
            let off = node(&rig, false, Some(&top), |_| {}).await;
            let own = |it: &mut NodeDesired| drop(it.driver_info.0.insert("has_dedicated_power_supply".into(), json!(true)));
            let dedicated = node(&rig, true, Some(&top), own).await;
            rig.power(&top, verb).await;
            settle(&rig, &[&top], seed.map(Dice)).await;
            for id in [&top, &middle, &low] {
                assert_eq!((error(&rig, id).await.as_str(), is_on(&rig, id)), ("", false));
                assert_eq!(orders(&rig, id), [order]);
                assert_eq!(rig.node(id).await.observed.power, Some(Power::Off));
            }
            nobody_was_cut(&rig);
            assert!(orders(&rig, &off).is_empty() && orders(&rig, &dedicated).is_empty() && is_on(&rig, &dedicated));
            // Restarting is no switching off.
            rig.power(&top, PowerVerb::On).await;
            rig.power(&dedicated, PowerVerb::Reboot).await;
            settle(&rig, &[&top, &dedicated], None).await;
            rig.power(&top, PowerVerb::Reboot).await;
            settle(&rig, &[&top], None).await;
            assert_eq!((orders(&rig, &top), orders(&rig, &dedicated)), (vec!["On".into(), "Reset".into()], vec!["Reset".into()]));
            assert!(orders(&rig, &middle).is_empty());
        }
    }
}

#[tokio::test]
async fn who_has_its_own_supply_needs_no_parent() {
    let rig = Rig::new(|_| {}).await;
    let parent = node(&rig, false, None, |_| {}).await;
    for (value, own) in [(json!(true), true), (json!("True"), true), (json!(1), true), (json!(false), false), (json!("no"), false)] {
        let info = |it: &mut NodeDesired| drop(it.driver_info.0.insert("has_dedicated_power_supply".into(), value.clone()));
        let child = node(&rig, false, Some(&parent), info).await;
        rig.power(&child, PowerVerb::On).await;
        settle(&rig, &[&child], None).await;
        assert_eq!((orders(&rig, &child), error(&rig, &child).await.as_str()), (vec!["On".to_owned()], ""), "{value}");
        assert_eq!(is_on(&rig, &parent), !own, "{value}");
    }
}

#[tokio::test]
async fn a_parent_that_cannot_be_switched_on_fails_its_child() {
    let rig = Rig::new(|_| {}).await;
    let silent = node(&rig, false, None, |_| {}).await;
    rig.script.with(silent.as_str(), |it| it.silent = true);
    let elsewhere = node(&rig, false, None, |it| it.conductor_group = "rack9".into()).await;
    let enrolled = node(&rig, false, None, |it| drop(it.interfaces.insert(Interface::Network, "neutron".into()))).await;
    seen(&rig, &enrolled, |it| it.observed.state = ProvisionState::Enroll).await;
    let gone = node(&rig, false, None, |_| {}).await;
    for (parent, word) in [
        (&silent, "could not be switched on: "),
        (&elsewhere, "no conductor of its conductor group 'rack9' is alive"),
        (&enrolled, "enrolled only"),
        (&gone, "is not there"),
    ] {
        let child = node(&rig, false, Some(parent), |_| {}).await;
        if parent == &gone {
            rig.store().apply(Batch::wishes().remove(&rig.node(&gone).await)).await.unwrap();
        }
        rig.power(&child, PowerVerb::On).await;
        settle(&rig, &[&child], None).await;
        let why = error(&rig, &child).await;
        assert!(why.contains(word) && why.contains(parent.as_str()), "{why}");
        assert!(orders(&rig, &child).is_empty());
        assert_eq!(rig.node(&child).await.observed.power, Some(Power::Off));
    }
    assert!(orders(&rig, &enrolled).is_empty() && orders(&rig, &elsewhere).is_empty());
}

#[tokio::test]
async fn a_parent_of_another_group_is_its_conductors_to_switch_on() {
    let rig = Rig::new(|_| {}).await;
    let parent = node(&rig, false, None, |it| it.conductor_group = "rack9".into()).await;
    let child = node(&rig, false, Some(&parent), |_| {}).await;
    let desired = ConductorDesired {
        conductor_group: "rack9".into(),
        drivers: vec!["redfish".into()],
        online: true,
        seen_at: Timestamp::now(),
        instance: "x".into(),
    };
    rig.store().apply(Batch::wishes().create(&Object::<Conductor>::new(Id::random(), None, "c9", desired))).await.unwrap();
    rig.power(&child, PowerVerb::On).await;
    while let Some(claim) = rig.store().claim_within("", "w", LEASE).await.unwrap() {
        rig.look_at(claim, None).await;
        if rig.node(&parent).await.desired.power_request.is_some() {
            break;
        }
    }
    assert!(orders(&rig, &parent).is_empty(), "not from here");
    let claim = rig.store().claim_within("rack9", "w", LEASE).await.unwrap().unwrap();
    assert_eq!(claim.id, parent.as_str());
    rig.look_at(claim, None).await;
    settle(&rig, &[&child], None).await;
    assert_eq!((orders(&rig, &parent), orders(&rig, &child)), (vec!["On".into()], vec!["On".into()]));
}

#[tokio::test]
async fn a_parent_in_a_job_is_waited_for_but_not_for_ever() {
    let rig = Rig::new(|_| {}).await;
    let parent = node(&rig, false, None, |_| {}).await;
    let child = node(&rig, false, Some(&parent), |_| {}).await;
    seen(&rig, &parent, |it| (it.observed.state, it.observed.phase) = (ProvisionState::CleanHold, Phase::Work)).await;
    rig.power(&child, PowerVerb::On).await;
    for _ in 0..10 {
        rig.look(None).await;
    }
    let waiting = rig.node(&child).await;
    assert!(waiting.observed.handled_power == 0 && waiting.observed.reason.contains("is being worked on"), "{:?}", waiting.observed);
    assert!(orders(&rig, &parent).is_empty() && rig.node(&parent).await.desired.power_request.is_none(), "not under its job");
    // Asked before its job began, it is not switched on in it either.
    let mut node = rig.node(&parent).await;
    let since = waiting.observed.supply_since;
    let by = AskedBy { node: child.clone(), since };
    node.desired.power_request = Some(PowerRequest { seq: 1, verb: PowerVerb::On, timeout_seconds: None, asked_by: Some(by) });
    rig.store().apply(Batch::wishes().want(&node).wake(&parent)).await.unwrap();
    settle(&rig, &[&parent], None).await;
    assert!(error(&rig, &parent).await.contains("in a job") && orders(&rig, &parent).is_empty());
    settle(&rig, &[&child], None).await;
    assert!(error(&rig, &child).await.contains("could not be switched on"));

    rig.power(&child, PowerVerb::On).await;
    for _ in 0..10 {
        rig.look(None).await;
    }
    seen(&rig, &child, |it| it.observed.supply_since = it.observed.supply_since.map(|at| at.plus_seconds(-200))).await;
    settle(&rig, &[&child], None).await;
    assert!(error(&rig, &child).await.contains("for more than 180 s"), "{}", error(&rig, &child).await);
    assert!(orders(&rig, &parent).is_empty() && orders(&rig, &child).is_empty());

    // And once its job is over it goes on.
    rig.power(&child, PowerVerb::On).await;
    for _ in 0..10 {
        rig.look(None).await;
    }
    seen(&rig, &parent, |it| (it.observed.state, it.observed.phase) = (ProvisionState::Manageable, Phase::Rest)).await;
    settle(&rig, &[&child], None).await;
    assert_eq!((is_on(&rig, &parent), is_on(&rig, &child), error(&rig, &child).await.as_str()), (true, true, ""));
}

/// A parent that has looked at its children and is about to go off is not relied on.
#[tokio::test]
async fn a_parent_that_is_about_to_go_off_is_waited_for() {
    let rig = Rig::new(|_| {}).await;
    let parent = node(&rig, true, None, |_| {}).await;
    let child = node(&rig, false, Some(&parent), |_| {}).await;
    seen(&rig, &parent, |it| it.observed.supply_since = Some(Timestamp::now())).await;
    rig.power(&child, PowerVerb::On).await;
    for _ in 0..10 {
        rig.look(None).await;
    }
    assert!(!is_on(&rig, &child) && rig.node(&child).await.observed.handled_power == 0);
    seen(&rig, &parent, |it| it.observed.supply_since = None).await;
    settle(&rig, &[&child], None).await;
    assert!(is_on(&rig, &child) && orders(&rig, &parent).is_empty());
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_done() {
    let rig = Rig::new(|_| {}).await;
    let parent = node(&rig, false, None, |_| {}).await;
    let child = node(&rig, false, Some(&parent), |_| {}).await;
    for since in [Some(Timestamp::now()), Some(Timestamp(7))] {
        let mut node = rig.node(&parent).await;
        let seq = node.observed.handled_power + 1;
        let by = AskedBy { node: child.clone(), since };
        node.desired.power_request = Some(PowerRequest { seq, verb: PowerVerb::On, timeout_seconds: None, asked_by: Some(by) });
        rig.store().apply(Batch::wishes().want(&node).wake(&parent)).await.unwrap();
        settle(&rig, &[&parent], None).await;
        assert!(orders(&rig, &parent).is_empty() && error(&rig, &parent).await.is_empty());
    }
}

#[tokio::test]
async fn nobody_is_cut_off_in_a_job() {
    let rig = Rig::new(|_| {}).await;
    let parent = node(&rig, true, None, |_| {}).await;
    let idle = node(&rig, true, Some(&parent), |_| {}).await;
    let busy = node(&rig, true, Some(&parent), |_| {}).await;
    seen(&rig, &busy, |it| (it.observed.state, it.observed.phase) = (ProvisionState::DeployHold, Phase::Work)).await;
    for verb in [PowerVerb::Off, PowerVerb::SoftOff, PowerVerb::SoftReboot] {
        rig.power(&parent, verb).await;
        settle(&rig, &[&parent], None).await;
        let why = error(&rig, &parent).await;
        assert!(why.contains(busy.as_str()), "{verb:?}: {why}");
        assert!([&parent, &idle, &busy].into_iter().all(|id| orders(&rig, id).is_empty()), "{verb:?}");
        assert_eq!(rig.node(&parent).await.observed.power, Some(Power::On));
    }
    // One that is never switched off holds it, too; and one whose BMC cannot be asked.
    seen(&rig, &busy, |it| (it.observed.state, it.observed.phase) = (ProvisionState::Available, Phase::Rest)).await;
    let mut never = rig.node(&busy).await;
    never.desired.disable_power_off = true;
    rig.store().apply(Batch::wishes().want(&never)).await.unwrap();
    rig.power(&parent, PowerVerb::Off).await;
    settle(&rig, &[&parent], None).await;
    assert!(error(&rig, &parent).await.contains("never switched off"));
    let mut never = rig.node(&busy).await;
    never.desired.disable_power_off = false;
    rig.store().apply(Batch::wishes().want(&never)).await.unwrap();
    rig.script.with(busy.as_str(), |it| it.silent = true);
    rig.power(&parent, PowerVerb::Off).await;
    settle(&rig, &[&parent], None).await;
    assert!(error(&rig, &parent).await.contains(&format!("child node {busy} could not be switched off")), "{}", error(&rig, &parent).await);
    assert!(orders(&rig, &parent).is_empty());
    // Nobody is switched off for one that cannot be.
    rig.script.with(busy.as_str(), |it| it.silent = false);
    rig.power(&idle, PowerVerb::On).await;
    settle(&rig, &[&busy, &idle], None).await;
    assert_eq!((orders(&rig, &idle), orders(&rig, &busy)), (vec!["Off".into(), "On".into()], vec![]));
    rig.script.with(parent.as_str(), |it| it.silent = true);
    rig.power(&parent, PowerVerb::Off).await;
    settle(&rig, &[&parent], None).await;
    assert!(orders(&rig, &idle).is_empty() && orders(&rig, &busy).is_empty() && is_on(&rig, &idle));
    nobody_was_cut(&rig);
}

/// A child that is switched on while its parent is switched off: nobody waits for ever, and nobody is cut off.
#[tokio::test]
async fn those_that_meet_both_end() {
    for seed in [1_u64, 2, 3, 11, 29, 64, 200, 808, 5150] {
        println!("seed {seed}");
        let rig = Rig::new(|_| {}).await;
        let mut dice = Dice(seed);
        let parent = node(&rig, true, None, |_| {}).await;
        let on = node(&rig, true, Some(&parent), |_| {}).await;
        let child = node(&rig, false, Some(&parent), |_| {}).await;
        rig.power(&parent, PowerVerb::Off).await;
        for _ in 0..dice.below(6) {
            let polls = Some(dice.below(20));
            rig.look(polls).await;
        }
        rig.power(&child, PowerVerb::On).await;
        settle(&rig, &[&parent, &child, &on], Some(dice)).await;
        nobody_was_cut(&rig);
        // Either one may have been first; what is on has power, and both were done or say why not.
        assert!(error(&rig, &child).await.is_empty(), "{}", error(&rig, &child).await);
        for id in [&parent, &on, &child] {
            let known = rig.node(id).await.observed.power;
            assert_eq!(known, Some(if is_on(&rig, id) { Power::On } else { Power::Off }));
        }
        let refused = error(&rig, &parent).await;
        assert!(refused.is_empty() || (refused.contains("is being worked on") && is_on(&rig, &parent)), "{refused}");
    }
}

#[tokio::test]
async fn jobs_see_to_it_too() {
    for seed in [None, Some(17_u64), Some(170), Some(1700)] {
        println!("seed {seed:?}");
        let rig = Rig::new(|_| {}).await;
        let parent = node(&rig, false, None, |_| {}).await;
        let child = node(&rig, false, Some(&parent), |_| {}).await;
        rig.ask(&child, Verb::Deploy, Vec::new()).await;
        let deployed = rig.until_killed(&child, ProvisionState::Active, seed.map(Dice)).await;
        assert!(deployed.observed.last_error.is_none() && is_on(&rig, &child));
        assert_eq!(orders(&rig, &parent), ["On"], "seed {seed:?}");
        // The parent is deployed: it boots into its ramdisk from off, so its child goes off first.
        rig.ask(&parent, Verb::Deploy, Vec::new()).await;
        let deployed = rig.until_killed(&parent, ProvisionState::Active, seed.map(|it| Dice(it + 1))).await;
        assert!(deployed.observed.last_error.is_none(), "{:?}", deployed.observed);
        assert!(!is_on(&rig, &child) && is_on(&rig, &parent));
        nobody_was_cut(&rig);
        assert_eq!(rig.node(&child).await.observed.power, Some(Power::Off));
    }
}

#[tokio::test]
async fn a_job_waits_for_its_children_s_jobs() {
    let rig = Rig::new(|it| it.bmc_timeout_seconds = 4).await;
    let parent = node(&rig, true, None, |_| {}).await;
    let child = node(&rig, true, Some(&parent), |_| {}).await;
    seen(&rig, &child, |it| (it.observed.state, it.observed.phase) = (ProvisionState::DeployHold, Phase::Work)).await;
    rig.ask(&parent, Verb::Deploy, Vec::new()).await;
    let mut waited = false;
    for () in looks() {
        rig.look(None).await;
        let it = rig.node(&parent).await;
        waited |= it.observed.reason.contains(child.as_str()) && !it.observed.failing;
        if it.observed.failing {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let it = rig.node(&parent).await;
    assert!(waited && it.observed.last_error.as_ref().unwrap().contains(child.as_str()), "{:?}", it.observed);
    assert!(orders(&rig, &parent).is_empty() && orders(&rig, &child).is_empty());
    seen(&rig, &child, |it| (it.observed.state, it.observed.phase) = (ProvisionState::Active, Phase::Rest)).await;
    rig.until(&parent, ProvisionState::DeployFailed).await;
    assert!(!is_on(&rig, &parent) && !is_on(&rig, &child));
    nobody_was_cut(&rig);
}
