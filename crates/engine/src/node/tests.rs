//! Whole lives of machines on hardware and agents that follow a script, with the control plane killed wherever it can be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use drivers::Fut;
use drivers::agent::{AgentError, CommandId, CommandState, CommandStatus};
use drivers::bmc::{Bmc, BmcError, BootDevice, HardwareConfig, OfferedStep, PowerAction, PowerState, Stage, StepProgress};
use model::baremetal::{
    AgentSession, AgentSessionDesired, Allocation, AllocationDesired, AllocationState, BaremetalPort, DeployTemplate, Interface, Node,
    NodeAction, NodeDesired, NodeFault, NodeInventory, NodeInventoryDesired, Phase, PowerRequest, PowerVerb, ProvisionRequest,
    ProvisionState, Step, Verb, shown_state,
};
use model::{Id, Kind, Object, Secret, Timestamp};
use net::Netns;
use serde_json::{Map, Value, json};
use store::{Batch, Claim, Outcome, Query, Store};

use crate::BaremetalConfig;
use crate::baremetal_config::RackPower;
use crate::outside::{Agent, Outside};
use crate::runtime::{Cx, Fault, Next, Shared};

mod allocations;
mod children;
mod deadlines;
mod drives;
mod history;
mod images;
mod never_off;
mod power;
mod release;
mod restarts;
mod supply;

const LEASE: Duration = Duration::from_secs(60);

/// A machine as its script has it.
#[derive(Default)]
struct Box9 {
    on: bool,
    silent: bool,
    hangs: bool,
    /// Its power is on the way to another, for ever.
    changing: bool,
    /// It takes every order and does nothing.
    stubborn: bool,
    boot: Option<BootDevice>,
    orders: Vec<String>,
    steps: Vec<OfferedStep>,
    /// How often each driver step was looked at with which memory.
    runs: Vec<(String, Value)>,
    /// A driver step that wants a restart in the middle.
    restarts: bool,
    commands: Vec<CommandState>,
    /// What ran on the agent, over all its boots.
    done: Vec<String>,
    offers: Value,
    managers: u32,
    mismatches: u32,
    fails: Option<String>,
    asked: u32,
    /// The config drive that its agent was last given.
    drive: Option<String>,
    /// What it has its power from: without, it is off and does not answer.
    fed_by: Option<String>,
    /// How often its power was cut while it was on.
    cuts: u32,
    /// Whoever gives it this order dies, before or after it is heard.
    death: Option<(PowerAction, Death)>,
    /// Somebody has died of it.
    died: bool,
    /// Its next orders of power are answered like this, so many of them.
    deaf: Option<(Deaf, u32)>,
    /// A driver step that wants a restart goes on only after there was one.
    needs_reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deaf {
    /// Heard, and not answered in time.
    TimesOut,
    /// Not heard.
    Unreachable,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    BeforeOrder,
    AfterOrder,
}

/// Whether it has power at all.
fn is_fed(all: &HashMap<String, Box9>, node: &str) -> bool {
    all.get(node).and_then(|it| it.fed_by.as_ref()).is_none_or(|by| all.get(by).is_some_and(|it| it.on) && is_fed(all, by))
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<HashMap<String, Box9>>>);

impl Script {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Box9>> {
        self.0.lock().unwrap()
    }

    fn with<T>(&self, node: &str, change: impl FnOnce(&mut Box9) -> T) -> T {
        change(self.all().entry(node.to_owned()).or_default())
    }

