//! Nothing is waited for without an end: whoever does not answer, or does not do what it was told, ends the job in its failed state.

use model::baremetal::{BaremetalPortDesired, StepState};
use model::net::{LocalLink, Network, vlan_key};

use crate::provisioning::PROVISIONING;

use super::*;

const BMC: i64 = 1801;
const STEP: i64 = 4 * 3600 + 1;
/// For how long a job that failed waits for its machine to go off.
const FAILING: i64 = 121;

/// Lets all that is under way on a machine have begun so many seconds earlier.
async fn age(rig: &Rig, id: &Id<Node>, seconds: i64) {
    let mut node = rig.node(id).await;
    let seen = &mut node.observed;
    seen.phase_since = seen.phase_since.plus_seconds(-seconds);
    for it in &mut seen.job.steps {
        if let StepState::Begun { at, .. } | StepState::Done { at } = &mut it.progress {
            *at = at.plus_seconds(-seconds);
        }
    }
    rig.observe(&node).await;
    rig.store().apply(Batch::wishes().wake(id)).await.unwrap();
}

async fn seen(rig: &Rig, id: &Id<Node>, change: impl FnOnce(&mut model::baremetal::NodeObserved)) {
    let mut node = rig.node(id).await;
    change(&mut node.observed);
    rig.observe(&node).await;
    rig.store().apply(Batch::wishes().wake(id)).await.unwrap();
}

/// Looks until the machine is at that point, one look at a time.
async fn at(rig: &Rig, id: &Id<Node>, is_there: impl Fn(&Object<Node>) -> bool) {
    for _ in 0..500 {
        let node = rig.node(id).await;
        if is_there(&node) {
            return;
        }
        rig.calls(id).await;
        rig.look(None).await;
    }
    panic!("it does not get there: {:?}", rig.node(id).await.observed);
}

/// Looks a few times; the machine then. A look that does not end is a failure of the test.
async fn looked(rig: &Rig, id: &Id<Node>) -> Object<Node> {
    for _ in 0..12 {
        tokio::time::timeout(Duration::from_secs(5), rig.look(None)).await.expect("a look that never ends");
    }
    rig.node(id).await
}

/// It waits; once it is as old as this it fails, saying this; and it is at rest in that state once it waited for its BMC in vain.
async fn ends(rig: &Rig, id: &Id<Node>, limit: i64, why: &str, state: ProvisionState) -> Object<Node> {
    let before = looked(rig, id).await;
    assert!(!before.observed.failing && before.observed.phase != Phase::Rest, "too early: {:?}", before.observed);
    age(rig, id, limit).await;
    let node = looked(rig, id).await;
    let said = node.observed.last_error.clone().unwrap_or_default();
    assert!(said.contains(why), "{why:?} is not in {said:?}: {:?}", node.observed);
    if node.observed.phase != Phase::Rest {
        assert_eq!((node.observed.phase, node.observed.failing), (Phase::Stop, true), "{:?}", node.observed);
        age(rig, id, FAILING).await;
    }
    let node = looked(rig, id).await;
    assert_eq!((node.observed.state, node.observed.phase), (state, Phase::Rest), "{:?}", node.observed);
    node
}

fn dead(rig: &Rig, id: &Id<Node>) {
    rig.script.with(id.as_str(), |it| (it.silent, it.on) = (true, false));
}

#[tokio::test]
async fn a_step_ends_whose_agent_and_bmc_are_both_silent() {
    for abort in [false, true] {
        let rig = Rig::new(|_| {}).await;
        let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
        rig.ask(&id, Verb::Clean, vec![step("raid", "create", 0)]).await;
        at(&rig, &id, |it| it.observed.phase == Phase::Work && it.observed.command.is_some()).await;
        dead(&rig, &id);
        if abort {
            rig.ask(&id, Verb::Abort, Vec::new()).await;
        }
        let node = ends(&rig, &id, STEP, "raid.create took too long: ", ProvisionState::CleanFailed).await;
        assert!(node.observed.last_error.unwrap().contains("no route"));
        assert_eq!((node.desired.maintenance, node.observed.fault), (true, Some(NodeFault::CleanFailure)));
    }
}

