//! `/v2.0/cofferdam/switches`: which switches there are, how they are reached, and what was seen of them.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::fabric::{DRIVERS, Declared, DriftPolicy, OverlayDesired, Switch, SwitchDesired, SwitchPort, lag_pool};
use model::identity::Project;
use model::{Id, Object, Sealer as _, Secret, Timestamp};
use serde_json::{Value, json};
use store::{Query, Severity};

use super::fabric::{declared, moment, port_name, word};
use super::flow_classifiers::conflict;
use super::noun::{Body, Field, Form, Noun, Work, field, routes as noun_routes};
use super::{Ask, port_parts, quarantine};
use crate::App;
use crate::failure::Failure;
use crate::identity::sealed;
use crate::resource::{put, value};

/// What is shown in place of a secret, and what a body may have in its place to leave it as it is.
const MASK: &str = "******";
/// The fields that are secrets.
const SECRETS: [&str; 4] = ["password", "private_key", "enable_password", "key"];
/// Longest secret or certificate, in characters.
const LONGEST: usize = 65_536;
/// Most uplinks of a switch.
const MOST_UPLINKS: usize = 512;

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<Switch>()
}

/// What is known beside switches.
#[derive(Default)]
pub(crate) struct Around {
    physical_network: String,
}

type Switches = Object<Switch>;

/// Checks a secret without ever repeating it; empty or null: there is none any more.
fn secret(v: &Value) -> Result<Option<&str>, String> {
    match v {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text.contains('\0') => Err("it contains a NUL".into()),
        Value::String(text) if text.chars().count() > LONGEST => Err(format!("it exceeds the maximum length of {LONGEST}")),
        Value::String(text) => Ok(Some(text)),
        _ => Err("it is not a string".into()),
    }
}

/// The same of a private key in PEM.
fn private_key(v: &Value) -> Result<Option<&str>, String> {
    let read = secret(v)?;
    let is_key = |text: &str| text == MASK || (text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----"));
    if read.is_none_or(is_key) { Ok(read) } else { Err("it is not a private key in PEM form".into()) }
}

/// Certificates in PEM; empty: none.
fn pem(v: &Value) -> Result<Option<String>, String> {
    let text = value::text(v, LONGEST).map_err(|_| "it is no text, or too long".to_owned())?;
    match text.is_empty() {
        true => Ok(None),
        false if text.contains("-----BEGIN CERTIFICATE-----") => Ok(Some(text)),
        false => Err("it is not a certificate in PEM form".into()),
    }
}

/// A fingerprint as `ssh-keygen -l` shows it; empty: none is pinned.
fn host_key(v: &Value) -> Result<Option<String>, String> {
    let text = value::text(v, 100)?;
    let digest = text.strip_prefix("SHA256:").map(|it| it.trim_end_matches('='));
    let is_digest = |it: &str| it.len() == 43 && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"+/".contains(&it));
    match digest {
        _ if text.is_empty() => Ok(None),
        Some(digest) if is_digest(digest) => Ok(Some(format!("SHA256:{digest}"))),
        _ => Err(format!("{text:?} is not a fingerprint such as ssh-keygen -l shows: SHA256 and 43 characters of base64")),
    }
}

fn driver(v: &Value) -> Result<String, String> {
    let text = value::text(v, 64)?;
    if DRIVERS.contains(&text.as_str()) { Ok(text) } else { Err(format!("'{text}' is not one of {}", DRIVERS.join(", "))) }
}

/// `unix:PATH`, or a host and a port after an optional scheme.
fn endpoint(v: &Value) -> Result<String, String> {
    let text = word(v, 255)?;
    let is_place = |rest: &str| {
        let (host, port) = rest.rsplit_once(':').unwrap_or_default();
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|it| it > 0)
    };
    let fits = match text.split_once(':') {
        Some(("unix", path)) => path.starts_with('/'),
        Some(("tcp" | "ssl" | "ssh", rest)) => is_place(rest),
        _ => is_place(&text),
    };
    if fits { Ok(text) } else { Err(format!("'{text}' is not unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT, ssh:HOST:PORT or HOST:PORT")) }
}