    /// What has no power any more is off.
    fn cut_unfed(&self) {
        let mut all = self.all();
        let unfed: Vec<String> = all.keys().filter(|it| !is_fed(&all, it)).cloned().collect();
        for it in all.iter_mut().filter(|it| it.1.on && unfed.contains(it.0)).map(|it| it.1) {
            it.on = false;
            it.cuts += 1;
        }
    }
}

struct ScriptBmc {
    script: Script,
    node: String,
}

impl ScriptBmc {
    /// It goes on only without whoever asked.
    async fn dies<T>(&self) -> T {
        self.script.with(&self.node, |it| it.died = true);
        std::future::pending().await
    }
}

fn silence() -> BmcError {
    BmcError::Unreachable { address: "bmc".into(), reason: "no route".into() }
}

impl Bmc for ScriptBmc {
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>> {
        Box::pin(async move {
            if self.script.with(&self.node, |it| it.hangs) {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            if !is_fed(&self.script.all(), &self.node) {
                return Err(silence());
            }
            self.script.with(&self.node, |it| match it {
                _ if it.silent => Err(silence()),
                _ if it.changing => Ok(PowerState::Changing),
                _ => Ok(if it.on { PowerState::On } else { PowerState::Off }),
            })
        })
    }

    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if !is_fed(&self.script.all(), &self.node) {
                return Err(silence());
            }
            let death = self.script.with(&self.node, |it| it.death.filter(|it| it.0 == action).map(|it| it.1));
            if death == Some(Death::BeforeOrder) {
                return self.dies().await;
            }
            let done = self.script.with(&self.node, |it| {
                let deaf = it.deaf.filter(|it| it.1 > 0);
                if let Some((kind, left)) = deaf {
                    it.deaf = Some((kind, left - 1));
                }
                if it.silent || deaf.is_some_and(|it| it.0 == Deaf::Unreachable) {
                    return Err(silence());
                }
                it.orders.push(format!("{action:?}"));
                if it.stubborn {
                    return Ok(());
                }
                let on = matches!(action, PowerAction::On | PowerAction::Reset);
                if !on || action == PowerAction::Reset || !it.on {
                    it.commands.clear();
                }
                it.on = on;
                if deaf.is_some() { Err(BmcError::Timeout { address: "bmc".into() }) } else { Ok(()) }
            });
            self.script.cut_unfed();
            if death == Some(Death::AfterOrder) {
                return self.dies().await;
            }
            done
        })
    }

    fn set_boot(&self, device: BootDevice, _once: bool) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            self.script.with(&self.node, |it| it.boot = Some(device));
            Ok(())
        })
    }

    fn boot_device(&self) -> Fut<'_, Result<drivers::bmc::BootChoice, BmcError>> {
        Box::pin(async move { Ok(drivers::bmc::BootChoice { device: Some(BootDevice::Pxe), persistent: Some(false) }) })
    }

    fn inventory(&self) -> Fut<'_, Result<Value, BmcError>> {
        Box::pin(async move {
            if self.script.with(&self.node, |it| it.hangs) {
                std::future::pending::<()>().await;
            }
            Ok(json!({"cpu": {"count": 4, "architecture": "x86_64"}}))
        })
    }

    fn steps(&self, _stage: Stage) -> Vec<OfferedStep> {
        self.script.with(&self.node, |it| it.steps.clone())
    }

    fn run_step<'a>(&'a self, step: &'a Step, memory: &'a Value) -> Fut<'a, Result<StepProgress, BmcError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.script.with(&self.node, |it| {
                it.runs.push((step.step.clone(), memory.clone()));
                let seen = memory.as_u64().unwrap_or(0);
                let unmoved = it.needs_reset && seen == 2 && !it.orders.iter().any(|it| it == "Reset");
                Ok(match (step.step.as_str(), seen) {
                    (_, seen) if unmoved => {
                        StepProgress::Again { memory: json!(seen), after: Duration::ZERO, reason: "it waits".into(), reboot: false }
                    }
                    ("breaks", _) => StepProgress::Failed("it broke".into()),
                    (_, 3) => StepProgress::Done,
                    (_, seen) => StepProgress::Again {
                        memory: json!(seen + 1),
                        after: Duration::ZERO,
                        reason: "under way".into(),
                        reboot: it.restarts && seen == 1,
                    },
                })
            })
        })
    }
}

struct ScriptAgent(ScriptBmc);

impl ScriptAgent {
    fn gone(&self) -> AgentError {
        AgentError::Unreachable { url: "agent".into(), reason: "no route".into() }
    }
}