#[tokio::test]
async fn an_agent_that_is_gone_before_its_first_step_or_after_its_last_is_not_awaited_for_ever() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    rig.ask(&id, Verb::Clean, vec![step("raid", "create", 0)]).await;
    at(&rig, &id, |it| it.observed.phase == Phase::Work && !it.observed.job.joined).await;
    dead(&rig, &id);
    ends(&rig, &id, BMC, "no route", ProvisionState::CleanFailed).await;

    let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
    rig.ask(&id, Verb::Deploy, Vec::new()).await;
    at(&rig, &id, |it| it.observed.phase == Phase::Work && it.observed.job.joined && it.observed.job.current().is_none()).await;
    dead(&rig, &id);
    ends(&rig, &id, BMC, "no route", ProvisionState::DeployFailed).await;

    // One that is to prove what it booted.
    let policy = json!({"pcrs": {"0": ["a".repeat(64)]}});
    let proves = |it: &mut NodeDesired| drop(it.driver_info.0.insert("attestation_policy".into(), policy));
    let id = rig.enrolled("redfish", ProvisionState::Available, proves).await;
    rig.ask(&id, Verb::Deploy, Vec::new()).await;
    at(&rig, &id, |it| it.observed.phase == Phase::Agent).await;
    rig.calls(&id).await;
    dead(&rig, &id);
    ends(&rig, &id, BMC, "no route", ProvisionState::DeployFailed).await;
}

#[tokio::test]
async fn a_step_that_took_long_leaves_the_next_its_own_time() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    rig.ask(&id, Verb::Clean, vec![step("raid", "create", 0), step("deploy", "erase_devices", 0)]).await;
    at(&rig, &id, |it| it.observed.job.steps.first().is_some_and(|it| matches!(it.progress, StepState::Begun { .. }))).await;
    age(&rig, &id, STEP - 60).await;
    at(&rig, &id, |it| it.observed.job.steps.first().is_some_and(|it| it.is_done())).await;
    dead(&rig, &id);
    let node = looked(&rig, &id).await;
    assert!(!node.observed.failing && node.observed.reason.contains("no route"), "{:?}", node.observed);
    rig.script.with(id.as_str(), |it| (it.silent, it.on) = (false, true));
    rig.until(&id, ProvisionState::Manageable).await;
}

#[tokio::test]
async fn a_bmc_that_never_answers_an_inspection_ends_it() {
    let mut rig = Rig::new(|_| {}).await;
    Arc::get_mut(&mut rig.shared).unwrap().machine_look = Duration::from_millis(200);
    let by_bmc = |it: &mut NodeDesired| drop(it.interfaces.insert(Interface::Inspect, "redfish".into()));
    let id = rig.enrolled("redfish", ProvisionState::Manageable, by_bmc).await;
    rig.script.with(id.as_str(), |it| it.hangs = true);
    rig.ask(&id, Verb::Inspect, Vec::new()).await;
    ends(&rig, &id, BMC, "did not end within", ProvisionState::InspectFailed).await;
    rig.script.with(id.as_str(), |it| it.hangs = false);
    rig.ask(&id, Verb::Inspect, Vec::new()).await;
    let node = rig.until(&id, ProvisionState::Manageable).await;
    assert_eq!(node.desired.properties["cpus"].as_u64(), Some(4));
}

#[tokio::test]
async fn a_ramdisk_for_good_on_a_bmc_without_virtual_media_fails() {
    let rig = Rig::new(|_| {}).await;
    let id = rig
        .enrolled("redfish", ProvisionState::Available, |it| {
            it.interfaces.insert(Interface::Deploy, "ramdisk".into());
            it.instance_info.0.insert("boot_iso".into(), json!("http://192.0.2.9/live.iso"));
        })
        .await;
    rig.ask(&id, Verb::Deploy, Vec::new()).await;
    let node = rig.until(&id, ProvisionState::DeployFailed).await;
    assert!(!rig.script.with(id.as_str(), |it| it.on), "{:?}", node.observed.last_error);
}

