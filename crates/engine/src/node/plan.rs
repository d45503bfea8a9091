//! Which steps a job has and in which order: pure decisions.
//!
//! Source of the order: Ironic documentation, "Deploy steps" and "Cleaning": by priority, highest first; equals by their interface.

use drivers::bmc::OfferedStep;
use model::baremetal::{Job, PlannedStep, Step, StepState};
use serde_json::{Map, Value};

use crate::inspection::python;

/// The step of a deployment that puts the image onto the disk, and its place.
pub(super) const WRITE_IMAGE: (&str, &str, i64) = ("deploy", "write_image", 80);
/// A deploy step above this is done before the ramdisk boots.
pub(super) const BOOT_PRIORITY: i64 = 100;

/// Steps that the control plane does itself, whatever the hardware.
pub(super) const RESERVED: [&str; 5] = ["hold", "wait", "power_on", "power_off", "reboot"];

/// Whether the control plane itself does a step of that name.
pub(super) fn is_reserved(step: &Step) -> bool {
    RESERVED.contains(&step.step.as_str())
}

/// Where an interface stands among steps of one priority.
fn rank(interface: &str) -> u8 {
    match interface {
        "network" => 8,
        "vendor" => 7,
        "power" => 6,
        "management" => 5,
        "firmware" => 4,
        "deploy" => 3,
        "bios" => 2,
        "raid" => 1,
        _ => 0,
    }
}

/// Puts steps into the order in which they run by themselves.
pub(super) fn sort(steps: &mut [PlannedStep]) {
    steps.sort_by(|a, b| b.step.priority.cmp(&a.step.priority).then_with(|| rank(&b.step.interface).cmp(&rank(&a.step.interface))));
}

fn same(a: &Step, b: &Step) -> bool {
    a.interface == b.interface && a.step == b.step
}

fn offered<'a>(all: &'a [OfferedStep], step: &Step) -> Option<&'a OfferedStep> {
    all.iter().find(|it| it.interface == step.interface && it.step == step.step)
}

fn name(step: &Step) -> String {
    format!("{}.{}", step.interface, step.step)
}

/// That nobody does a step, in Ironic's words.
pub(super) fn unsupported(stage: &str, step: &Step) -> String {
    let args = python(&Value::Object(step.args.clone()));
    format!("node does not support this {stage} step: {{'interface': '{}', 'step': '{}', 'args': {args}}}", step.interface, step.step)
}

fn planned(step: Step, in_band: bool, abortable: bool) -> PlannedStep {
    PlannedStep { step, in_band, abortable, reboot_requested: false, progress: StepState::Pending }
}

fn by_itself(it: &OfferedStep) -> PlannedStep {
    let step = Step { interface: it.interface.clone(), step: it.step.clone(), args: Map::new(), priority: it.priority, ..Step::default() };
    planned(step, false, it.abortable)
}

/// Steps given by a user for cleaning or servicing: exactly these in their order. `ramdisk`: whether one may be booted. Says why if
/// the steps cannot be done.
pub(super) fn given(stage: &str, steps: &[Step], driver: &[OfferedStep], ramdisk: bool) -> Result<Job, String> {
    if steps.is_empty() {
        return Err("no steps are given".into());
    }
    let mut out = Vec::new();
    let mut needs_ramdisk = false;
    for step in steps {
        let mut step = step.clone();
        step.priority = 0;
        let own = offered(driver, &step);
        if step.children.is_some() {
            if ["hold", "wait"].contains(&step.step.as_str()) {
                return Err(format!("step {} is not one that child nodes do", name(&step)));
            }
            out.push(planned(step, false, false));
        } else if is_reserved(&step) {
            out.push(planned(step, false, true));
        } else if let Some(own) = own {
            if own.requires_ramdisk && !ramdisk {
                return Err(format!("step {} needs a ramdisk, and none is to be booted", name(&step)));
            }
            needs_ramdisk |= own.requires_ramdisk;
            out.push(planned(step, false, own.abortable));
        } else if ramdisk {
            needs_ramdisk = true;
            out.push(planned(step, true, false));
        } else {
            return Err(unsupported(stage, &step));
        }
    }
    Ok(Job { steps: out, joined: !needs_ramdisk, given: true, no_ramdisk: !needs_ramdisk, ..Job::default() })
}

