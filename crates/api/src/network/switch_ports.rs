//! `/v2.0/cofferdam/switch-ports`: the ports of switches that are ours, what each is for, and what was read back of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use axum::Router;
use model::fabric::{PortUse, Switch, SwitchPort, SwitchPortDesired, lag_pool};
use model::identity::Project;
use model::net::Port;
use model::{Id, Object, Timestamp};
use serde_json::{Value, json};
use store::{Query, Severity};

use super::Ask;
use super::fabric::{moment, port_name, use_shown};
use super::flow_classifiers::conflict;
use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<SwitchPort>()
}

type Row = Object<SwitchPort>;

/// What is read beside switch ports.
#[derive(Default)]
pub(crate) struct Around {
    /// What their holders still wait for.
    reasons: BTreeMap<Id<Port>, String>,
    /// What operators noted about ports, by switch and port.
    notes: BTreeMap<Id<Switch>, BTreeMap<String, String>>,
}

impl Around {
    fn note(&self, row: &Row) -> &str {
        self.notes.get(&row.desired.switch).and_then(|it| it.get(&row.desired.port)).map_or("", String::as_str)
    }
}

/// Notes something about a port, or nothing any more.
async fn note(work: &mut Work<'_>, row: &Row, text: &str) -> Result<(), Failure> {
    let (switch, port) = (&row.desired.switch, &row.desired.port);
    let Some(mut switch) = work.ask.app.store.get(switch).await? else { return Ok(()) };
    let before = switch.desired.notes.get(port).map_or("", String::as_str);
    if before == text {
        return Ok(());
    }
    match text {
        "" => drop(switch.desired.notes.remove(port)),
        text => drop(switch.desired.notes.insert(port.clone(), text.to_owned())),
    }
    work.step(|batch| batch.want(&switch));
    Ok(())
}

/// An operator's word, as shown.
pub(super) fn forced(it: &Row) -> Value {
    json!(it.desired.forced.as_ref().map(|it| json!({"by": it.by, "reason": it.reason, "at": it.at.iso_micros()})))
}

static FORM: LazyLock<Form<SwitchPort>> = LazyLock::new(|| {
    Form::new("switch_port", "switch_ports", "cofferdam/switch-ports", "SwitchPortNotFound", "Switch port")
        .ownerless()
        .fields(vec![
            field("switch", |it: &Row, _: &Around| json!(it.desired.switch))
                .set_once(|it, v| {
                    let text = value::text(v, 64)?;
                    it.desired.switch = Id::parse(&text).ok_or_else(|| format!("{text:?} is not the name of a switch"))?;
                    Ok(())
                })
                .required()
                .column("switch")
                .sort(),
            field("port", |it: &Row, _: &Around| json!(it.desired.port))
                .set_once(|it, v| put(&mut it.desired.port, port_name(v)))
                .required()
                .sort(),
            field("wanted", |it: &Row, _: &Around| use_shown(&it.desired.wanted)),
            field("vlans", |it: &Row, _: &Around| json!(it.desired.wanted.vlans())).link("vlan"),
            field("holder", |it: &Row, _: &Around| json!(it.desired.holder)).column("holder").sort(),
            field("holder_waits_for", |it: &Row, around: &Around| {
                json!(it.desired.holder.as_ref().and_then(|it| around.reasons.get(it)).map_or("", String::as_str))
            }),
            field("since", |it: &Row, _: &Around| json!(it.desired.since.iso_micros())).sort(),
            field("lag", |it: &Row, _: &Around| json!(it.desired.lag)),
            field("forced", |it: &Row, _: &Around| forced(it)),
            field("description", |it: &Row, around: &Around| json!(around.note(it))).set_later(|_, v| value::text(v, 255).map(drop)).sort(),
            field("state", |it: &Row, _: &Around| json!(it.state().as_str())).sort(),
            field("seen", |it: &Row, _: &Around| json!(it.observed.seen.as_ref().map(use_shown))),
            field("note", |it: &Row, _: &Around| json!(it.observed.note)).filter(),
            field("refused", |it: &Row, _: &Around| json!(it.observed.refused)).filter(),
            field("refused_at", |it: &Row, _: &Around| moment(it.observed.refused_at)),
            field("read_at", |it: &Row, _: &Around| moment(it.observed.read_at)).sort(),
            field("reading", |it: &Row, _: &Around| json!(it.observed.reading)),
            field("proven_at", |it: &Row, _: &Around| moment(it.proof().map(|it| it.read_at))).sort(),
        ])
        .stamped()
});