fn uplinks(v: &Value) -> Result<BTreeSet<String>, String> {
    match v {
        Value::Null => Ok(BTreeSet::new()),
        Value::Array(items) if items.len() <= MOST_UPLINKS => items.iter().map(port_name).collect(),
        _ => Err(format!("it is not a list of at most {MOST_UPLINKS} names of ports")),
    }
}

fn overlay(v: &Value) -> Result<Option<OverlayDesired>, String> {
    if v.is_null() {
        return Ok(None);
    }
    let read: OverlayDesired = serde_json::from_value(v.clone()).map_err(|why| format!("it has not the form {{vtep, bgp_as}}: {why}"))?;
    word(&json!(read.vtep), 64)?;
    if read.bgp_as == 0 { Err("bgp_as is to be the number of an autonomous system".into()) } else { Ok(Some(read)) }
}

fn drift(v: &Value) -> Result<DriftPolicy, String> {
    match v.as_str() {
        Some("repair") => Ok(DriftPolicy::Repair),
        Some("report") => Ok(DriftPolicy::Report),
        _ => Err(format!("{v} is not 'repair' or 'report'")),
    }
}

/// Shown masked if there is one.
fn masked(it: &Switches, name: &str) -> Value {
    if it.desired.sealed.contains_key(name) { json!(MASK) } else { Value::Null }
}

/// Whether the circuit breaker is closed (all is well), open (it is not tried) or half open (the next look decides).
fn breaker(it: &Switches) -> &'static str {
    match it.observed.retry_at {
        Some(at) if at > Timestamp::now() => "open",
        Some(_) if it.observed.failures > 0 => "half-open",
        _ => "closed",
    }
}

/// How it is reached, and who logs in.
fn reached() -> Vec<Field<Switch>> {
    vec![
        field("driver", |it: &Switches, _: &Around| json!(it.desired.driver))
            .set(|it, v| put(&mut it.desired.driver, driver(v)))
            .required()
            .sort(),
        field("endpoint", |it: &Switches, _: &Around| json!(it.desired.endpoint))
            .set(|it, v| put(&mut it.desired.endpoint, endpoint(v)))
            .required()
            .sort(),
        field("bridge", |it: &Switches, _: &Around| json!(it.desired.bridge)).set(|it, v| put(&mut it.desired.bridge, word(v, 64))).sort(),
        field("username", |it: &Switches, _: &Around| json!(it.desired.username))
            .set(|it, v| put(&mut it.desired.username, word(v, 255)))
            .sort(),
        // What is given is sealed when all else was found right.
        field("password", |it: &Switches, _: &Around| masked(it, "password")).set(|_, v| secret(v).map(drop)),
        field("private_key", |it: &Switches, _: &Around| masked(it, "private_key")).set(|_, v| private_key(v).map(drop)),
        field("enable_password", |it: &Switches, _: &Around| masked(it, "enable_password")).set(|_, v| secret(v).map(drop)),
        field("key", |it: &Switches, _: &Around| masked(it, "key")).set(|_, v| private_key(v).map(drop)),
        field("host_key", |it: &Switches, _: &Around| json!(it.desired.host_key)).set(|it, v| put(&mut it.desired.host_key, host_key(v))),
        field("trust_on_first_use", |it: &Switches, _: &Around| json!(it.desired.trust_on_first_use))
            .set(|it, v| put(&mut it.desired.trust_on_first_use, value::boolean(v)))
            .filter(),
        field("ca", |it: &Switches, _: &Around| json!(it.desired.ca)).set(|it, v| put(&mut it.desired.ca, pem(v))),
        field("certificate", |it: &Switches, _: &Around| json!(it.desired.certificate))
            .set(|it, v| put(&mut it.desired.certificate, pem(v))),
    ]
}