/// Automated cleaning. `ramdisk`: whether the agent cleans too.
pub(super) fn automated(driver: &[OfferedStep], ramdisk: bool, wanted: bool) -> Job {
    let mut steps: Vec<PlannedStep> = if wanted { driver.iter().filter(|it| it.priority > 0).map(by_itself).collect() } else { Vec::new() };
    sort(&mut steps);
    let ramdisk = ramdisk && wanted;
    Job { steps, joined: !ramdisk, no_ramdisk: !ramdisk, ..Job::default() }
}

/// A deployment: the driver's own steps, those of templates, those of the user (who has the last word), and the writing of the image if
/// `image`.
pub(super) fn deploy(user: &[Step], templates: &[Step], driver: &[OfferedStep], ramdisk: bool, image: bool) -> Result<Job, String> {
    let mut steps: Vec<PlannedStep> = driver.iter().map(by_itself).collect();
    if image {
        let (interface, step, priority) = WRITE_IMAGE;
        let step = Step { interface: interface.into(), step: step.into(), args: Map::new(), priority, ..Step::default() };
        steps.push(planned(step, true, false));
    }
    for given in templates.iter().chain(user) {
        match steps.iter_mut().find(|it| same(&it.step, given)) {
            Some(known) => {
                known.step.priority = given.priority;
                known.step.args.clone_from(&given.args);
            }
            None if is_reserved(given) => steps.push(planned(given.clone(), false, true)),
            None if ramdisk => steps.push(planned(given.clone(), true, false)),
            None => return Err(unsupported("deploy", given)),
        }
    }
    steps.retain(|it| it.step.priority > 0);
    sort(&mut steps);
    Ok(Job { steps, joined: !ramdisk, no_ramdisk: !ramdisk, ..Job::default() })
}

/// A step as an agent offers it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AgentStep {
    pub(super) interface: String,
    pub(super) step: String,
    pub(super) priority: i64,
    pub(super) abortable: bool,
    pub(super) reboot_requested: bool,
}

/// Reads `{"<stage>_steps": {"<manager>": [step, …]}}` as agents write it. Of one name given by several managers the first counts: the
/// agent has told them apart.
pub(super) fn agent_steps(result: &Value, stage: &str) -> Vec<AgentStep> {
    let Some(managers) = result.get(format!("{stage}_steps")).and_then(Value::as_object) else { return Vec::new() };
    let mut out: Vec<AgentStep> = Vec::new();
    for it in managers.values().filter_map(Value::as_array).flatten() {
        let text = |key: &str| it.get(key).and_then(Value::as_str).map(str::to_owned);
        let flag = |key: &str| it.get(key).and_then(Value::as_bool).unwrap_or_default();
        let (Some(interface), Some(step)) = (text("interface"), text("step")) else { continue };
        if !out.iter().any(|known| known.interface == interface && known.step == step) {
            let priority = it.get("priority").and_then(Value::as_i64).unwrap_or_default();
            let (abortable, reboot_requested) = (flag("abortable"), flag("reboot_requested"));
            out.push(AgentStep { interface, step, priority, abortable, reboot_requested });
        }
    }
    out
}

