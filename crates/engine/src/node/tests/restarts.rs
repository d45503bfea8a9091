//! Acts on hardware around a death: restarts that a driver's step needs, the power of children, and what clients wait for.

use model::baremetal::{Action, ActionEnd, NodeActionDesired, NodeActionObserved, OnChildren, StepState};

use super::power::until_death;
use super::*;

fn orders(rig: &Rig, id: &Id<Node>) -> Vec<String> {
    rig.script.with(id.as_str(), |it| it.orders.clone())
}

/// The moments that a memory holds, as if it were so many seconds later.
fn aged(memory: &Value, seconds: i64) -> Value {
    match memory {
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), aged(value, seconds))).collect(),
        // No other number is as large as a moment.
        Value::Number(it) => match it.as_i64() {
            Some(at) if at > 1_000_000_000_000 => json!(Timestamp(at).plus_seconds(-seconds).0),
            _ => memory.clone(),
        },
        other => other.clone(),
    }
}

async fn later(rig: &Rig, id: &Id<Node>, seconds: i64) {
    let mut node = rig.node(id).await;
    for step in &mut node.observed.job.steps {
        if let StepState::Begun { memory, .. } = &mut step.progress {
            *memory = aged(memory, seconds);
        }
    }
    rig.observe(&node).await;
}

fn is_at_rest(node: &Object<Node>, state: ProvisionState) -> bool {
    let taken = node.desired.request.as_ref().is_none_or(|it| it.seq <= node.observed.handled);
    node.observed.state == state && node.observed.phase == Phase::Rest && taken
}

/// A machine that is to be restarted by a driver's step: its own, or that of a child. Who asks, and what is restarted.
async fn restarting(rig: &Rig, is_child: bool, change: impl FnOnce(&mut Box9)) -> (Id<Node>, Id<Node>) {
    let asker = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    let mut step = step("bios", "apply", 0);
    let mut machine = asker.clone();
    if is_child {
        machine = rig.enrolled("redfish", ProvisionState::Manageable, |it| it.parent_node = Some(asker.clone())).await;
        step.children = Some(OnChildren::default());
        rig.script.with(asker.as_str(), |it| it.on = true);
    }
    rig.script.with(machine.as_str(), |it| {
        it.steps = vec![own("bios", "apply", 0, false)];
        it.restarts = true;
        it.on = true;
        change(it);
    });
    let request = ProvisionRequest { verb: Verb::Clean, steps: vec![step], disable_ramdisk: true, ..ProvisionRequest::default() };
    rig.ask_as(&asker, request).await;
    (asker, machine)
}

#[tokio::test]
async fn what_may_flash_is_not_restarted_again_because_somebody_died() {
    for (is_child, death) in
        [(false, Death::AfterOrder), (true, Death::AfterOrder), (false, Death::BeforeOrder), (true, Death::BeforeOrder)]
    {
        let rig = Rig::new(|_| {}).await;
        let (asker, machine) = restarting(&rig, is_child, |it| it.death = Some((PowerAction::Reset, death))).await;
        until_death(&rig, &machine).await;
        // The driver says that it is done: there is no more to restart it for.
        for _ in 0..200 {
            if is_at_rest(&rig.node(&asker).await, ProvisionState::Manageable) {
                break;
            }
            rig.look(None).await;
        }
        let node = rig.node(&asker).await;
        assert!(is_at_rest(&node, ProvisionState::Manageable), "{:?}", node.observed);
        let heard: &[&str] = if death == Death::AfterOrder { &["Reset"] } else { &[] };
        assert_eq!(orders(&rig, &machine), heard, "child: {is_child}, {death:?}");
    }
}

#[tokio::test]
async fn what_was_not_restarted_is_told_again_once_the_driver_has_waited_long() {
    for is_child in [false, true] {
        let rig = Rig::new(|_| {}).await;
        let change = |it: &mut Box9| {
            it.death = Some((PowerAction::Reset, Death::BeforeOrder));
            it.needs_reset = true;
        };
        let (asker, machine) = restarting(&rig, is_child, change).await;
        until_death(&rig, &machine).await;
        let runs = || rig.script.with(machine.as_str(), |it| it.runs.len());
        let before = runs();
        for _ in 0..30 {
            rig.look(None).await;
        }
        assert_eq!(orders(&rig, &machine), Vec::<String>::new(), "it may be at it");
        assert!(runs() > before + 5, "the driver is asked meanwhile");
        later(&rig, &asker, 1_000).await;
        let node = rig.until(&asker, ProvisionState::Manageable).await;
        assert_eq!((orders(&rig, &machine), node.observed.last_error), (vec!["Reset".to_owned()], None), "child: {is_child}");
    }
}