/// What was seen.
fn seen() -> Vec<Field<Switch>> {
    vec![
        field("read_at", |it: &Switches, _: &Around| moment(it.observed.read_at)).sort(),
        field("reading", |it: &Switches, _: &Around| json!(it.observed.reading)),
        field("fault", |it: &Switches, _: &Around| json!(it.observed.fault)).filter(),
        field("failures", |it: &Switches, _: &Around| json!(it.observed.failures)).sort(),
        field("breaker", |it: &Switches, _: &Around| json!(breaker(it))).filter(),
        field("retry_at", |it: &Switches, _: &Around| moment(it.observed.retry_at)),
        field("vlans", |it: &Switches, _: &Around| json!(it.observed.vlans)).filter(),
        field("vnis", |it: &Switches, _: &Around| it.observed.vnis.iter().map(|(vlan, vni)| json!({"vlan": vlan, "vni": vni})).collect()),
        field("uplink_vlans", |it: &Switches, _: &Around| json!(it.observed.uplink_vlans)),
        field("differences", |it: &Switches, _: &Around| json!(it.observed.differences)),
        field("foreign", |it: &Switches, _: &Around| json!(it.observed.foreign)),
        field("drifts", |it: &Switches, _: &Around| json!(it.observed.drifts)).sort(),
        field("last_drift", |it: &Switches, _: &Around| json!(it.observed.last_drift)),
        field("drifted_at", |it: &Switches, _: &Around| moment(it.observed.drifted_at)).sort(),
        field("contested", |it: &Switches, _: &Around| json!(it.observed.contested)).sort(),
        field("commits", |it: &Switches, _: &Around| json!(it.observed.commits)).sort(),
        field("commit_ms", |it: &Switches, _: &Around| json!(it.observed.commit_ms)),
        field("seen_host_key", |it: &Switches, _: &Around| json!(it.observed.host_key)),
    ]
}

static FORM: LazyLock<Form<Switch>> = LazyLock::new(|| {
    let wanted = vec![
        field("name", |it: &Switches, _: &Around| json!(it.name))
            .set_once(|it, v| {
                let text = value::text(v, 64)?;
                it.id = Id::parse(&text).ok_or_else(|| format!("{text:?} is not 1 to 64 letters, digits, '.', '_', ':' or '-'"))?;
                it.name = text;
                Ok(())
            })
            .required()
            .sort(),
        field("switch_id", |it: &Switches, _: &Around| json!(it.desired.switch_id))
            .set(|it, v| {
                let is_none = v.is_null() || v == "";
                put(&mut it.desired.switch_id, if is_none { Ok(String::new()) } else { port_parts::mac(v) })
            })
            .sort(),
        field("uplinks", |it: &Switches, _: &Around| json!(it.desired.uplinks))
            .set(|it, v| put(&mut it.desired.uplinks, uplinks(v)))
            .filter(),
        field("overlay", |it: &Switches, _: &Around| json!(it.desired.overlay)).set(|it, v| put(&mut it.desired.overlay, overlay(v))),
        // There is one fabric: what is given is held against its name.
        field("physical_network", |_, around: &Around| json!(around.physical_network)).set(|_, v| value::text(v, 64).map(drop)).filter(),
        field("drift", |it: &Switches, _: &Around| json!(it.desired.drift)).set(|it, v| put(&mut it.desired.drift, drift(v))).filter(),
        field("describe", |it: &Switches, _: &Around| json!(it.desired.describe))
            .set(|it, v| put(&mut it.desired.describe, value::boolean(v)))
            .filter(),
        field("read_only", |it: &Switches, _: &Around| json!(it.desired.read_only))
            .set(|it, v| put(&mut it.desired.read_only, value::boolean(v)))
            .filter(),
        field("admin_state_up", |it: &Switches, _: &Around| json!(!it.desired.paused))
            .set(|it, v| put(&mut it.desired.paused, value::boolean(v).map(|it| !it)))
            .filter(),
        field("declared_in", |it: &Switches, _: &Around| json!(declared(it.desired.declared))).sort(),
    ];
    Form::new("switch", "switches", "cofferdam/switches", "SwitchNotFound", "Switch")
        .ownerless()
        .fields(wanted)
        .fields(reached())
        .fields(seen())
        .stamped()
});

