//! RAID sets: which volumes are wanted of which drives, as a pure plan, and the steps that make it so
//! (Source: DMTF DSP0268, `Storage`, `Volume`, `Drive`; Ironic documentation, "RAID configuration").

use std::time::Duration;

use http::Method;
use model::Timestamp;
use model::baremetal::Step;
use serde_json::{Map, Value, json};

use super::Redfish;
use super::connection::links;
use super::raid_plan::{Drive, Subsystem, Volume, level_of, plan};
use super::tasks::{TaskState, monitor};
use crate::bmc::help::arg_bool;
use crate::bmc::{BmcError, StepProgress};

/// How long the steps may take, in seconds: large sets are initialised for hours, but exist at once.
const LIMIT_SECONDS: f64 = 7_200.0;
/// How long a set may take to show after its task ended, in seconds.
const SHOW_SECONDS: f64 = 300.0;
/// After how long a deletion that was refused is asked for again, in seconds.
const REFUSED_AGAIN_SECONDS: f64 = 15.0;
/// How long a deletion stays refused until the machine is started anew for it, where sets go at the next start, in seconds.
const REFUSED_START_SECONDS: f64 = 60.0;
/// How long a refused deletion may go on showing no effect, in seconds, and how long after a start: self-tests of large machines are long.
const REFUSED_LIMIT_SECONDS: f64 = 300.0;
const REFUSED_START_LIMIT_SECONDS: f64 = 1_800.0;
const LOOK: Duration = Duration::from_secs(5);
const NOW: Duration = Duration::ZERO;
/// Most storage subsystems looked at.
const SUBSYSTEMS: usize = 32;

const GIB: f64 = 1_073_741_824.0;