#[tokio::test]
async fn a_restart_that_timed_out_is_looked_at_and_one_that_was_not_heard_is_told_again() {
    for is_child in [false, true] {
        for is_heard in [true, false] {
            let rig = Rig::new(|_| {}).await;
            let change = |it: &mut Box9| {
                it.deaf = Some((if is_heard { Deaf::TimesOut } else { Deaf::Unreachable }, 2));
                it.needs_reset = true;
            };
            let (asker, machine) = restarting(&rig, is_child, change).await;
            let node = rig.until(&asker, ProvisionState::Manageable).await;
            assert_eq!((orders(&rig, &machine), node.observed.last_error), (vec!["Reset".to_owned()], None), "{is_child} {is_heard}");
        }
    }
}

#[tokio::test]
async fn a_restart_that_an_earlier_version_owed_is_given() {
    let rig = Rig::new(|_| {}).await;
    let (asker, machine) = restarting(&rig, false, |_| {}).await;
    while rig.node(&asker).await.observed.job.current().is_none() {
        rig.look(None).await;
    }
    let mut node = rig.node(&asker).await;
    node.observed.job.steps[0].progress = StepState::Begun { at: Timestamp::now(), memory: json!({"driver": 2, "reboot": true}) };
    rig.observe(&node).await;
    rig.until(&asker, ProvisionState::Manageable).await;
    assert_eq!(orders(&rig, &machine), ["Reset"]);
}

/// A parent whose step has asked for the power of its child, and nobody looks at it meanwhile.
async fn asked(rig: &Rig, verb: &str, on: bool) -> (Id<Node>, Id<Node>) {
    let parent = rig.enrolled("redfish", ProvisionState::Manageable, |it| it.conductor_group = "parents".into()).await;
    let child = rig.enrolled("redfish", ProvisionState::Manageable, |it| it.parent_node = Some(parent.clone())).await;
    rig.script.with(parent.as_str(), |it| it.on = true);
    rig.script.with(child.as_str(), |it| it.on = on);
    for (id, on) in [(&parent, true), (&child, on)] {
        let mut node = rig.node(id).await;
        node.observed.power = Some(if on { model::baremetal::PowerState::On } else { model::baremetal::PowerState::Off });
        rig.observe(&node).await;
    }
    rig.ask(&parent, Verb::Clean, vec![Step { children: Some(OnChildren::default()), ..step("power", verb, 0) }]).await;
    for _ in 0..50 {
        if rig.node(&child).await.desired.power_request.is_some() {
            return (parent, child);
        }
        let claim = rig.store().claim_within("parents", "w", LEASE).await.unwrap().unwrap();
        rig.look_at(claim, None).await;
    }
    panic!("never asked");
}

#[tokio::test]
async fn a_later_power_change_of_a_child_hides_no_failure() {
    use model::baremetal::PowerState::{Off, On};
    // What the step asks, what the later request left and came to, and whether the step may be taken as done.
    for (name, later, power, error, is_done) in [
        ("power_off", PowerVerb::On, On, None, false),
        ("power_off", PowerVerb::Off, Off, None, true),
        ("power_on", PowerVerb::Off, Off, None, false),
        ("power_on", PowerVerb::On, On, None, true),
        ("reboot", PowerVerb::On, On, None, false),
        ("reboot", PowerVerb::Reboot, On, None, true),
        ("reboot", PowerVerb::Reboot, On, Some("it did not"), false),
    ] {
        let rig = Rig::new(|_| {}).await;
        let (parent, id) = asked(&rig, name, name != "power_on").await;
        let mut child = rig.node(&id).await;
        let seq = child.desired.power_request.as_ref().unwrap().seq;
        child.observed.handled_power = seq;
        child.observed.last_error = Some("its BMC refused".into());
        rig.observe(&child).await;
        rig.power(&id, later).await;
        let mut child = rig.node(&id).await;
        child.observed.handled_power = seq + 1;
        child.observed.last_error = error.map(str::to_owned);
        child.observed.power = Some(power);
        rig.observe(&child).await;
        let state = if is_done { ProvisionState::Manageable } else { ProvisionState::CleanFailed };
        let node = rig.until(&parent, state).await;
        let why = node.observed.last_error.unwrap_or_default();
        assert_eq!(why.contains(&format!("failed on child node {id}")), !is_done, "{name}, then {later:?}: {why}");
    }
}

fn vendor(http_method: &str) -> Action {
    Action::Vendor { method: "send_raw".into(), http_method: http_method.into(), body: json!({}) }
}

async fn action(rig: &Rig, action: Action, until: i64, observed: NodeActionObserved) -> (Id<Node>, Id<NodeAction>) {
    action_as(rig, action, until, observed, false).await
}

