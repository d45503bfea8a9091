//! Nodes that have their power from another one: a parent is on before its child is switched on, and what has its power from a node is off
//! before the node is switched off.
//!
//! The other node's power is asked for as a user asks for it, in the write that notes since when (`supply_since`): its own conductor, of
//! whatever group, changes it, while nothing else is done on that node, and once, whoever dies. What was asked is void as soon as whoever
//! asked does not wait for it any more, so that nothing is switched late for nobody.
//!
//! A node that is to go off notes that before it looks at its children; a child that is to be switched on is seen to be busy before it looks
//! at its parent. So one of two that meet sees the other, and if both do the parent gives way: nobody is cut off in a job, and nobody waits
//! for one who waits for him. Whatever else is waited for has an end.
//!
//! Source: Ironic 39, `node_power_action` of `conductor/utils.py`: which changes have to do with parents and children, and that who is
//! locked is not touched.

use std::time::Duration;

use futures_util::StreamExt as _;
use model::baremetal::{AskedBy, Conductor, Interface, Node, PowerRequest, PowerState, PowerVerb, ProvisionState, supplier};
use model::{Id, Object, Timestamp};
use serde_json::json;
use store::{Query, Severity};

use super::children::{is_in_job, is_taken, pending_power};
use super::{Machine, WAIT, hardware};
use crate::runtime::{Fault, Look, Next};

/// How long others are waited for until what needs them has failed, in seconds.
const LIMIT: f64 = 180.0;
/// How long the BMC of another node is waited for.
const READ: Duration = Duration::from_secs(5);
/// How many BMCs are read at once.
const WIDTH: usize = 16;
/// How soon a job tries again what others refused.
const AGAIN: Duration = Duration::from_secs(10);

/// How it stands with the power of others.
pub(super) enum Supply {
    /// As it has to be.
    Ready,
    /// Somebody is waited for.
    Wait(String),
    /// It will not be.
    Failed(String),
}

