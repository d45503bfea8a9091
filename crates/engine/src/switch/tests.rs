//! Looks at a switch of paper: what is asked of it, how often, and what is believed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use drivers::Fut;
use drivers::switch::plan::{Change, plan};
use drivers::switch::{Ensured, Facts, IsolatesBy, PortSeen, VlanSeen};
use model::Id;
use model::fabric::{Declared, Forced, PortUse, SwitchDesired, SwitchPortDesired, reads_asked};
use store::{Batch, Claim};

use super::*;
use crate::BaremetalConfig;
use crate::outside::World;
use crate::runtime::Shared;

const FACTS: Facts = Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: false, has_lags: true, saves: true };

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

/// Does what it is asked for, except with some ports.
#[derive(Default)]
struct Paper(Mutex<State>);

#[derive(Default)]
struct State {
    seen: SwitchSeen,
    refuses: BTreeSet<String>,
    /// How often something was asked for that it refuses.
    refused: u32,
    saves: u32,
}

impl Paper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn carries(&self, port: &str, id: u16) {
        self.state().seen.ports.insert(port.into(), PortSeen::from(SeenMode::Known(PortMode::Access(vlan(id)))));
    }

    fn declares(&self, id: u16, name: Option<&str>) {
        let entry = VlanSeen { name: name.map(str::to_owned), running: true, saved: true, ..VlanSeen::default() };
        self.state().seen.vlans.insert(vlan(id), entry);
    }
}

impl Driver for Paper {
    fn facts(&self) -> Facts {
        FACTS
    }

    fn observe(&self) -> Fut<'_, Result<SwitchSeen, SwitchError>> {
        Box::pin(async { Ok(self.state().seen.clone()) })
    }

    fn ensure<'a>(&'a self, wanted: &'a SwitchWanted) -> Fut<'a, Result<Ensured, SwitchError>> {
        Box::pin(async move {
            let mut it = self.state();
            let before = it.seen.clone();
            let plan = plan(wanted, &before, &FACTS, vlan(4094)).unwrap();
            for change in &plan.changes {
                if let Change::SetPort { port, .. } = change
                    && it.refuses.contains(port)
                {
                    it.refused += 1;
                    return Err(SwitchError::Rejected { switch: "leaf1".into(), reason: format!("{port}: no") });
                }
            }
            for change in &plan.changes {
                match change {
                    Change::SetPort { port, mode, .. } => {
                        it.seen.ports.insert(port.clone(), PortSeen::from(SeenMode::Known(mode.clone())));
                    }
                    Change::AddVlan { vlan, name } => {
                        let entry = VlanSeen { name: Some(name.clone()), running: true, saved: true, ..VlanSeen::default() };
                        it.seen.vlans.insert(*vlan, entry);
                    }
                    Change::RemoveVlan { vlan, .. } => drop(it.seen.vlans.remove(vlan)),
                    _ => {}
                }
            }
            it.saves += u32::from(plan.save);
            Ok(Ensured { before, after: it.seen.clone(), committed: !plan.is_empty() })
        })
    }
}

/// A switch of the ledger.
struct Desk {
    cx: Cx,
    switch: Id<Switch>,
    paper: Paper,
    _dir: tempfile::TempDir,
}

impl Desk {
    async fn new(driver: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared: Arc<Shared> = crate::testing::shared(dir.path(), BaremetalConfig::default(), Box::new(World)).await;
        let switch = Id::parse("leaf1").unwrap();
        let desired = SwitchDesired { declared: Declared::Api, driver: driver.into(), ..SwitchDesired::default() };
        shared.store.apply(Batch::wishes().create(&Object::new(switch.clone(), None, "leaf1", desired)).wake(&switch)).await.unwrap();
        let claim: Claim = shared.store.claim("w", Duration::from_secs(600)).await.unwrap().unwrap();
        Self { cx: Cx { shared, claim }, switch, paper: Paper::default(), _dir: dir }
    }

    async fn take(&self, port: &str, change: impl FnOnce(&mut Object<SwitchPort>)) -> Id<SwitchPort> {
        let mut row = crate::port::isolated(&self.switch, port);
        change(&mut row);
        self.cx.store.apply(Batch::wishes().create(&row)).await.unwrap();
        row.id
    }

    async fn switch(&self) -> Object<Switch> {
        self.cx.store.get(&self.switch).await.unwrap().unwrap()
    }