#[tokio::test]
async fn a_machine_that_does_not_go_off_ends_its_job() {
    let rig = Rig::new(|_| {}).await;
    // At the end of a job that went well.
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    rig.ask(&id, Verb::Clean, vec![step("raid", "create", 0)]).await;
    at(&rig, &id, |it| it.observed.phase == Phase::Work && it.observed.command.is_some()).await;
    rig.script.with(id.as_str(), |it| it.stubborn = true);
    at(&rig, &id, |it| it.observed.phase == Phase::Stop).await;
    let why = "it could not be switched off: the machine did not go off";
    ends(&rig, &id, BMC, why, ProvisionState::CleanFailed).await;
    // Between a step of its BMC and its ramdisk.
    for silent in [false, true] {
        let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
        rig.script.with(id.as_str(), |it| it.steps = vec![own("bios", "apply", 0, false)]);
        rig.ask(&id, Verb::Deploy, vec![step("bios", "apply", 150)]).await;
        at(&rig, &id, |it| it.observed.phase == Phase::Before && it.observed.job.steps.first().is_some_and(|it| it.is_done())).await;
        rig.script.with(id.as_str(), |it| (it.on, it.stubborn, it.silent) = (true, true, silent));
        ends(&rig, &id, BMC, "it could not be switched off", ProvisionState::DeployFailed).await;
    }
}

#[tokio::test]
async fn a_machine_that_is_never_switched_off_and_cannot_be_restarted_ends_its_job() {
    let rig = Rig::new(|_| {}).await;
    let id = rig
        .enrolled("redfish", ProvisionState::Available, |it| {
            it.disable_power_off = true;
            it.interfaces.insert(Interface::Network, "neutron".into());
        })
        .await;
    dead(&rig, &id);
    seen(&rig, &id, |it| {
        (it.state, it.phase, it.phase_since) = (ProvisionState::Cleaning, Phase::Plug, Timestamp::now());
    })
    .await;
    looked(&rig, &id).await;
    age(&rig, &id, BMC).await;
    let node = rig.until(&id, ProvisionState::CleanFailed).await;
    assert!(node.observed.last_error.as_ref().unwrap().contains("no route"), "{:?}", node.observed);
}

#[tokio::test]
async fn a_machine_whose_power_never_settles_is_not_verified_for_ever() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Enroll, |_| {}).await;
    rig.script.with(id.as_str(), |it| it.changing = true);
    rig.ask(&id, Verb::Manage, Vec::new()).await;
    let node = looked(&rig, &id).await;
    assert_eq!((node.observed.state, node.observed.phase), (ProvisionState::Verifying, Phase::Bmc));
    age(&rig, &id, 181).await;
    let node = rig.until(&id, ProvisionState::Enroll).await;
    assert!(node.observed.last_error.is_some_and(|it| it.contains("neither on nor off")));
}

#[tokio::test]
async fn a_job_that_failed_ends_however_short_bmcs_are_waited_for() {
    let rig = Rig::new(|it| it.bmc_timeout_seconds = 30).await;
    for silent in [true, false] {
        let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
        rig.script.with(id.as_str(), |it| (it.silent, it.stubborn, it.on) = (silent, true, true));
        seen(&rig, &id, |it| {
            (it.state, it.phase, it.phase_since) = (ProvisionState::Cleaning, Phase::Stop, Timestamp::now());
            (it.failing, it.last_error) = (true, Some("it broke".into()));
        })
        .await;
        age(&rig, &id, 60).await;
        let node = looked(&rig, &id).await;
        assert_eq!(node.observed.phase, Phase::Stop);
        age(&rig, &id, 61).await;
        let node = looked(&rig, &id).await;
        let seen = &node.observed;
        assert_eq!((seen.state, seen.phase, seen.last_error.as_deref()), (ProvisionState::CleanFailed, Phase::Rest, Some("it broke")));
    }
}