/// Seals the secrets of a body into the switch.
async fn seal(ask: &Ask, switch: &mut Switches, body: &Body) -> Result<(), Failure> {
    let mut ring = None;
    for name in SECRETS {
        let Some(given) = body.get(name) else { continue };
        match secret(given).map_err(Failure::BadRequest)? {
            None => drop(switch.desired.sealed.remove(name)),
            Some(MASK) => {}
            Some(text) => {
                let ring = match &mut ring {
                    Some(ring) => ring,
                    none => none.insert(sealed::ring(&ask.app).await?),
                };
                let sealed = ring.seal(&Secret::new(text)).map_err(|error| Failure::Internal(format!("the keys of secrets: {error}")))?;
                switch.desired.sealed.insert(name.to_owned(), sealed.text().to_owned());
            }
        }
    }
    Ok(())
}

/// What holds for a switch among the others.
async fn check(work: &mut Work<'_>, switch: &Switches, body: &Body) -> Result<(), Failure> {
    work.in_turn("switches").await;
    let fabric = &work.ask.app.settings.fabric.physical_network;
    if let Some(given) = body.get("physical_network").filter(|it| *it != fabric.as_str() && !it.is_null()) {
        return Err(Failure::BadRequest(format!(
            "Invalid input for physical_network. Reason: {given} is not the fabric, which is '{fabric}'."
        )));
    }
    if switch.desired.certificate.is_some() != switch.desired.sealed.contains_key("key") {
        return Err(Failure::BadRequest("Invalid input for certificate. Reason: a certificate and its key go together.".into()));
    }
    if !switch.desired.switch_id.is_empty() {
        let others = work.ask.app.store.list(&Query::<Switch>::new()).await?;
        let same = |it: &&Switches| it.id != switch.id && it.desired.switch_id == switch.desired.switch_id;
        if let Some(other) = others.iter().find(same) {
            let text = format!("Switch {} has the switch_id {} already.", other.id, switch.desired.switch_id);
            return Err(conflict("SwitchIdInUse", text));
        }
    }
    if !switch.desired.uplinks.is_empty() {
        let rows = work.ask.app.store.list(&Query::<SwitchPort>::new().column("switch", [switch.id.to_string()])).await?;
        let name = |spelled: &String| (work.ask.app.settings.fabric.port_name)(&switch.desired.driver, spelled);
        let uplinks: BTreeSet<String> = switch.desired.uplinks.iter().map(name).collect();
        if let Some(row) = rows.iter().find(|it| uplinks.contains(&name(&it.desired.port))) {
            let text = format!(
                "Port {} of switch {} is one of the switch ports: let it go before it becomes an uplink.",
                row.desired.port, switch.id
            );
            return Err(conflict("SwitchPortInUse", text));
        }
    }
    Ok(())
}

/// Switches of the configuration file are changed there.
fn check_declared(switch: &Switches) -> Result<(), Failure> {
    match switch.desired.declared {
        Declared::Api => Ok(()),
        Declared::File => {
            Err(conflict("SwitchDeclaredInFile", format!("Switch {} is declared in the configuration file: change it there.", switch.id)))
        }
        Declared::Withdrawn => {
            let text =
                format!("Switch {} was taken out of the configuration file: put it back, or delete it and declare it here.", switch.id);
            Err(conflict("SwitchDeclaredInFile", text))
        }
    }
}

impl Noun for Switch {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<SwitchDesired, Failure> {
        Ok(SwitchDesired { declared: Declared::Api, ..SwitchDesired::default() })
    }

    async fn around(ask: &Ask, _: &[Object<Self>]) -> Result<Around, Failure> {
        Ok(Around { physical_network: ask.app.settings.fabric.physical_network.clone() })
    }