    async fn rows(&self) -> Vec<Object<SwitchPort>> {
        self.cx.store.list(&Query::<SwitchPort>::new().column("switch", [self.switch.to_string()])).await.unwrap()
    }

    async fn row(&self, id: &Id<SwitchPort>) -> Object<SwitchPort> {
        self.cx.store.get(id).await.unwrap().unwrap()
    }

    /// Has the port refused that much longer ago.
    async fn age(&self, id: &Id<SwitchPort>, seconds: i64) {
        let mut row = self.row(id).await;
        row.observed.refused_at = row.observed.refused_at.map(|it| it.plus_seconds(-seconds));
        self.cx.store.apply(self.cx.facts().observe(&row)).await.unwrap();
    }

    /// Has the port refused just now, and this often in a row.
    async fn refuse_anew(&self, id: &Id<SwitchPort>, refusals: u32) {
        let mut row = self.row(id).await;
        (row.observed.refused_at, row.observed.refusals) = (Some(Timestamp::now()), refusals);
        self.cx.store.apply(self.cx.facts().observe(&row)).await.unwrap();
    }

    /// One look; when the next is to be, and how often it asked in vain.
    async fn look(&self) -> (Duration, u32) {
        let before = self.paper.state().refused;
        let Ok(Next::Again(next)) = look(&self.cx, self.switch().await, &self.paper, &self.rows().await).await else {
            panic!("a look that ends otherwise")
        };
        (next, self.paper.state().refused - before)
    }
}

#[tokio::test]
async fn what_was_refused_is_asked_for_when_something_changed_but_not_all_the_time() {
    let desk = Desk::new("cisco_nxos").await;
    let port = desk.take("p1", |_| {}).await;
    let other = desk.take("p2", |_| {}).await;
    desk.paper.declares(100, Some("cofferdam-100"));
    desk.paper.carries("p1", 100);
    desk.paper.carries("p2", 100);
    desk.paper.state().refuses.insert("p1".into());
    assert!(desk.look().await.1 > 0);
    assert!(desk.row(&other).await.is_free(), "the others get theirs");
    let (next, asked) = desk.look().await;
    assert!(asked == 0 && next > Duration::from_secs(20), "nothing changed: {next:?}");
    assert!(desk.row(&port).await.observed.note.contains("the switch refused it"));

    // The switch is otherwise: at once, and if it refuses again, a little later each time.
    desk.age(&port, 2).await;
    assert_eq!(desk.look().await.1, 0, "it is the same as it was");
    desk.paper.carries("p9", 7);
    assert_eq!(desk.look().await, (Duration::ZERO, 0));
    assert!(desk.look().await.1 > 0, "asked again");
    assert_eq!(desk.row(&port).await.observed.refusals, 2);
    for nth in 0..10 {
        desk.paper.carries("p9", 10 + nth);
        // So often that a look of a slow machine ends before it is asked for again.
        desk.refuse_anew(&port, 6).await;
        let (next, asked) = desk.look().await;
        assert!(asked == 0 && next > Duration::ZERO && next <= Duration::from_secs(32), "{nth}: {asked} times, next in {next:?}");
    }
    desk.refuse_anew(&port, 2).await;
    // Whatever happens on a switch that refuses for ever, it is asked once a minute in the end.
    let mut tries = 0;
    for nth in 0..240_u16 {
        desk.paper.carries("p9", 10 + nth % 50);
        desk.age(&port, 1).await;
        tries += u32::from(desk.look().await.1 > 0);
    }
    assert!((4..=9).contains(&tries), "{tries} tries in four minutes");

    // An operator is not kept waiting.
    desk.cx.store.apply(Batch::wishes().bump(&reads_asked(&desk.switch))).await.unwrap();
    assert!(desk.look().await.1 > 0);
    assert_eq!(desk.look().await.1, 0, "once");
    // Nor is another wish.
    let mut row = desk.row(&port).await;
    row.desired.turn(PortUse::Access(vlan(100)));
    desk.paper.carries("p1", 101);
    desk.cx.store.apply(Batch::wishes().want(&row)).await.unwrap();
    assert!(desk.look().await.1 > 0);
    assert_eq!(desk.row(&port).await.observed.refusals, 1, "that is another refusal");
    assert_eq!(desk.look().await.1, 0);

    desk.paper.state().refuses.clear();
    desk.cx.store.apply(Batch::wishes().bump(&reads_asked(&desk.switch))).await.unwrap();
    desk.look().await;
    let row = desk.row(&port).await;
    assert!(row.proof().is_some() && row.observed.refused.is_empty() && row.observed.refusals == 0, "{:?}", row.observed);
}