impl Agent for ScriptAgent {
    fn start<'a>(&'a self, name: &'a str, params: Value) -> Fut<'a, Result<CommandState, AgentError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let state = self.0.script.with(&self.0.node, |it| {
                if !it.on {
                    return Err(self.gone());
                }
                if it.commands.iter().any(|it| it.status == CommandStatus::Running) {
                    return Err(AgentError::Busy { url: "agent".into(), reason: "busy".into() });
                }
                let id = CommandId(format!("c{}-{}", it.orders.len(), it.commands.len()));
                let short = name.rsplit('.').next().unwrap().to_owned();
                let mut state =
                    CommandState { id: id.clone(), name: short.clone(), status: CommandStatus::Running, result: Value::Null, error: None };
                if short.starts_with("get_") {
                    state.status = CommandStatus::Succeeded;
                    let mut result = it.offers.clone();
                    result["hardware_manager_version"] = json!({"Generic": it.managers});
                    state.result = result;
                } else if let Some(step) = params.pointer("/step/step").and_then(Value::as_str) {
                    if let Some(drive) = params.pointer("/step/args/configdrive") {
                        it.drive = drive.as_str().map(str::to_owned);
                    }
                    let version = ["clean_version", "deploy_version", "service_version"].iter().find_map(|key| params.get(*key));
                    if it.mismatches > 0 && version.is_some() {
                        it.mismatches -= 1;
                        it.managers += 1;
                        state.status = CommandStatus::VersionMismatch;
                    } else {
                        state.result = json!({"step": step});
                        it.done.push(step.to_owned());
                    }
                } else if it.fails.as_ref() == Some(&short) {
                    state.status = CommandStatus::Failed;
                    state.error = Some("it cannot".into());
                } else {
                    state.status = CommandStatus::Succeeded;
                    it.done.push(name.to_owned());
                }
                it.commands.push(state.clone());
                Ok(state)
            })?;
            // Taken; whether the answer arrives is another matter.
            tokio::task::yield_now().await;
            Ok(state)
        })
    }

    fn commands(&self) -> Fut<'_, Result<Vec<CommandState>, AgentError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.script.with(&self.0.node, |it| {
                if !it.on {
                    return Err(self.gone());
                }
                it.asked += 1;
                let (asked, fails) = (it.asked, it.fails.clone());
                for command in it.commands.iter_mut().filter(|it| it.status == CommandStatus::Running) {
                    let step = command.result["step"].as_str().unwrap_or_default().to_owned();
                    if asked % 3 == 0 && fails.as_deref() == Some(&step) {
                        command.status = CommandStatus::Failed;
                        command.error = Some("the disk is broken".into());
                    } else if asked % 3 == 0 {
                        command.status = CommandStatus::Succeeded;
                        command.result = json!({"deploy_result": {"verified": "sha512:00"}, "clean_result": null, "step": step});
                    }
                }
                Ok(it.commands.clone())
            })
        })
    }
}

impl Outside for Script {
    fn bmc(&self, config: HardwareConfig) -> Result<Box<dyn Bmc>, BmcError> {
        Ok(Box::new(ScriptBmc { script: self.clone(), node: config.node }))
    }

    fn agent(&self, url: &str, _token: Secret, _ca: Option<String>, _netns: Netns) -> Result<Box<dyn Agent>, AgentError> {
        Ok(Box::new(ScriptAgent(ScriptBmc { script: self.clone(), node: url.to_owned() })))
    }
}