impl Redfish {
    async fn subsystems(&self) -> Result<Vec<Subsystem>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let mut out = Vec::new();
        for storage in self.conn.each(&system, "Storage").await?.into_iter().take(SUBSYSTEMS) {
            let Some(volumes) = storage["Volumes"]["@odata.id"].as_str().map(str::to_owned) else { continue };
            let mut drives = Vec::new();
            for path in links(&storage["Drives"]) {
                let Some(drive) = self.conn.maybe(&path).await? else { continue };
                drives.push(Drive {
                    id: drive["Id"].as_str().unwrap_or_default().to_owned(),
                    name: drive["Name"].as_str().unwrap_or_default().to_owned(),
                    bytes: drive["CapacityBytes"].as_u64().unwrap_or(0),
                    media: drive["MediaType"].as_str().unwrap_or_default().to_ascii_lowercase(),
                    protocol: drive["Protocol"].as_str().unwrap_or_default().to_ascii_lowercase(),
                    is_usable: !matches!(drive["Status"]["State"].as_str(), Some("Absent" | "Disabled" | "UnavailableOffline"))
                        && drive["Status"]["Health"] != "Critical",
                    path,
                });
            }
            let mut names: Vec<String> = ["Id", "Name"].iter().filter_map(|it| storage[*it].as_str().map(str::to_owned)).collect();
            for controller in storage["StorageControllers"].as_array().into_iter().flatten() {
                names.extend(["MemberId", "Name"].iter().filter_map(|it| controller[*it].as_str().map(str::to_owned)));
            }
            let collection = match self.conn.maybe(&volumes).await? {
                Some(collection) => collection,
                None => continue,
            };
            let mut there = Vec::new();
            for volume in self.conn.all(&self.conn.members(&volumes).await?).await? {
                let Some(path) = volume["@odata.id"].as_str().map(str::to_owned) else { continue };
                let mut drives = links(&volume["Links"]["Drives"]);
                drives.sort();
                there.push(Volume {
                    path,
                    level: level_of(&volume),
                    bytes: volume["CapacityBytes"].as_u64().unwrap_or(0),
                    name: volume["Name"].as_str().unwrap_or_default().to_owned(),
                    drives,
                });
            }
            let times = collection.pointer("/@Redfish.OperationApplyTimeSupport/SupportedValues").and_then(Value::as_array);
            let has = |word: &str| times.is_some_and(|it| it.iter().any(|it| it == word));
            let apply_time = ["Immediate", "OnReset"].into_iter().find(|it| has(it));
            out.push(Subsystem { names, collection: volumes, drives, volumes: there, apply_time });
        }
        Ok(out)
    }

    pub(super) async fn read_raid(&self) -> Result<Map<String, Value>, BmcError> {
        let mut disks = Vec::new();
        for subsystem in self.subsystems().await? {
            let id_of =
                |path: &String| subsystem.drives.iter().find(|it| it.path == *path).map_or_else(|| path.clone(), |it| it.id.clone());
            for volume in &subsystem.volumes {
                let Some(level) = volume.level else { continue };
                #[expect(clippy::cast_precision_loss, reason = "sizes in gigabytes for people")]
                let size = (volume.bytes as f64 / GIB).floor();
                disks.push(json!({
                    "controller": subsystem.names.first(),
                    "name": volume.name,
                    "volume_name": volume.name,
                    "raid_level": level.ironic,
                    "size_gb": size,
                    "physical_disks": volume.drives.iter().map(id_of).collect::<Vec<_>>(),
                }));
            }
        }
        Ok(Map::from_iter([("logical_disks".to_owned(), Value::Array(disks))]))
    }

    /// `raid.create_configuration`, and `raid.apply_configuration`, whose sets come with it.
    pub(super) async fn create_raid(&self, step: &Step, memory: &Value) -> Result<StepProgress, BmcError> {
        let given = step.args.get("raid_config").and_then(Value::as_object);
        let wanted = given.unwrap_or(&self.target_raid_config);
        let Some(disks) = wanted.get("logical_disks").and_then(Value::as_array).filter(|it| !it.is_empty()) else {
            return Ok(StepProgress::Failed("Node has no target RAID configuration.".into()));
        };
        let (root, others) = (arg_bool(step, "create_root_volume", true), arg_bool(step, "create_nonroot_volumes", true));
        let is_root = |it: &&Value| it["is_root_volume"].as_bool().unwrap_or(false);
        let disks: Vec<Value> = disks.iter().filter(|it| if is_root(it) { root } else { others }).cloned().collect();
        if arg_bool(step, "delete_existing", step.step == "apply_configuration") && memory["deleted"] != true {
            return Ok(match self.delete_raid(memory).await? {
                // Written down before the first set is made, so that none of the new is taken for an old one.
                StepProgress::Done => again(json!({"deleted": true}), NOW, "the old RAID sets are gone", false),
                other => other,
            });
        }
        let mut memory = memory.as_object().cloned().unwrap_or_default();
        let started = memory.get("since").and_then(Value::as_i64).map_or_else(Timestamp::now, Timestamp);
        memory.insert("since".into(), json!(started.0));
        let mut posted = memory.get("posted").and_then(Value::as_array).cloned().unwrap_or_default();
        let taken: Vec<String> = posted.iter().flat_map(|it| links(&it["drives"])).collect();
        let subsystems = self.subsystems().await?;
        let asked: Vec<usize> = posted.iter().filter_map(|it| it["n"].as_u64()).filter_map(|it| usize::try_from(it).ok()).collect();
        let planned = match plan(&disks, &subsystems, &taken, &asked) {
            Ok(planned) => planned,
            Err(why) => return Ok(StepProgress::Failed(why)),
        };
        let open: Vec<usize> = planned.iter().filter(|it| !it.is_there).map(|it| it.number).collect();
        if open.is_empty() {
            return Ok(StepProgress::Done);
        }
        if Timestamp::now().seconds_since(started) > LIMIT_SECONDS {
            return Ok(StepProgress::Failed("the RAID sets did not come to be in time".into()));
        }
        let (mut needs_start, mut said) = (false, String::new());
        for item in &posted {
            if !open.iter().any(|n| item["n"] == *n) {
                continue;
            }
            let state = match item["task"].as_str() {
                Some(task) => self.task(task).await?,
                None if item["on_reset"] == true => TaskState::NeedsStart("it is made at the next start".into()),
                None => TaskState::Done,
            };
            let at = Timestamp(item["at"].as_i64().unwrap_or(started.0));
            match state {
                TaskState::Failed(why) => return Ok(StepProgress::Failed(format!("a RAID set could not be made: {why}"))),
                TaskState::NeedsStart(words) => (needs_start, said) = (true, words),
                TaskState::Running(words) => said = words,
                TaskState::Done | TaskState::Gone if memory.get("started").is_none() && item["on_reset"] == true => needs_start = true,
                TaskState::Done | TaskState::Gone if Timestamp::now().seconds_since(at) > SHOW_SECONDS && item["on_reset"] != true => {
                    return Ok(StepProgress::Failed("a RAID set was accepted and is not there".into()));
                }
                TaskState::Done | TaskState::Gone => {}
            }
        }
        if let Some(next) = planned.iter().find(|it| !it.is_there && !asked.contains(&it.number)) {
            let Some(subsystem) = subsystems.get(next.subsystem) else {
                return Ok(StepProgress::Failed("the storage controller vanished".into()));
            };
            // What a process that died left behind is waited for, not asked for again.
            let under_way = self.task_of(&subsystem.collection).await?;
            let known = posted.iter().any(|it| it["task"].as_str().is_some() && it["task"].as_str() == under_way.as_deref());
            let task = match under_way.filter(|_| !known) {
                Some(task) => Some(task),
                None => {
                    let mut body = next.body();
                    if let Some(time) = subsystem.apply_time {
                        body.insert("@Redfish.OperationApplyTime".into(), json!(time));
                    }
                    monitor(&self.conn.post(&subsystem.collection, &Value::Object(body)).await?)
                }
            };
            let drives: Vec<Value> = next.drives.iter().map(|it| json!({ "@odata.id": it })).collect();
            let on_reset = subsystem.apply_time == Some("OnReset");
            posted.push(json!({"n": next.number, "task": task, "drives": drives, "at": Timestamp::now().0, "on_reset": on_reset}));
            memory.insert("posted".into(), Value::Array(posted));
            return Ok(again(Value::Object(memory), NOW, "a RAID set is being made", false));
        }
        let reboot = needs_start && memory.get("started").is_none();
        if reboot {
            memory.insert("started".into(), json!(true));
        }
        Ok(again(Value::Object(memory), LOOK, &format!("{} RAID sets are not there yet: {said}", open.len()), reboot))
    }

    /// `raid.delete_configuration`. One deletion a look, which is written down before the next; many controllers take one at a time only if
    /// it is for the next start (Source: Ironic, redfish/raid.py). A refusal of what is still there may mean that it is to go already,
    /// because a process that died asked for it, or that another must go first: it ends the step only if it stays.
    pub(super) async fn delete_raid(&self, memory: &Value) -> Result<StepProgress, BmcError> {
        let now = Timestamp::now();
        let mut memory = memory.as_object().cloned().unwrap_or_default();
        let started = memory.get("since").and_then(Value::as_i64).map_or(now, Timestamp);
        memory.insert("since".into(), json!(started.0));
        // Earlier versions noted only that there was a restart.
        let restarted = memory.get("restarted").map(|it| it.as_i64().map_or(started, Timestamp));
        let awaits_start = |asked: Timestamp| restarted.is_none_or(|it| asked > it);
        let mut posted = memory.get("deletes").and_then(Value::as_object).cloned().unwrap_or_default();
        let (mut left, mut asked, mut goes_on, mut needs_start, mut said) = (0_usize, false, false, false, String::new());
        for subsystem in self.subsystems().await? {
            let on_reset = subsystem.apply_time == Some("OnReset");
            let volumes: Vec<&Volume> = subsystem.volumes.iter().filter(|it| it.level.is_some()).collect();
            left += volumes.len();
            let mut under_way = 0_usize;
            for volume in &volumes {
                let Some(entry) = posted.get(&volume.path).filter(|it| it["refused"].is_null()) else { continue };
                let at = moment(entry, "at", started);
                let state = match entry["task"].as_str() {
                    Some(task) => self.task(task).await?,
                    None if on_reset => TaskState::NeedsStart("it goes at the next start".into()),
                    None => TaskState::Done,
                };
                match state {
                    TaskState::Failed(why) => return Ok(StepProgress::Failed(format!("a RAID set could not be deleted: {why}"))),
                    TaskState::NeedsStart(words) => {
                        needs_start |= awaits_start(at);
                        said = words;
                    }
                    TaskState::Running(words) => said = words,
                    TaskState::Done | TaskState::Gone if on_reset => needs_start |= awaits_start(at),
                    TaskState::Done | TaskState::Gone if now.seconds_since(at) > SHOW_SECONDS => {
                        // Done, it was said, and it is there: asked anew.
                        posted.remove(&volume.path);
                        continue;
                    }
                    TaskState::Done | TaskState::Gone => {}
                }
                under_way += 1;
            }
            let is_refused = |it: &&&Volume| {
                let age = |entry: &Value| now.seconds_since(moment(entry, "at", started));
                posted.get(&it.path).is_some_and(|it| !it["refused"].is_null() && age(it) > REFUSED_AGAIN_SECONDS)
            };
            let new = volumes.iter().find(|it| !posted.contains_key(&it.path));
            let next = new.or_else(|| volumes.iter().find(is_refused).filter(|_| under_way == 0));
            if let Some(volume) = next.filter(|_| !asked) {
                asked = true;
                let mut entry = self.ask_deletion(&volume.path, on_reset).await?;
                let is_refused = !entry["refused"].is_null();
                if let Some(known) = posted.get(&volume.path).filter(|_| is_refused) {
                    entry["first"] = known["first"].clone();
                }
                posted.insert(volume.path.clone(), entry);
                if new.is_some() || !is_refused {
                    // Written down before anything else is looked at.
                    goes_on = true;
                    break;
                }
            }
            // Others may be left to be asked.
            goes_on |= volumes.iter().any(|it| !posted.contains_key(&it.path));
            if goes_on || under_way > 0 {
                continue;
            }
            for entry in volumes.iter().filter_map(|it| posted.get(&it.path)) {
                let Some(why) = entry["refused"].as_str() else { continue };
                why.clone_into(&mut said);
                let first = moment(entry, "first", now);
                needs_start |= on_reset && awaits_start(first) && now.seconds_since(first) > REFUSED_START_SECONDS;
                let patience = if on_reset { REFUSED_START_LIMIT_SECONDS } else { REFUSED_LIMIT_SECONDS };
                let since = restarted.map_or(first, |it| it.max(first));
                if entry["busy"] != true && now.seconds_since(since) > patience {
                    return Ok(StepProgress::Failed(format!("a RAID set could not be deleted: {why}")));
                }
            }
        }
        if left == 0 {
            return Ok(StepProgress::Done);
        }
        if now.seconds_since(started) > LIMIT_SECONDS {
            return Ok(StepProgress::Failed("the RAID sets did not go in time".into()));
        }
        memory.insert("deletes".into(), Value::Object(posted));
        let reboot = needs_start && !goes_on;
        if reboot {
            memory.insert("restarted".into(), json!(now.0));
        }
        let after = if goes_on { NOW } else { Duration::from_secs(2) };
        Ok(again(Value::Object(memory), after, &format!("{left} RAID sets are not gone yet: {said}"), reboot))
    }

    /// Asks for the deletion of one volume; what is to be remembered of it.
    ///
    /// # Errors
    /// See [`BmcError`]; but a refusal is remembered.
    async fn ask_deletion(&self, path: &str, on_reset: bool) -> Result<Value, BmcError> {
        let at = Timestamp::now().0;
        // What a process that died left behind is waited for, not asked for again.
        if let Some(task) = self.task_of(path).await? {
            return Ok(json!({"task": task, "on_reset": on_reset, "at": at}));
        }
        let time = json!({"@Redfish.OperationApplyTime": "OnReset"});
        let answer = self.conn.raw(Method::DELETE, path, on_reset.then_some(&time), &[]).await?;
        // What is not there any more is soon not listed.
        if answer.is_success() || matches!(answer.status, 404 | 410) {
            return Ok(json!({"task": monitor(&answer), "on_reset": on_reset, "at": at}));
        }
        match self.conn.judged(&answer) {
            BmcError::Rejected { reason, .. } => Ok(json!({"refused": reason, "first": at, "at": at})),
            BmcError::Conflict { reason, .. } => Ok(json!({"refused": reason, "busy": true, "first": at, "at": at})),
            error => Err(error),
        }
    }
}

/// A moment that was remembered.
fn moment(entry: &Value, key: &str, otherwise: Timestamp) -> Timestamp {
    entry[key].as_i64().map_or(otherwise, Timestamp)
}

fn again(memory: Value, after: Duration, reason: &str, reboot: bool) -> StepProgress {
    StepProgress::Again { memory, after, reason: reason.trim_end_matches(": ").to_owned(), reboot }
}