    async fn create(work: &mut Work<'_>, switch: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        seal(work.ask, switch, body).await?;
        check(work, switch, body).await?;
        if work.made::<Self>().any(|it| it.id == switch.id) || work.ask.app.store.get(&switch.id).await?.is_some() {
            return Err(conflict("SwitchExists", format!("There is a switch {} already.", switch.id)));
        }
        let line = json!({"by": work.ask.caller.user_id, "driver": switch.desired.driver, "endpoint": switch.desired.endpoint});
        work.step(|batch| batch.wake(&switch.id).history(&switch.id, Severity::Info, "declared", &line));
        Ok(())
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        check_declared(before)?;
        seal(work.ask, after, body).await?;
        check(work, after, body).await?;
        let changed: Vec<&str> = body.keys().map(String::as_str).collect();
        let line = json!({"by": work.ask.caller.user_id, "fields": changed});
        work.step(|batch| batch.wake(&after.id).history(&after.id, Severity::Info, "declared otherwise", &line));
        Ok(())
    }

    /// Only when nothing of it is held, and nothing waits for it to be read: a proof that is owed does not end with the one who owes it.
    async fn delete(work: &mut Work<'_>, switch: &Object<Self>) -> Result<(), Failure> {
        if switch.desired.declared == Declared::File {
            check_declared(switch)?;
        }
        let in_use = |why: String| Failure::named(StatusCode::CONFLICT, "SwitchInUse", format!("Switch {} is in use: {why}.", switch.id));
        let store = &work.ask.app.store;
        let rows = store.list(&Query::<SwitchPort>::new().column("switch", [switch.id.to_string()])).await?;
        let held: Vec<&str> = rows.iter().filter(|it| !it.is_free()).map(|it| it.desired.port.as_str()).collect();
        if !held.is_empty() {
            return Err(in_use(format!("its ports {} are held or in quarantine", held.join(", "))));
        }
        let waiting = quarantine::waiting_for(work.ask, switch).await?;
        if !waiting.is_empty() {
            return Err(in_use(format!("{} wait in quarantine for it to be read", waiting.join(", "))));
        }
        let line = json!({"by": work.ask.caller.user_id, "ports": rows.iter().map(|it| it.desired.port.as_str()).collect::<Vec<_>>()});
        work.step(|batch| {
            let batch = rows.iter().fold(batch, |batch, row| batch.remove(row)).forget_pool(&lag_pool(&switch.id));
            // The engine forgets it, when it has let go of it.
            batch.mark_deleted(switch).wake(&switch.id).history(&switch.id, Severity::Warning, "no longer declared", &line)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_a_switch() {
        for right in ["unix:/run/db.sock", "tcp:10.0.0.1:6640", "ssl:[fd00::1]:6640", "ssh:leaf1.example:22", "10.0.0.1:57400"] {
            assert_eq!(endpoint(&json!(right)).as_deref(), Ok(right));
        }
        for wrong in ["", "unix:db.sock", "tcp:10.0.0.1", "ssh::22", "leaf1", "leaf1:0", "leaf1:70000", "ssh:a b:22", "http://leaf1:80"] {
            assert!(endpoint(&json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        for wrong in [json!(["hunter2"]), json!({"hunter2": 1}), json!("hunter2\0"), json!("hunter2".repeat(LONGEST))] {
            let why = secret(&wrong).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
        let why = private_key(&json!("hunter2")).unwrap_err();
        assert!(!why.contains("hunter2"), "{why}");
        assert_eq!(secret(&json!("")), Ok(None));
        assert!(private_key(&json!("-----BEGIN OPENSSH PRIVATE KEY-----\nx")).is_ok());
    }

    #[test]
    fn fingerprints() {
        let right = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8";
        assert_eq!(host_key(&json!(right)), Ok(Some(right.to_owned())));
        assert_eq!(host_key(&json!(format!("{right}="))), Ok(Some(right.to_owned())));
        assert_eq!(host_key(&Value::Null), Ok(None));
        for wrong in ["SHA256:x", "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", &right[7..]] {
            assert!(host_key(&json!(wrong)).is_err(), "{wrong}");
        }
    }
}