/// A control plane without its workers: each look is made by hand.
struct Rig {
    shared: Arc<Shared>,
    script: Script,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new(change: impl FnOnce(&mut BaremetalConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = Script::default();
        let mut baremetal = BaremetalConfig { api_url: Some("http://192.0.2.1:5000".into()), ..BaremetalConfig::default() };
        change(&mut baremetal);
        let shared = crate::testing::shared(dir.path(), baremetal, Box::new(script.clone())).await;
        Self { shared, script, _dir: dir }
    }

    fn store(&self) -> &Store {
        &self.shared.store
    }

    async fn enrolled(&self, driver: &str, state: ProvisionState, change: impl FnOnce(&mut NodeDesired)) -> Id<Node> {
        let mut desired = NodeDesired { driver: driver.into(), resource_class: Some("big".into()), ..NodeDesired::default() };
        desired.interfaces.insert(Interface::Network, "noop".into());
        let info = json!({"image_source": "http://192.0.2.9/disk.raw", "image_checksum": "a".repeat(64)});
        desired.instance_info = model::secret::Settings(info.as_object().cloned().unwrap());
        change(&mut desired);
        let mut node = Object::<Node>::new(Id::random(), None, "box", desired);
        node.observed.state = state;
        node.observed.power = Some(model::baremetal::PowerState::Off);
        self.store().apply(Batch::wishes().create(&node)).await.unwrap();
        let told = json!([
            {"interface": "deploy", "step": "erase_devices", "priority": 10, "abortable": true},
            {"interface": "deploy", "step": "erase_devices_metadata", "priority": 99, "abortable": true, "reboot_requested": true},
            {"interface": "deploy", "step": "inject_files", "priority": 0}, {"interface": "raid", "step": "create", "priority": 0}]);
        let offers = json!({"clean_steps": {"G": told}, "service_steps": {"G": told}, "deploy_steps": {"G": [told[2]]}});
        self.script.with(node.id.as_str(), |it| it.offers = offers);
        node.id
    }

    async fn node(&self, id: &Id<Node>) -> Object<Node> {
        self.store().get(id).await.unwrap().unwrap()
    }

    /// Writes what was seen of a node, as a reconciler would.
    async fn observe(&self, node: &Object<Node>) {
        self.store().apply(Batch::wishes().wake_named("test", "test")).await.unwrap();
        let mut claim = self.store().claim("test", LEASE).await.unwrap().unwrap();
        while claim.kind != "test" {
            self.store().finish(&claim, Outcome::Again(Duration::ZERO)).await.unwrap();
            claim = self.store().claim("test", LEASE).await.unwrap().unwrap();
        }
        self.store().apply(Batch::facts(&claim).observe(node)).await.unwrap();
        self.store().finish(&claim, Outcome::Gone).await.unwrap();
    }

    async fn ask(&self, id: &Id<Node>, verb: Verb, steps: Vec<Step>) {
        let request = ProvisionRequest { verb, steps, ..ProvisionRequest::default() };
        self.ask_as(id, request).await;
    }

    async fn ask_as(&self, id: &Id<Node>, mut request: ProvisionRequest) {
        let mut node = self.node(id).await;
        request.seq = node.observed.handled + 1;
        node.desired.request = Some(request);
        self.store().apply(Batch::wishes().want(&node).wake(&node.id)).await.unwrap();
    }

    /// Asks for a power change; its number.
    async fn power(&self, id: &Id<Node>, verb: PowerVerb) -> u64 {
        let mut node = self.node(id).await;
        let seq = node.desired.power_request.as_ref().map_or(0, |it| it.seq).max(node.observed.handled_power) + 1;
        node.desired.power_request = Some(PowerRequest { seq, verb, timeout_seconds: None, asked_by: None });
        self.store().apply(Batch::wishes().want(&node).wake(&node.id)).await.unwrap();
        seq
    }

    /// The agent of a machine that boots its ramdisk calls in, as the API writes it down.
    async fn calls(&self, id: &Id<Node>) {
        let node = self.node(id).await;
        let on = self.script.with(id.as_str(), |it| it.on && it.boot != Some(BootDevice::Disk));
        let session: Id<AgentSession> = Id::parse(id.as_str()).unwrap();
        if node.observed.phase != Phase::Agent || !on || self.store().get(&session).await.unwrap().is_some() {
            return;
        }
        let desired = AgentSessionDesired {
            token: Secret::new("t"),
            callback_url: Some(id.to_string()),
            verify_ca: None,
            heartbeat_at: Some(Timestamp::now()),
            agent_version: None,
            status: None,
            status_message: None,
            pregenerated: false,
        };
        self.store().apply(Batch::wishes().create(&Object::new(session, None, "", desired)).wake(id)).await.unwrap();
    }

    /// One look at whatever is due. `polls`: after so many steps the process is killed. False if nothing is due.
    async fn look(&self, polls: Option<u32>) -> bool {
        let Some(claim) = self.store().claim("w", LEASE).await.unwrap() else { return false };
        self.look_at(claim, polls).await;
        true
    }

    async fn look_at(&self, claim: Claim, polls: Option<u32>) {
        let cx = Cx { shared: Arc::clone(&self.shared), claim };
        let work = async {
            match cx.claim.kind.as_str() {
                Node::NAME => super::reconcile(&cx).await,
                Allocation::NAME => crate::allocation::reconcile(&cx).await,
                NodeAction::NAME => crate::node_action::reconcile(&cx).await,
                crate::history::HISTORY_WORK => crate::history::trim(&cx).await,
                model::baremetal::POWER_SYNC_WORK => crate::power::sync(&cx).await,
                _ => Ok(Next::Gone),
            }
        };
        let mut work = std::pin::pin!(work);
        let mut left = polls;
        let result = std::future::poll_fn(|task| {
            if let Some(left) = &mut left {
                if *left == 0 {
                    return std::task::Poll::Ready(None);
                }
                *left -= 1;
            }
            work.as_mut().poll(task).map(Some)
        })
        .await;
        let Some(result) = result else {
            return self.store().void_leases().await.unwrap();
        };
        let outcome = match result {
            // Nobody here has time to wait.
            Ok(Next::Again(_)) => Outcome::Again(Duration::ZERO),
            Ok(Next::Gone | Next::Kept) => Outcome::Gone,
            Err(Fault::Store(error)) if error.is_race() => Outcome::Again(Duration::ZERO),
            Err(fault) => {
                drop(fault);
                Outcome::Failed(Duration::ZERO)
            }
        };
        self.store().finish(&cx.claim, outcome).await.unwrap();
    }

    /// Goes on until the machine is in this state and at rest.
    #[track_caller]
    fn until<'a>(&'a self, id: &'a Id<Node>, state: ProvisionState) -> impl Future<Output = Object<Node>> + 'a {
        self.until_killed(id, state, None)
    }

    async fn until_killed(&self, id: &Id<Node>, state: ProvisionState, mut dice: Option<Dice>) -> Object<Node> {
        for () in looks() {
            let node = self.node(id).await;
            let taken = node.desired.request.as_ref().is_none_or(|it| it.seq <= node.observed.handled);
            if node.observed.state == state && taken && (node.observed.phase == Phase::Rest || state.is_hold()) {
                return node;
            }
            let stuck = node.observed.phase == Phase::Rest && taken && node.observed.state.is_stable();
            assert!(!stuck, "at rest as {:?}: {:?}", node.observed.state, node.observed);
            self.calls(id).await;
            let polls = dice.as_mut().and_then(|it| (it.below(3) == 0).then(|| it.below(14)));
            if !self.look(polls).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let node = self.node(id).await;
        panic!("never {state:?}: {:?}", node.observed);
    }
}

/// As many looks as are patient enough: what goes by the clock cannot be waited for by counting.
fn looks() -> impl Iterator<Item = ()> {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    std::iter::from_fn(move || (std::time::Instant::now() < until).then_some(()))
}

/// Numbers that look random and come again with the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % n
    }
}