#[tokio::test]
async fn a_vlan_of_somebody_else_without_a_name_does_not_keep_a_switch_busy() {
    let desk = Desk::new("cisco_nxos").await;
    let port = desk.take("p1", |_| {}).await;
    let theirs = desk.cx.config.fabric.vlan_range.first.get() + 20;
    desk.paper.declares(theirs, None);
    desk.paper.carries("p9", theirs);
    desk.paper.carries("p1", 1);
    let mut saves = Vec::new();
    for _ in 0..4 {
        desk.look().await;
        saves.push(desk.paper.state().saves);
    }
    assert_eq!(saves, [1, 1, 1, 1], "saved with the change, and then never again");
    assert!(desk.row(&port).await.is_free());
    let seen = desk.switch().await.observed;
    assert_eq!((seen.fault.as_str(), seen.failures, seen.commits), ("", 0, 1), "{:?}", seen.differences);
    assert!(seen.foreign.iter().any(|it| it.contains(&format!("VLAN {theirs}")) && it.contains("p9")), "{:?}", seen.foreign);
    assert!(seen.vlans.contains(&vlan(theirs)), "nobody is given it meanwhile");

    desk.paper.state().seen.ports.remove("p9");
    desk.look().await;
    assert!(!desk.paper.state().seen.vlans.contains_key(&vlan(theirs)), "nobody uses it any more");
}

#[tokio::test]
async fn a_renamed_port_keeps_what_is_noted_of_it_and_no_void_word() {
    let desk = Desk::new("cisco_nxos").await;
    let word = Forced { by: "me".into(), reason: "seen with own eyes".into(), at: Timestamp::now() };
    let since = Timestamp::now().plus_seconds(-500);
    let freed = desk.take("eth1/1", |it| it.desired.forced = Some(word.clone())).await;
    // This one was read later than the word was given.
    desk.take("eth1/2", |it| {
        it.desired.forced = Some(word.clone());
        it.observed.seen = Some(PortUse::Isolated);
        it.observed.generation = it.generation;
        it.observed.proven = it.generation;
        it.observed.read_at = Some(Timestamp::now());
    })
    .await;
    desk.take("eth1/3", |it| {
        it.desired.since = since;
        it.desired.wanted = PortUse::Access(vlan(100));
        it.desired.holder = Some(Id::random());
        it.created_at = since;
    })
    .await;
    desk.take("Ethernet1/4", |_| {}).await;
    let mut switch = desk.switch().await;
    for (port, text) in [("eth1/1", "rack 3"), ("eth1/2", "old"), ("Ethernet1/2", "new"), ("Ethernet1/4", "as it was"), ("eth1/9", "spare")]
    {
        switch.desired.notes.insert(port.into(), text.into());
    }
    desk.cx.store.apply(Batch::wishes().want(&switch)).await.unwrap();
    let mut rounds = 0;
    while names::rename_one(&desk.cx, &desk.switch().await, &desk.rows().await).await.unwrap() {
        rounds += 1;
        assert!(rounds < 10, "it does not end");
    }
    let notes = desk.switch().await.desired.notes;
    let expected = [("1/1", "rack 3"), ("1/2", "new; old"), ("1/4", "as it was"), ("1/9", "spare")];
    assert_eq!(notes, expected.map(|(port, text)| (format!("Ethernet{port}"), text.to_owned())).into());
    let row = async |port: &str| desk.row(&SwitchPortDesired::id_of(&desk.switch, port)).await;
    assert!(row("Ethernet1/1").await.is_free(), "the operator's word goes on");
    let void = row("Ethernet1/2").await;
    assert!(!void.is_free() && void.desired.forced.is_none(), "a void word must not come to life again: {void:?}");
    let held = row("Ethernet1/3").await;
    assert_eq!((held.desired.since, held.created_at), (since, since));
    assert!(held.desired.holder.is_some() && held.desired.wanted == PortUse::Access(vlan(100)));
    let lines = desk.cx.store.history("switch_port", SwitchPortDesired::id_of(&desk.switch, "Ethernet1/1").as_str(), 9).await.unwrap();
    assert_eq!(lines[0].detail["history_of"], freed.as_str(), "{lines:?}");
}