impl Machine<'_> {
    /// What comes before a power change that was asked for is begun; else how this look ends.
    pub(super) async fn supply_first(mut self, verb: PowerVerb, request: &PowerRequest) -> Result<Self, Look> {
        let asker = request.asked_by.as_ref();
        if let Some(by) = asker.filter(|it| it.since.is_some()) {
            match self.cx.store.get(&by.node).await {
                Ok(Some(node)) if node.observed.supply_since == by.since => {}
                Ok(_) => return Err(self.power_void(request).await),
                Err(error) => return Err(Err(error.into())),
            }
            if is_in_job(&self.node) {
                let why = format!("{} was asked for by node {}, but it is in a job", verb.as_str(), by.node);
                return Err(self.power_ended(request, None, Some(why)).await);
            }
        }
        let off_before = self.node.observed.power == Some(PowerState::Off);
        let switched_on = verb == PowerVerb::On || (verb == PowerVerb::Reboot && off_before);
        let fed = match verb {
            PowerVerb::Off | PowerVerb::SoftOff | PowerVerb::SoftReboot => match self.fed().await {
                Ok(fed) => fed,
                Err(fault) => return Err(Err(fault)),
            },
            PowerVerb::On | PowerVerb::Reboot => Vec::new(),
        };
        let has_parent = switched_on && supplier(&self.node).is_some();
        if verb == PowerVerb::SoftReboot {
            // Ironic restarts it and asks nobody; but it is off for a moment.
            return match fed.iter().find(|it| is_in_job(it)) {
                Some(child) => {
                    let why = format!("its child node {} is in a job that needs its power", child.id);
                    Err(self.power_ended(request, None, Some(why)).await)
                }
                None => Ok(self),
            };
        }
        if verb == PowerVerb::Reboot && !has_parent || (asker.is_none() && fed.is_empty() && !has_parent) {
            return Ok(self);
        }
        // What is as it is to be is left alone, and so is everybody else.
        let read = match self.bmc() {
            Ok(bmc) => bmc.power().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(drivers::bmc::PowerState::On) if verb == PowerVerb::On => {
                return Err(self.power_ended(request, Some(PowerState::On), None).await);
            }
            Ok(drivers::bmc::PowerState::Off) if verb.target() == PowerState::Off => {
                return Err(self.power_ended(request, Some(PowerState::Off), None).await);
            }
            // Nobody is switched off for one that cannot be.
            Err(error) if !fed.is_empty() => return Err(self.power_late(request, error).await),
            // What has no power does not answer.
            Ok(_) | Err(_) => {}
        }
        let supply = if switched_on {
            self.supplied(asker.map(|it| &it.node)).await
        } else {
            self.fed_off(verb, request.timeout_seconds, asker.map(|it| &it.node)).await
        };
        match supply {
            Ok(Supply::Ready) => Ok(self),
            Ok(Supply::Wait(why)) => Err(self.wait(&why, WAIT).await),
            Ok(Supply::Failed(why)) => Err(self.power_ended(request, None, Some(why)).await),
            Err(fault) => Err(Err(fault)),
        }
    }

    /// Nobody waits for what was asked: nothing is done, and nothing is said to be wrong.
    async fn power_void(mut self, request: &PowerRequest) -> Look {
        self.node.observed.handled_power = request.seq;
        self.node.observed.supply_since = None;
        self.save().await?;
        Ok(Next::Again(Duration::ZERO))
    }

    /// Whether the parent was switched on for it just now: what has its power from there may need a while to answer.
    pub(super) fn is_newly_fed(&self) -> bool {
        supplier(&self.node).is_some()
            && self.node.observed.supply_since.is_some_and(|at| (0.0..LIMIT).contains(&Timestamp::now().seconds_since(at)))
    }

    /// Since when others are waited for, and whether that has been too long. What began in the future is begun anew: the clock was set back.
    fn waiting_since(&self, limit: f64) -> (Option<Timestamp>, bool) {
        let now = Timestamp::now();
        let since = self.node.observed.supply_since.filter(|it| *it <= now);
        (since, since.is_some_and(|it| now.seconds_since(it) > limit))
    }

    /// Notes since when others are waited for.
    async fn begin_supply(&mut self, reason: &str) -> Result<Timestamp, Fault> {
        if let (Some(since), _) = self.waiting_since(LIMIT) {
            return Ok(since);
        }
        let since = Timestamp::now();
        self.node.observed.supply_since = Some(since);
        reason.clone_into(&mut self.node.observed.reason);
        self.save().await?;
        Ok(since)
    }

    /// Whether it has power where it has that from its parent; switches the parent on if it has not. `asker`: for whose sake.
    pub(super) async fn supplied(&mut self, asker: Option<&Id<Node>>) -> Result<Supply, Fault> {
        let Some(id) = supplier(&self.node).cloned() else { return Ok(Supply::Ready) };
        let Some(parent) = self.cx.store.get(&id).await? else {
            return Ok(Supply::Failed(format!("its parent node {id}, from which it has its power, is not there")));
        };
        let (since, late) = self.waiting_since(LIMIT);
        let asked = parent.desired.power_request.as_ref();
        let mine =
            asked.filter(|it| it.asked_by.as_ref().is_some_and(|by| by.node == self.node.id && by.since.is_some() && by.since == since));
        match (mine, &parent.observed.last_error) {
            (Some(mine), why) if parent.observed.handled_power >= mine.seq => {
                return Ok(match why {
                    Some(why) => Supply::Failed(format!("its parent node {id} could not be switched on: {}", self.told_why(&parent, why))),
                    None => Supply::Ready,
                });
            }
            (Some(_), _) if late => return Ok(Supply::Failed(format!("its parent node {id} was not switched on within {LIMIT} s"))),
            (Some(_), _) => return Ok(Supply::Wait(format!("its parent node {id} is being switched on"))),
            (None, _) => {}
        }
        // A parent that is to go off looks at its children first, and gives way to those that are busy.
        let leaving = parent.observed.supply_since.is_some();
        if self.power_of(&parent).await == Some(PowerState::On) && !leaving {
            return Ok(Supply::Ready);
        }
        if asker == Some(&id) {
            return Ok(Supply::Failed(format!("its parent node {id}, from which it has its power, is off and waits for it")));
        }
        if leaving || is_taken(&parent) {
            let why = format!("its parent node {id}, from which it has its power, is being worked on and not on");
            if late {
                return Ok(Supply::Failed(format!("{why}, for more than {LIMIT} s")));
            }
            self.begin_supply(&why).await?;
            return Ok(Supply::Wait(why));
        }
        if late {
            return Ok(Supply::Failed(format!("its parent node {id} did not stay on")));
        }
        // Whose switch ports were never read may be on anybody's network.
        if parent.observed.state == ProvisionState::Enroll && parent.desired.interface(Interface::Network) == "neutron" {
            return Ok(Supply::Failed(format!("its parent node {id} is off, and enrolled only: it is not switched on for others")));
        }
        if let Some(why) = self.unserved(&parent).await? {
            return Ok(Supply::Failed(format!("its parent node {id} is off, and {why}")));
        }
        let reason = format!("node {} has its power from it and is to be switched on", self.node.id);
        self.ask_others(vec![parent], PowerVerb::On, None, &format!("its parent node {id} is being switched on"), &reason).await
    }

    /// The nodes that have their power from it.
    async fn fed(&self) -> Result<Vec<Object<Node>>, Fault> {
        let children = self.cx.store.list(&Query::<Node>::new().column("parent_node", [self.node.id.to_string()])).await?;
        Ok(children.into_iter().filter(|it| supplier(it) == Some(&self.node.id)).collect())
    }

    /// Whether what has its power from it is off; switches it off if not. Who is busy is not touched, and then nobody is. While it is
    /// ready none of them begins anything.
    pub(super) async fn fed_off(&mut self, verb: PowerVerb, timeout: Option<u32>, asker: Option<&Id<Node>>) -> Result<Supply, Fault> {
        if self.fed().await?.is_empty() {
            return Ok(Supply::Ready);
        }
        let since = self.begin_supply("the nodes that have their power from it are seen to first").await?;
        let soft = if verb == PowerVerb::SoftOff { timeout.unwrap_or(self.cx.config.baremetal.soft_power_off_timeout_seconds) } else { 0 };
        let (_, late) = self.waiting_since(LIMIT + f64::from(soft));
        // Read after it was written down that they are looked at.
        let mut fed = self.fed().await?;
        fed.retain(|it| asker != Some(&it.id));
        let mine = |it: &Object<Node>| {
            let by = it.desired.power_request.as_ref().and_then(|request| request.asked_by.as_ref());
            by.is_some_and(|by| by.node == self.node.id && by.since == Some(since))
        };
        for it in &fed {
            let goes_off = pending_power(it).is_some_and(|verb| verb.target() == PowerState::Off);
            if is_in_job(it) || (is_taken(it) && !goes_off) {
                return Ok(Supply::Failed(format!("its child node {}, which has its power from it, is being worked on", it.id)));
            }
        }
        let going = fed.iter().find(|it| pending_power(it).is_some()).map(|it| it.id.clone());
        if let Some((it, why)) =
            fed.iter().filter(|it| mine(it) && pending_power(it).is_none()).find_map(|it| Some((it, it.observed.last_error.as_ref()?)))
        {
            return Ok(Supply::Failed(format!("its child node {} could not be switched off: {}", it.id, self.told_why(it, why))));
        }
        fed.retain(|it| !mine(it) && pending_power(it).is_none());
        let looks = fed.into_iter().map(|it| async { (self.power_of(&it).await, it) });
        let on: Vec<_> = futures_util::stream::iter(looks).buffer_unordered(WIDTH).collect().await;
        let on: Vec<Object<Node>> = on.into_iter().filter(|(power, _)| *power != Some(PowerState::Off)).map(|it| it.1).collect();
        if on.is_empty() {
            return Ok(match going {
                None => Supply::Ready,
                Some(id) if late => {
                    Supply::Failed(format!("its child node {id} was not switched off within {} s", LIMIT + f64::from(soft)))
                }
                Some(id) => Supply::Wait(format!("its child node {id} is being switched off")),
            });
        }
        if late {
            return Ok(Supply::Failed("the nodes that have their power from it did not stay off".into()));
        }
        if let Some(it) = on.iter().find(|it| it.desired.disable_power_off) {
            return Ok(Supply::Failed(format!(
                "its child node {}, which has its power from it, is never switched off (disable_power_off)",
                it.id
            )));
        }
        for it in &on {
            if let Some(why) = self.unserved(it).await? {
                return Ok(Supply::Failed(format!("its child node {} is on, and {why}", it.id)));
            }
        }
        let count = on.len();
        let reason = format!("node {}, from which it has its power, is to be switched off", self.node.id);
        self.ask_others(on, verb, timeout, &format!("{count} child nodes are being switched off"), &reason).await
    }

    /// Asks for the power of others, and notes that it did, in one write.
    async fn ask_others(
        &mut self,
        others: Vec<Object<Node>>,
        verb: PowerVerb,
        timeout_seconds: Option<u32>,
        shown: &str,
        reason: &str,
    ) -> Result<Supply, Fault> {
        let since = self.begin_supply(shown).await?;
        shown.clone_into(&mut self.node.observed.reason);
        let by = AskedBy { node: self.node.id.clone(), since: Some(since) };
        self.save_with(|batch| {
            others.into_iter().fold(batch, |batch, mut other| {
                let seq = other.desired.power_request.as_ref().map_or(0, |it| it.seq).max(other.observed.handled_power) + 1;
                other.desired.power_request = Some(PowerRequest { seq, verb, timeout_seconds, asked_by: Some(by.clone()) });
                let event = format!("asked: {}", verb.as_str());
                batch.want(&other).wake(&other.id).history(&other.id, Severity::Info, &event, &json!({ "reason": reason }))
            })
        })
        .await?;
        Ok(Supply::Wait(shown.to_owned()))
    }

    /// What is wrong with another node, as far as who sees this one's errors sees its, too.
    fn told_why<'w>(&self, other: &Object<Node>, why: &'w str) -> &'w str {
        let (ours, theirs) = (&self.node.desired, &other.desired);
        if ours.owner == theirs.owner && ours.lessee == theirs.lessee { why } else { "its last_error says why" }
    }

    /// The power of another node: as its BMC says now, or where this process does not ask that, as was last heard. What does not answer is
    /// known only if it was off.
    async fn power_of(&self, node: &Object<Node>) -> Option<PowerState> {
        if node.desired.conductor_group != self.cx.conductor.group {
            return node.observed.power;
        }
        let read = async { self.cx.outside.bmc(hardware(node, &node.desired)).ok()?.power().await.ok() };
        match tokio::time::timeout(READ, read).await {
            Ok(Some(drivers::bmc::PowerState::On)) => Some(PowerState::On),
            Ok(Some(drivers::bmc::PowerState::Off)) => Some(PowerState::Off),
            Ok(Some(drivers::bmc::PowerState::Changing)) => None,
            Ok(None) | Err(_) => node.observed.power.filter(|it| *it == PowerState::Off),
        }
    }

    /// That nobody would change the power of a node, if so.
    async fn unserved(&self, node: &Object<Node>) -> Result<Option<String>, Fault> {
        let group = &node.desired.conductor_group;
        if *group == self.cx.conductor.group {
            return Ok(None);
        }
        let now = self.cx.store.now().await?;
        let all = self.cx.store.list(&Query::<Conductor>::new()).await?;
        let alive = all.iter().any(|it| it.desired.is_alive(now) && it.desired.serves(group, &node.desired.driver));
        Ok((!alive).then(|| format!("no conductor of its conductor group '{group}' is alive")))
    }

    /// For a job that is to switch the machine on or needs its BMC: what is waited for first, and how soon to look again.
    pub(super) async fn supply_for_job(&mut self) -> Result<Option<(String, Duration)>, Fault> {
        match self.supplied(None).await? {
            Supply::Ready => Ok(None),
            Supply::Wait(why) => Ok(Some((why, WAIT))),
            Supply::Failed(why) => self.supply_again(why).await.map(Some),
        }
    }

    /// For a job that is to switch the machine off: the same.
    pub(super) async fn fed_off_for_job(&mut self) -> Result<Option<(String, Duration)>, Fault> {
        match self.fed_off(PowerVerb::Off, None, None).await? {
            Supply::Ready => Ok(None),
            Supply::Wait(why) => Ok(Some((why, WAIT))),
            Supply::Failed(why) => self.supply_again(why).await.map(Some),
        }
    }

    /// A job tries it anew later, for as long as it waits for BMCs.
    async fn supply_again(&mut self, why: String) -> Result<(String, Duration), Fault> {
        if self.node.observed.supply_since.take().is_some() {
            why.clone_into(&mut self.node.observed.reason);
            self.save().await?;
        }
        Ok((why, AGAIN))
    }

    /// A job is held up by other nodes: it waits, or has failed if that has lasted too long.
    pub(super) async fn held_up(self, (why, after): (String, Duration)) -> Look {
        if self.is_overdue() { self.fail(&why).await } else { self.wait(&why, after).await }
    }
}