fn step(interface: &str, step: &str, priority: i64) -> Step {
    Step { interface: interface.into(), step: step.into(), args: Map::new(), priority, ..Step::default() }
}

fn own(interface: &str, step: &str, priority: i64, requires_ramdisk: bool) -> OfferedStep {
    OfferedStep { interface: interface.into(), step: step.into(), priority, abortable: false, args: Vec::new(), requires_ramdisk }
}

#[tokio::test]
async fn hardware_that_is_not_there_goes_through_every_verb() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("fake-hardware", ProvisionState::Enroll, |_| {}).await;
    rig.script.with(id.as_str(), |it| it.steps = vec![own("vendor", "log", 1, false)]);
    for (verb, state) in [
        (Verb::Manage, ProvisionState::Manageable),
        (Verb::Inspect, ProvisionState::Manageable),
        (Verb::Provide, ProvisionState::Available),
        (Verb::Deploy, ProvisionState::Active),
        (Verb::Rescue, ProvisionState::Rescue),
        (Verb::Unrescue, ProvisionState::Active),
        (Verb::Rebuild, ProvisionState::Active),
        (Verb::Undeploy, ProvisionState::Available),
        (Verb::Manage, ProvisionState::Manageable),
        (Verb::Adopt, ProvisionState::Active),
    ] {
        rig.ask(&id, verb, Vec::new()).await;
        let node = rig.until(&id, state).await;
        assert_eq!((shown_state(&node), node.observed.last_error), ((state.as_str(), None), None), "{verb:?}");
    }
    let steps = || vec![step("vendor", "log", 0)];
    rig.ask(&id, Verb::Service, steps()).await;
    rig.until(&id, ProvisionState::Active).await;
    let runs = rig.script.with(id.as_str(), |it| std::mem::take(&mut it.runs));
    let logged = runs.iter().filter(|(_, memory)| memory.is_null()).count();
    // Cleaned before it was offered, at both deployments and after the tenant, and serviced.
    assert_eq!(logged, 5, "{runs:?}");
    assert_eq!(rig.script.with(id.as_str(), |it| it.orders.len()), 0, "nobody asked for its power");
    let lines = rig.store().history(Node::NAME, id.as_str(), 200).await.unwrap();
    let line = lines.iter().find(|it| it.event == "deploying -> active").unwrap();
    assert_eq!((line.detail["state"].as_str(), line.detail["from"].as_str()), (Some("active"), Some("deploying")));
    assert!(line.detail["duration_seconds"].as_f64().is_some());
}