/// Joins what the agent offers into the job: steps given by name are checked and told what the agent says of them; those with a priority
/// join by themselves unless the steps were given. Says which step nobody knows.
pub(super) fn join(stage: &str, job: &mut Job, offered: &[AgentStep], managers: &Value) -> Result<(), String> {
    for it in job.steps.iter_mut().filter(|it| it.in_band) {
        match offered.iter().find(|own| own.interface == it.step.interface && own.step == it.step.step) {
            Some(own) => {
                it.abortable = own.abortable;
                it.reboot_requested = own.reboot_requested;
            }
            // Agents do it whether they list it or not.
            None if (it.step.interface.as_str(), it.step.step.as_str()) == (WRITE_IMAGE.0, WRITE_IMAGE.1) => {}
            None => return Err(unsupported(stage, &it.step)),
        }
    }
    if !job.given {
        for own in offered.iter().filter(|it| it.priority > 0) {
            let known = job.steps.iter().any(|it| it.step.interface == own.interface && it.step.step == own.step);
            if !known {
                let step = Step {
                    interface: own.interface.clone(),
                    step: own.step.clone(),
                    args: Map::new(),
                    priority: own.priority,
                    ..Step::default()
                };
                let reboot_requested = own.reboot_requested;
                job.steps.push(PlannedStep { reboot_requested, ..planned(step, true, own.abortable) });
            }
        }
        // What is done stays before what is to be done.
        job.steps.sort_by_key(|it| !it.is_done());
        let done = job.steps.iter().filter(|it| it.is_done()).count();
        if let Some(rest) = job.steps.get_mut(done..) {
            sort(rest);
        }
    }
    job.managers = managers.clone();
    job.joined = true;
    Ok(())
}