impl Noun for SwitchPort {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<SwitchPortDesired, Failure> {
        Ok(SwitchPortDesired {
            switch: Id::random(),
            port: String::new(),
            wanted: PortUse::Isolated,
            holder: None,
            since: Timestamp::now(),
            lag: None,
            forced: None,
        })
    }

    async fn admit(work: &mut Work<'_>, row: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let switch = named::<Switch>(work.ask, &row.desired.switch).await?;
        let name = |spelled: &str| (work.ask.app.settings.fabric.port_name)(&switch.desired.driver, spelled);
        row.desired.port = name(&row.desired.port);
        row.id = SwitchPortDesired::id_of(&switch.id, &row.desired.port);
        row.name = format!("{}/{}", switch.id, row.desired.port);
        if switch.desired.uplinks.iter().any(|it| name(it) == row.desired.port) {
            return Err(conflict("SwitchPortIsUplink", format!("Port {} of switch {} is an uplink.", row.desired.port, switch.id)));
        }
        Ok(())
    }

    /// Takes a port under our care: from now on it is isolated unless somebody holds it.
    async fn create(work: &mut Work<'_>, row: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        if work.made::<Self>().any(|it| it.id == row.id) || work.ask.app.store.get(&row.id).await?.is_some() {
            let text = format!("Port {} of switch {} is one of the switch ports already.", row.desired.port, row.desired.switch);
            return Err(conflict("SwitchPortExists", text));
        }
        let line = json!({"by": work.ask.caller.user_id, "port": row.desired.port});
        let (id, switch) = (row.id.clone(), row.desired.switch.clone());
        work.step(|batch| {
            let batch = batch.require(&switch).wake(&switch);
            batch.history(&id, Severity::Info, "taken under our care", &line)
        });
        Ok(())
    }

    async fn around(ask: &Ask, rows: &[Object<Self>]) -> Result<Around, Failure> {
        let switches: BTreeSet<String> = rows.iter().map(|it| it.desired.switch.to_string()).collect();
        let switches = if switches.is_empty() { Vec::new() } else { ask.app.store.list(&Query::<Switch>::new().ids(switches)).await? };
        let holders: BTreeSet<String> = rows.iter().filter_map(|it| it.desired.holder.as_ref()).map(ToString::to_string).collect();
        let query = Query::<Port>::new().with_deleted().ids(holders.clone());
        let holders = if holders.is_empty() { Vec::new() } else { ask.app.store.list(&query).await? };
        Ok(Around {
            reasons: holders.into_iter().map(|it| (it.id, it.observed.reason)).collect(),
            notes: switches.into_iter().map(|it| (it.id, it.desired.notes)).collect(),
        })
    }

    async fn update(work: &mut Work<'_>, _: &Object<Self>, row: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        match body.get("description").map(|it| value::text(it, 255)) {
            Some(Ok(text)) => note(work, row, &text).await,
            Some(Err(why)) => Err(Failure::BadRequest(why)),
            None => Ok(()),
        }
    }

    /// Lets a port go: it stays as it is on the switch and is not looked at any more.
    async fn delete(work: &mut Work<'_>, row: &Object<Self>) -> Result<(), Failure> {
        let (port, switch) = (&row.desired.port, &row.desired.switch);
        if let Some(holder) = &row.desired.holder {
            let how = if row.desired.wanted == PortUse::Isolated { "in quarantine after" } else { "held by" };
            return Err(conflict("SwitchPortInUse", format!("Port {port} of switch {switch} is {how} port {holder}.")));
        }
        note(work, row, "").await?;
        let line = json!({"by": work.ask.caller.user_id, "port": port});
        work.step(|batch| {
            let batch = batch.remove(row).free_held(&lag_pool(switch), row.id.as_str()).wake(switch).history(
                &row.id,
                Severity::Warning,
                "no longer under our care",
                &line,
            );
            batch.history(switch, Severity::Warning, "a port is no longer under our care", &line)
        });
        Ok(())
    }
}