/// Cleaned, deployed with steps of all kinds, released and cleaned again, while the control plane is killed every few moments: each step
/// is done once for each time it was asked for.
#[tokio::test]
async fn a_life_with_an_agent_survives_being_killed_anywhere() {
    let given = std::env::var("COFFERDAM_TEST_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) ^ Timestamp::now().0.unsigned_abs());
    println!("COFFERDAM_TEST_SEED={seed}");
    for round in 0..12 {
        let rig = Rig::new(|_| {}).await;
        let id = rig.enrolled("redfish", ProvisionState::Manageable, |it| it.traits.extend(["CUSTOM_FAST".to_owned()])).await;
        rig.script.with(id.as_str(), |it| {
            it.steps = vec![own("bios", "apply", 0, false), own("management", "clock", 50, true)];
            it.restarts = true;
        });
        let template = model::baremetal::DeployTemplateDesired { steps: vec![step("bios", "apply", 150)], extra: Map::new() };
        let template: Object<DeployTemplate> = Object::new(Id::random(), None, "CUSTOM_FAST", template);
        rig.store().apply(Batch::wishes().create(&template)).await.unwrap();
        let dice = |salt: u64| Some(Dice(seed.wrapping_add(round * 1000 + salt)));
        let done = || rig.script.with(id.as_str(), |it| std::mem::take(&mut it.done));

        rig.ask(&id, Verb::Provide, Vec::new()).await;
        let node = rig.until_killed(&id, ProvisionState::Available, dice(1)).await;
        assert_eq!(done(), ["erase_devices_metadata", "erase_devices"]);
        assert!(node.observed.erased_at.is_some() && rig.script.with(id.as_str(), |it| !it.on));
        assert_eq!(node.observed.job.steps.len(), 3, "the hardware's own step too");

        let mut node = rig.node(&id).await;
        node.desired.instance_info.0.insert("traits".into(), json!(["CUSTOM_FAST", "CUSTOM_OTHER"]));
        rig.store().apply(Batch::wishes().want(&node)).await.unwrap();
        rig.script.with(id.as_str(), |it| it.runs.clear());
        rig.ask(&id, Verb::Deploy, vec![step("deploy", "inject_files", 60)]).await;
        let node = rig.until_killed(&id, ProvisionState::Active, dice(2)).await;
        assert_eq!(done().iter().filter(|it| *it != "standby.sync").collect::<Vec<_>>(), ["write_image", "inject_files"]);
        assert_eq!(node.observed.image_verified.as_deref(), Some("sha512:00"));
        let order: Vec<_> = node.observed.job.steps.iter().map(|it| it.step.step.clone()).collect();
        assert_eq!(order, ["apply", "write_image", "inject_files", "clock"]);
        assert!(rig.script.with(id.as_str(), |it| it.on && it.boot == Some(BootDevice::Disk)));
        // Memory never goes backwards by more than the one look that was not written down.
        let runs = rig.script.with(id.as_str(), |it| it.runs.clone());
        for name in ["apply", "clock"] {
            let seen: Vec<u64> = runs.iter().filter(|it| it.0 == name).map(|it| it.1.as_u64().unwrap_or(0)).collect();
            assert!(seen.is_sorted() && seen.last() == Some(&3), "{name}: {seen:?}");
        }

        rig.ask(&id, Verb::Undeploy, Vec::new()).await;
        let node = rig.until_killed(&id, ProvisionState::Available, dice(3)).await;
        assert_eq!(done(), ["erase_devices_metadata", "erase_devices"]);
        assert!(node.desired.instance_info.0.is_empty() && node.observed.image_verified.is_none());
        for pool in ["slot:deploy", "slot:clean", "wait:deploy", "wait:clean"] {
            assert_eq!(rig.store().allocations(pool).await.unwrap(), [], "{pool}");
        }
    }
}

#[tokio::test]
async fn steps_that_nobody_has_or_that_fail_end_the_job() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    rig.ask(&id, Verb::Clean, vec![step("deploy", "dance", 0)]).await;
    let node = rig.until(&id, ProvisionState::CleanFailed).await;
    assert!(node.observed.last_error.unwrap().contains("node does not support this clean step: {'interface': 'deploy', 'step': 'dance'"));
    assert!(!node.desired.maintenance && node.observed.fault.is_none(), "no step was done");
    assert!(rig.script.with(id.as_str(), |it| !it.on), "a machine that failed is off");

    rig.script.with(id.as_str(), |it| it.fails = Some("erase_devices".into()));
    for verb in [Verb::Manage, Verb::Provide] {
        rig.ask(&id, verb, Vec::new()).await;
        rig.until(&id, if verb == Verb::Manage { ProvisionState::Manageable } else { ProvisionState::CleanFailed }).await;
    }
    let mut node = rig.node(&id).await;
    assert!(node.observed.last_error.as_ref().unwrap().contains("the disk is broken"));
    assert!(node.desired.maintenance && node.observed.fault == Some(NodeFault::CleanFailure));
    node.desired.maintenance = false;
    rig.store().apply(Batch::wishes().want(&node).wake(&id)).await.unwrap();
    while rig.look(None).await {}
    assert_eq!(rig.node(&id).await.observed.fault, None);

    let id = rig.enrolled("redfish", ProvisionState::Available, |it| it.instance_info = model::secret::Settings::default()).await;
    rig.ask(&id, Verb::Deploy, Vec::new()).await;
    let node = rig.until(&id, ProvisionState::DeployFailed).await;
    assert!(node.observed.last_error.unwrap().contains("image_source"));
    assert_eq!(node.observed.target, Some(ProvisionState::Active));

    let id = rig.enrolled("redfish", ProvisionState::Active, |_| {}).await;
    rig.script.with(id.as_str(), |it| it.steps = vec![own("firmware", "breaks", 0, false)]);
    let request = ProvisionRequest {
        verb: Verb::Service,
        steps: vec![step("firmware", "breaks", 0)],
        disable_ramdisk: true,
        ..ProvisionRequest::default()
    };
    rig.ask_as(&id, request).await;
    let node = rig.until(&id, ProvisionState::ServiceFailed).await;
    assert!(node.observed.last_error.unwrap().contains("it broke") && node.observed.fault == Some(NodeFault::ServiceFailure));
    assert_eq!(rig.script.with(id.as_str(), |it| it.orders.len()), 0, "without a ramdisk the tenant's machine runs on");
    rig.ask(&id, Verb::Abort, Vec::new()).await;
    rig.until(&id, ProvisionState::Active).await;
}