#[tokio::test]
async fn a_rescue_that_its_agent_refuses_at_once_has_failed() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Active, |it| it.rescue_password = Some(Secret::new("hunter2"))).await;
    rig.script.with(id.as_str(), |it| it.fails = Some("finalize_rescue".into()));
    rig.ask(&id, Verb::Rescue, Vec::new()).await;
    let node = rig.until(&id, ProvisionState::RescueFailed).await;
    assert!(node.observed.last_error.unwrap().contains("finalize_rescue failed: it cannot"));
    assert!(!rig.script.with(id.as_str(), |it| it.on), "its ramdisk does not run on");
}

#[tokio::test]
async fn a_vlan_that_is_somebody_else_s_holds_nobody_up() {
    let mut rig = Rig::new(|_| {}).await;
    let vlan = |id: u16| vlan_key(model::net::VlanId::new(id).unwrap());
    let shared = Arc::get_mut(&mut rig.shared).unwrap();
    let provisioning = json!({"vlan": 2999, "vlans": "3000:3003", "cidr": "10.0.0.0/24", "address": "10.0.0.1"});
    shared.config.provisioning = Some(serde_json::from_value(provisioning).unwrap());
    // No namespace can be called that: nothing is made on this host.
    shared.config.edge = Some(crate::EdgeConfig { switch: "edge".into(), netns: "a/b".into(), netns_prefix: "cfd-none-".into() });
    let pool = format!("vlan:{}", shared.config.fabric.physical_network);
    let mut ids = Vec::new();
    for nth in 0..3 {
        let wired = |it: &mut NodeDesired| drop(it.interfaces.insert(Interface::Network, "neutron".into()));
        let id = rig.enrolled("redfish", ProvisionState::Available, wired).await;
        let card = BaremetalPortDesired {
            local_link_connection: Some(LocalLink {
                switch_id: String::new(),
                switch_info: Some("leaf1".into()),
                port_id: format!("p{nth}"),
            }),
            ..serde_json::from_value(json!({"node_id": id, "address": format!("02:00:00:00:00:0{nth}"), "pxe_enabled": true})).unwrap()
        };
        rig.store().apply(Batch::wishes().create(&Object::<BaremetalPort>::new(Id::random(), None, "", card))).await.unwrap();
        ids.push(id);
    }
    // One has taken a VLAN that an administrator gave to a network of its own.
    let batch = Batch::wishes().hold(&pool, &vlan(3000), "admins").hold("provisioning", &vlan(3000), ids[0].as_str());
    rig.store().apply(batch.hold("provisioning", &vlan(3001), ids[1].as_str())).await.unwrap();
    let held = async |id: &Id<Node>| {
        let all = rig.store().allocations("provisioning").await.unwrap();
        all.into_iter().find(|it| it.holder == id.as_str()).map(|it| it.value)
    };
    let plugs = |it: &mut model::baremetal::NodeObserved| {
        (it.state, it.phase, it.phase_since) = (ProvisionState::Cleaning, Phase::Plug, Timestamp::now());
    };
    // Whoever lays the cables comes to the one behind it, too.
    rig.store().apply(Batch::wishes().wake_named(PROVISIONING, PROVISIONING)).await.unwrap();
    while let Some(claim) = rig.store().claim("w", LEASE).await.unwrap() {
        let cx = Cx { shared: Arc::clone(&rig.shared), claim };
        if cx.claim.kind == PROVISIONING {
            let look = crate::provisioning::reconcile(&cx).await;
            assert!(matches!(&look, Err(Fault::Outside(why)) if why.contains("is taken")), "it is said what is wrong");
        }
        rig.store().finish(&cx.claim, Outcome::Gone).await.unwrap();
    }
    let networks = rig.store().list(&Query::<Network>::new()).await.unwrap();
    assert_eq!(networks.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["provisioning-3001"]);
    // Who has what cannot be takes another, and who has none what is nobody's.
    for (id, free) in [(&ids[0], 3002), (&ids[2], 3003)] {
        seen(&rig, id, plugs).await;
        looked(&rig, id).await;
        assert_eq!(held(id).await, Some(vlan(free)));
    }
}