/// The agent is another than the one that told its steps: all is asked and done anew.
pub(super) fn restart(job: &mut Job) {
    if !job.given {
        let (interface, step, _) = WRITE_IMAGE;
        job.steps.retain(|it| !it.in_band || (it.step.interface == interface && it.step.step == step));
    }
    for it in &mut job.steps {
        it.progress = StepState::Pending;
    }
    job.joined = false;
    job.managers = Value::Null;
    job.restarts += 1;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own(interface: &str, step: &str, priority: i64, requires_ramdisk: bool) -> OfferedStep {
        OfferedStep { interface: interface.into(), step: step.into(), priority, abortable: false, args: Vec::new(), requires_ramdisk }
    }

    fn step(interface: &str, step: &str, priority: i64) -> Step {
        Step { interface: interface.into(), step: step.into(), args: Map::new(), priority, ..Step::default() }
    }

    fn names(job: &Job) -> Vec<String> {
        job.steps.iter().map(|it| format!("{}{}", name(&it.step), if it.in_band { "@agent" } else { "" })).collect()
    }

    fn told() -> Value {
        json!({"clean_steps": {"Generic": [
            {"interface": "deploy", "step": "erase_devices", "priority": 10, "abortable": true, "reboot_requested": false},
            {"interface": "deploy", "step": "erase_devices_metadata", "priority": 99, "abortable": true, "reboot_requested": true},
            {"interface": "raid", "step": "create_configuration", "priority": 0, "reboot_requested": false},
            {"step": "no interface", "priority": 5},
        ], "Other": [{"interface": "deploy", "step": "erase_devices", "priority": 77}]}})
    }

    #[test]
    fn cleaning_by_itself_is_the_driver_s_and_the_agent_s_steps_in_order() {
        let driver = [own("bios", "reset", 10, true), own("raid", "create", 0, true), own("vendor", "log", 99, false)];
        let mut job = automated(&driver, true, true);
        assert_eq!(names(&job), ["vendor.log", "bios.reset"]);
        assert!(!job.joined && !job.no_ramdisk);
        join("clean", &mut job, &agent_steps(&told(), "clean"), &json!({"Generic": "1"})).unwrap();
        // Of one priority the vendor's come before those of deploy, and those before those of the BIOS.
        assert_eq!(names(&job), ["vendor.log", "deploy.erase_devices_metadata@agent", "deploy.erase_devices@agent", "bios.reset"]);
        assert!(job.steps[1].reboot_requested && job.steps[2].abortable);
        assert_eq!(job.managers, json!({"Generic": "1"}));
        let off = automated(&driver, true, false);
        assert!(off.steps.is_empty() && off.no_ramdisk && off.joined);
    }

    #[test]
    fn given_steps_keep_their_order_and_nobody_s_steps_are_refused() {
        let driver = [own("bios", "reset", 0, false), own("raid", "create", 0, true)];
        let asked = [step("raid", "create", 5), step("deploy", "erase_devices", 9), step("power", "hold", 0), step("bios", "reset", 1)];
        let mut job = given("clean", &asked, &driver, true).unwrap();
        assert_eq!(names(&job), ["raid.create", "deploy.erase_devices@agent", "power.hold", "bios.reset"]);
        join("clean", &mut job, &agent_steps(&told(), "clean"), &Value::Null).unwrap();
        assert_eq!(names(&job), ["raid.create", "deploy.erase_devices@agent", "power.hold", "bios.reset"]);

        let why = given("clean", &asked, &driver, false).unwrap_err();
        assert!(why.contains("raid.create needs a ramdisk"), "{why}");
        assert!(given("clean", &asked[1..2], &driver, false).unwrap_err().contains("'erase_devices'"));
        assert!(given("clean", &[], &driver, true).is_err());
        let plain = given("clean", &asked[3..], &driver, true).unwrap();
        assert!(plain.no_ramdisk && plain.joined, "no step of it needs a ramdisk");

        let mut job = given("clean", &[step("deploy", "dance", 0)], &driver, true).unwrap();
        let why = join("clean", &mut job, &agent_steps(&told(), "clean"), &Value::Null).unwrap_err();
        assert_eq!(why, "node does not support this clean step: {'interface': 'deploy', 'step': 'dance', 'args': {}}");
    }

    #[test]
    fn a_deployment_has_the_image_in_the_middle_and_the_user_has_the_last_word() {
        let driver = [own("bios", "apply", 0, false), own("raid", "apply", 0, false), own("management", "clock", 90, false)];
        let template = [step("bios", "apply", 150), step("raid", "apply", 70)];
        let user = [step("raid", "apply", 85), step("deploy", "inject_files", 50), step("management", "clock", 0)];
        let mut job = deploy(&user, &template, &driver, true, true).unwrap();
        assert_eq!(names(&job), ["bios.apply", "raid.apply", "deploy.write_image@agent", "deploy.inject_files@agent"]);
        let told = json!({"deploy_steps": {"Generic": [
            {"interface": "deploy", "step": "write_image", "priority": 0}, {"interface": "deploy", "step": "inject_files", "priority": 0},
            {"interface": "deploy", "step": "late", "priority": 60}]}});
        join("clean", &mut job, &agent_steps(&told, "deploy"), &Value::Null).unwrap();
        assert_eq!(names(&job), ["bios.apply", "raid.apply", "deploy.write_image@agent", "deploy.late@agent", "deploy.inject_files@agent"]);
        let twice = [step("deploy", "write_image", 81)];
        assert_eq!(names(&deploy(&twice, &[], &[], true, true).unwrap()), ["deploy.write_image@agent"]);
        assert!(deploy(&user, &[], &driver, false, false).unwrap_err().contains("inject_files"));
        assert!(deploy(&[], &[], &driver, false, false).unwrap().no_ramdisk);
    }

    #[test]
    fn joining_again_leaves_what_is_done() {
        let mut job = automated(&[own("bios", "reset", 10, true)], true, true);
        join("clean", &mut job, &agent_steps(&told(), "clean"), &Value::Null).unwrap();
        for it in job.steps.iter_mut().take(2) {
            it.progress = StepState::Done { at: model::Timestamp(1) };
        }
        let before = job.clone();
        join("clean", &mut job, &agent_steps(&told(), "clean"), &Value::Null).unwrap();
        assert_eq!(job, before);
        restart(&mut job);
        assert_eq!((names(&job), job.restarts, job.joined), (vec!["bios.reset".to_owned()], 1, false));
    }
}