#[tokio::test]
async fn holding_letting_go_and_giving_up() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    let steps =
        || vec![step("raid", "create", 0), step("power", "hold", 0), step("power", "reboot", 0), step("deploy", "erase_devices", 0)];
    rig.ask(&id, Verb::Clean, steps()).await;
    let node = rig.until(&id, ProvisionState::CleanHold).await;
    assert_eq!((node.observed.job.steps[0].is_done(), node.observed.phase), (true, Phase::Work));
    for _ in 0..20 {
        rig.look(None).await;
    }
    assert_eq!(rig.node(&id).await.observed.state, ProvisionState::CleanHold, "it holds");
    rig.ask(&id, Verb::Unhold, Vec::new()).await;
    rig.until(&id, ProvisionState::Manageable).await;
    assert_eq!(rig.script.with(id.as_str(), |it| std::mem::take(&mut it.done)), ["create", "erase_devices"]);

    rig.ask(&id, Verb::Clean, steps()).await;
    rig.until(&id, ProvisionState::CleanHold).await;
    rig.ask(&id, Verb::Abort, Vec::new()).await;
    let node = rig.until(&id, ProvisionState::CleanFailed).await;
    assert!(!node.desired.maintenance, "given up on request, nothing is wrong with it");
    assert!(node.observed.last_error.unwrap().contains("aborted") && rig.script.with(id.as_str(), |it| !it.on));

    // While an agent is awaited.
    rig.ask(&id, Verb::Manage, Vec::new()).await;
    rig.until(&id, ProvisionState::Manageable).await;
    rig.ask(&id, Verb::Clean, steps()).await;
    for () in looks() {
        rig.look(None).await;
        if rig.node(&id).await.observed.phase == Phase::Agent {
            break;
        }
    }
    assert_eq!(shown_state(&rig.node(&id).await).0, "clean wait");
    rig.ask(&id, Verb::Abort, Vec::new()).await;
    rig.until(&id, ProvisionState::CleanFailed).await;
}