async fn action_as(rig: &Rig, action: Action, until: i64, observed: NodeActionObserved, unwatched: bool) -> (Id<Node>, Id<NodeAction>) {
    let node_id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
    let desired = NodeActionDesired { node_id: node_id.clone(), action, until: Timestamp::now().plus_seconds(until), unwatched };
    let mut row: Object<NodeAction> = Object::new(Id::random(), None, "", desired);
    row.observed = observed;
    rig.store().apply(Batch::wishes().create(&row).wake(&row.id)).await.unwrap();
    for _ in 0..5 {
        rig.look(None).await;
    }
    (node_id, row.id)
}

async fn errors(rig: &Rig, id: &Id<Node>) -> Vec<(String, Value)> {
    let lines = rig.store().history(Node::NAME, id.as_str(), 20).await.unwrap();
    lines.into_iter().filter(|it| it.severity == "ERROR").map(|it| (it.event, it.detail)).collect()
}

#[tokio::test]
async fn what_a_client_was_told_is_begun_is_not_dropped_without_a_word() {
    let rig = Rig::new(|_| {}).await;
    let (node, row) = action(&rig, vendor("POST"), -1, NodeActionObserved::default()).await;
    assert!(rig.store().get(&row).await.unwrap().is_none());
    let said = errors(&rig, &node).await;
    assert!(said.len() == 1 && said[0].0.contains("send_raw") && said[0].1.to_string().contains("not begun"), "{said:?}");
    // What it came to, if nobody waits for that.
    let (node, row) = action_as(&rig, vendor("POST"), 600, NodeActionObserved::default(), true).await;
    assert!(rig.store().get(&row).await.unwrap().is_none(), "it is over");
    let said = errors(&rig, &node).await;
    assert!(said.len() == 1 && said[0].1.to_string().contains("vendor"), "{said:?}");
    // A question that nobody waits for is nothing to remember.
    let (node, _) = action(&rig, Action::GetBootDevice, -1, NodeActionObserved::default()).await;
    assert_eq!(errors(&rig, &node).await, []);
}

#[tokio::test]
async fn what_was_begun_when_somebody_died_is_not_done_again() {
    let rig = Rig::new(|_| {}).await;
    let begun = || NodeActionObserved { begun: true, ..NodeActionObserved::default() };
    for it in [vendor("POST"), Action::InjectNmi] {
        let (node, row) = action(&rig, it.clone(), 30, begun()).await;
        let Some(ActionEnd::Failed { why }) = rig.store().get(&row).await.unwrap().unwrap().observed.end else { panic!("{it:?}") };
        assert!(why.contains("not known"), "{why}");
        assert_eq!(errors(&rig, &node).await.len(), 1);
    }
    // What may be done twice is.
    let set = Action::SetBootDevice { device: "disk".into(), persistent: true };
    let (node, row) = action(&rig, set, 30, begun()).await;
    assert_eq!(rig.store().get(&row).await.unwrap().unwrap().observed.end, Some(ActionEnd::Done { value: Value::Null }));
    assert!(rig.script.with(node.as_str(), |it| it.boot.is_some()));
    // It is noted before it is done.
    let (_, row) = action(&rig, vendor("POST"), 30, NodeActionObserved::default()).await;
    let seen = rig.store().get(&row).await.unwrap().unwrap().observed;
    assert!(seen.begun && seen.end.is_some(), "{seen:?}");
}

#[test]
fn rows_of_an_earlier_version_are_read() {
    let row: NodeActionObserved = serde_json::from_value(json!({"end": {"end": "done", "value": 1}})).unwrap();
    assert_eq!(row, NodeActionObserved { begun: false, end: Some(ActionEnd::Done { value: json!(1) }) });
}

/// Who asks for a medium is answered before it is there; what comes of it stands at the node.
#[tokio::test]
async fn what_comes_of_media_stands_at_the_node() {
    let rig = Rig::new(|_| {}).await;
    let cases = [
        (
            Action::AttachVirtualMedia { device_type: "cdrom".into(), image_url: "http://x/a.iso".into() },
            "Could not attach device cdrom to node",
        ),
        (Action::DetachVirtualMedia { device_types: Vec::new() }, "Could not detach devices from node"),
    ];
    for (asked, words) in cases {
        let (node, row) = action(&rig, asked, 30, NodeActionObserved::default()).await;
        assert!(matches!(rig.store().get(&row).await.unwrap().unwrap().observed.end, Some(ActionEnd::Unsupported { .. })));
        let why = rig.node(&node).await.observed.last_error.unwrap();
        assert!(why.starts_with(words) && why.contains("Driver redfish does not support"), "{why}");
        assert_eq!(errors(&rig, &node).await.len(), 1);
    }
}