#[tokio::test]
async fn an_agent_that_is_another_is_asked_again_but_not_for_ever() {
    let rig = Rig::new(|_| {}).await;
    for (mismatches, state) in [(2, ProvisionState::Available), (50, ProvisionState::CleanFailed)] {
        let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
        rig.script.with(id.as_str(), |it| it.mismatches = mismatches);
        rig.ask(&id, Verb::Provide, Vec::new()).await;
        let node = rig.until(&id, state).await;
        assert!(node.observed.job.restarts >= 2, "{:?}", node.observed.job);
    }
}

#[tokio::test]
async fn rescue_hands_over_a_hashed_password_and_leaves_the_ramdisk_running() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Active, |it| it.rescue_password = Some(Secret::new("hunter2"))).await;
    rig.ask(&id, Verb::Rescue, Vec::new()).await;
    let node = rig.until(&id, ProvisionState::Rescue).await;
    assert_eq!(rig.script.with(id.as_str(), |it| std::mem::take(&mut it.done)), ["rescue.finalize_rescue"]);
    assert!(rig.script.with(id.as_str(), |it| it.on) && node.desired.rescue_password.is_none());
    rig.ask(&id, Verb::Unrescue, Vec::new()).await;
    rig.until(&id, ProvisionState::Active).await;
    assert!(rig.script.with(id.as_str(), |it| it.on && it.boot == Some(BootDevice::Disk)));
}

#[tokio::test]
async fn inspection_by_the_ramdisk() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Manageable, |_| {}).await;
    rig.ask(&id, Verb::Inspect, Vec::new()).await;
    while rig.node(&id).await.observed.phase != Phase::Agent {
        rig.look(None).await;
    }
    let inventory = json!({"cpu": {"count": 4, "architecture": "x86_64"}, "interfaces": [{"mac_address": "52:54:00:00:00:01"}]});
    let found = NodeInventoryDesired { inventory, plugin_data: json!({}) };
    let row: Object<NodeInventory> = Object::new(Id::parse(id.as_str()).unwrap(), None, "", found);
    rig.store().apply(Batch::wishes().create(&row).wake(&id)).await.unwrap();
    let node = rig.until(&id, ProvisionState::Manageable).await;
    assert_eq!((node.desired.properties["cpus"].as_u64(), node.observed.inspection_finished_at.is_some()), (Some(4), true));
    let cards = rig.store().list(&Query::<BaremetalPort>::new().column("node_id", [id.to_string()])).await.unwrap();
    assert_eq!(cards.len(), 1);
    assert!(rig.script.with(id.as_str(), |it| !it.on));
}

#[tokio::test]
async fn no_more_at_once_than_may_be() {
    let rig = Rig::new(|it| {
        it.max_concurrent_clean = 2;
        it.rack_power_watts = RackPower::All(1000);
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let draw = json!({"rack": "r1", "power_draw_watts": 600});
        ids.push(rig.enrolled("redfish", ProvisionState::Manageable, |it| it.properties = draw.as_object().cloned().unwrap()).await);
    }
    for id in &ids {
        rig.ask(id, Verb::Provide, Vec::new()).await;
    }
    let mut waited = false;
    for () in looks() {
        let mut done = 0;
        for id in &ids {
            let node = rig.node(id).await;
            done += u32::from(node.observed.state == ProvisionState::Available);
            waited |= node.observed.reason.contains("its rack has no 600 W left");
            rig.calls(id).await;
        }
        let on = ids.iter().filter(|id| rig.script.with(id.as_str(), |it| it.on)).count();
        assert!(on <= 1, "{on} machines of 600 W on 1000 W");
        assert!(rig.store().allocations("slot:clean").await.unwrap().len() <= 2);
        if done == 5 {
            assert!(waited);
            assert_eq!(rig.store().allocations("rack-power").await.unwrap(), []);
            return;
        }
        rig.look(None).await;
    }
    panic!("never all cleaned");
}

#[tokio::test]
async fn what_must_prove_itself_and_cannot_is_not_deployed() {
    let rig = Rig::new(|_| {}).await;
    let id =
        rig.enrolled("redfish", ProvisionState::Available, |it| drop(it.driver_info.0.insert("attestation".into(), json!(true)))).await;
    rig.ask(&id, Verb::Deploy, Vec::new()).await;
    let node = rig.until(&id, ProvisionState::DeployFailed).await;
    assert!(node.observed.last_error.unwrap().contains("attestation failed"));
    assert_eq!((rig.script.with(id.as_str(), |it| (it.on, it.done.len())), node.observed.attested_at), ((false, 0), None));
}
