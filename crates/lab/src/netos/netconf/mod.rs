//! A NETCONF server over SSH with OpenConfig: a candidate, confirmed commits that are taken back, a startup of its own, locks.
//!
//! Source: RFC 6241 (protocol), RFC 6242 (SSH, framing).

mod data;
mod frame;
mod xml;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use self::data::{Operation, Refusal};
use self::frame::{Incoming, send};
use self::xml::{BASE, Element, escape, parse};
use super::device::{Committed, Config, Device};
use super::faults::{Then, Verdict};
use super::openconfig;
use super::openconfig::schema::Module;
use super::os::registry::{Registry, lock};
use super::os::{Running, Stream};

/// What a client has to say its hello in.
const HELLO: Duration = Duration::from_secs(60);
/// How long a commit waits for its confirmation if nothing else is said (RFC 6241, section 8.4.1).
const CONFIRM: u64 = 600;

const CAPABILITIES: &[&str] = &[
    "urn:ietf:params:netconf:base:1.0",
    "urn:ietf:params:netconf:base:1.1",
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
    "urn:ietf:params:netconf:capability:rollback-on-error:1.0",
    "urn:ietf:params:netconf:capability:validate:1.0",
    "urn:ietf:params:netconf:capability:validate:1.1",
    "urn:ietf:params:netconf:capability:startup:1.0",
];

static SHARED: Registry<Shared> = Registry::new();

/// What the sessions of a switch share.
#[derive(Default)]
struct Shared {
    last: u64,
    /// The candidate, if it was changed.
    candidate: Option<Value>,
    /// Who holds the lock of a datastore.
    locks: BTreeMap<&'static str, u64>,
    sessions: HashMap<u64, Arc<Notify>>,
    confirming: Option<Confirming>,
}

/// A commit that is taken back unless it is confirmed.
struct Confirming {
    before: Arc<Config>,
    after: Arc<Config>,
    owner: u64,
    persist: Option<String>,
    timer: AbortHandle,
}

/// Serves a session until it ends.
pub(crate) fn serve(device: &Arc<Device>, stream: Box<dyn Stream>) -> Running {
    let device = Arc::clone(device);
    Box::pin(async move {
        let shared = SHARED.of(&device);
        let killed = Arc::new(Notify::new());
        let id = {
            let mut shared = lock(&shared);
            shared.last += 1;
            let id = shared.last;
            shared.sessions.insert(id, Arc::clone(&killed));
            id
        };
        let session = Session { device, shared, id };
        tokio::select! {
            ended = session.run(stream) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a NETCONF session with a simulated switch ended");
                }
            }
            () = killed.notified() => {}
        }
    })
}

struct Session {
    device: Arc<Device>,
    shared: Arc<Mutex<Shared>>,
    id: u64,
}

impl Drop for Session {
    /// However the session ends: its locks go, what it left in a locked candidate too, and its unconfirmed commit is taken back.
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.sessions.remove(&self.id);
        let held = shared.locks.get("candidate") == Some(&self.id);
        shared.locks.retain(|_, owner| *owner != self.id);
        if held || self.device.is_down() {
            shared.candidate = None;
        }
        if shared.confirming.as_ref().is_some_and(|it| it.owner == self.id && it.persist.is_none()) {
            take_back(&self.device, &mut shared);
        }
    }
}

/// Takes an unconfirmed commit back, unless the switch has started anew since.
fn take_back(device: &Device, shared: &mut Shared) {
    let Some(it) = shared.confirming.take() else { return };
    it.timer.abort();
    if !device.is_down() && Arc::ptr_eq(&device.running(), &it.after) {
        device.edit(|config| *config = (*it.before).clone());
    }
    shared.candidate = None;
}

/// How a session goes on after a request.
enum Next {
    /// With this answer, `<ok/>` or data.
    Reply(String),
    /// This is the last answer.
    Last,
    /// Not at all.
    Gone(Then),
}

impl Session {
    async fn run(&self, mut stream: Box<dyn Stream>) -> std::io::Result<()> {
        let modules = Module::ALL.iter().map(|it| format!("{}?module={}&revision={}", it.namespace(), it.name(), it.version()));
        let all: String = CAPABILITIES
            .iter()
            .map(|it| (*it).to_owned())
            .chain(modules)
            .map(|it| format!("<capability>{}</capability>", escape(&it)))
            .collect();
        let hello = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><hello xmlns=\"{BASE}\"><capabilities>{all}</capabilities><session-id>{}</session-id></hello>",
            self.id
        );
        self.device.faults().pass().await;
        send(&mut stream, &hello, false).await?;
        let mut incoming = Incoming::default();
        let Ok(theirs) = tokio::time::timeout(HELLO, incoming.message(&mut stream, false)).await else { return Ok(()) };
        let Ok(theirs) = parse(&theirs?) else { return Ok(()) };
        if theirs.name != "hello" || theirs.child("session-id").is_some() {
            return Ok(());
        }
        let offered = |name: &str| theirs.child("capabilities").is_some_and(|it| it.children.iter().any(|it| it.text == name));
        let chunked = offered("urn:ietf:params:netconf:base:1.1");
        if !chunked && !offered("urn:ietf:params:netconf:base:1.0") {
            return Ok(());
        }
        loop {
            let text = incoming.message(&mut stream, chunked).await?;
            self.device.faults().pass().await;
            let (attributes, next) = self.request(&text).await;
            self.device.faults().pass().await;
            let (body, last) = match next {
                Ok(Next::Reply(body)) => (body, false),
                Ok(Next::Last) => ("<ok/>".to_owned(), true),
                Ok(Next::Gone(Then::Hang)) => return std::future::pending().await,
                Ok(Next::Gone(Then::Drop | Then::Refuse)) => return Ok(()),
                Err(refusals) => (refusals.iter().map(Refusal::xml).collect(), false),
            };
            let reply = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><rpc-reply xmlns=\"{BASE}\"{attributes}>{body}</rpc-reply>");
            send(&mut stream, &reply, chunked).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Carries out a request; also what of it belongs into the answer.
    async fn request(&self, text: &str) -> (String, Result<Next, Vec<Refusal>>) {
        let rpc = match parse(text) {
            Ok(rpc) => rpc,
            Err(says) => return (String::new(), Err(vec![Refusal::new("malformed-message", "rpc", says)])),
        };
        let plain = rpc.attributes.iter().filter(|it| it.0.is_empty());
        let attributes: String = plain.map(|(_, name, value)| format!(" {name}=\"{}\"", escape(value))).collect();
        if rpc.name != "rpc" || rpc.namespace != BASE {
            return (attributes, Err(vec![Refusal::new("unknown-element", "rpc", "an rpc is expected")]));
        }
        if rpc.attribute("", "message-id").is_none() {
            let mut refusal = Refusal::new("missing-attribute", "rpc", "message-id is missing");
            refusal.info = "<bad-attribute>message-id</bad-attribute><bad-element>rpc</bad-element>".into();
            return (attributes, Err(vec![refusal]));
        }
        let Some(operation) = rpc.children.first() else {
            return (attributes, Err(vec![Refusal::new("missing-element", "rpc", "an operation is expected")]));
        };
        let faults = self.device.faults();
        match faults.line(text, operation.name == "edit-config") {
            Verdict::Go => {}
            Verdict::Refuse | Verdict::Broken(Then::Refuse) => {
                return (attributes, Err(vec![Refusal::new("operation-failed", "application", "the device refused the operation")]));
            }
            Verdict::Broken(then) => return (attributes, Ok(Next::Gone(then))),
        }
        let takes = match operation.name.as_str() {
            "commit" => faults.commit_delay(),
            "copy-config" => faults.save_delay(),
            _ => Duration::ZERO,
        };
        tokio::time::sleep(takes + faults.line_delay()).await;
        (attributes, self.carry_out(operation))
    }

    fn carry_out(&self, operation: &Element) -> Result<Next, Vec<Refusal>> {
        let ok = || Ok(Next::Reply("<ok/>".to_owned()));
        match operation.name.as_str() {
            "get-config" => {
                let tree = self.datastore(operation.child("source"))?;
                let filter = filter(operation)?;
                Ok(Next::Reply(format!("<data>{}</data>", data::shown(&tree, filter))))
            }
            "get" => {
                let running = self.device.running();
                let tree = openconfig::with_state(&openconfig::tree(&running), &running);
                let filter = filter(operation)?;
                Ok(Next::Reply(format!("<data>{}</data>", data::shown(&tree, filter))))
            }
            "edit-config" => self.edit(operation),
            "lock" | "unlock" => {
                self.lock(operation)?;
                ok()
            }
            "commit" => self.commit(operation),
            "cancel-commit" => {
                let mut shared = lock(&self.shared);
                let id = operation.text_of("persist-id");
                match &shared.confirming {
                    Some(it) if it.persist.as_deref() == id && (id.is_some() || it.owner == self.id) => {
                        take_back(&self.device, &mut shared);
                        ok()
                    }
                    _ => Err(vec![Refusal::new("invalid-value", "application", "no such commit waits for a confirmation")]),
                }
            }
            "discard-changes" => {
                self.guard("candidate")?;
                lock(&self.shared).candidate = None;
                ok()
            }
            "validate" => {
                let tree = self.datastore(operation.child("source"))?;
                self.check(&tree)?;
                ok()
            }
            "copy-config" => self.copy(operation),
            "close-session" => Ok(Next::Last),
            "kill-session" => {
                let target = operation.text_of("session-id").and_then(|it| it.parse::<u64>().ok()).filter(|it| *it != self.id);
                let shared = lock(&self.shared);
                match target.and_then(|it| shared.sessions.get(&it)) {
                    Some(notify) => {
                        notify.notify_one();
                        ok()
                    }
                    None => Err(vec![Refusal::new("invalid-value", "application", "there is no such session")]),
                }
            }
            other => Err(vec![Refusal::new("operation-not-supported", "protocol", format!("there is no operation {other}"))]),
        }
    }

    /// The contents of a datastore that is named as a source.
    fn datastore(&self, source: Option<&Element>) -> Result<Value, Vec<Refusal>> {
        match source.and_then(|it| it.children.first()).map(|it| it.name.as_str()) {
            Some("running") => Ok(openconfig::tree(&self.device.running())),
            Some("startup") => Ok(openconfig::tree(&self.device.startup())),
            Some("candidate") => Ok(self.candidate()),
            Some(other) => Err(vec![Refusal::new("operation-not-supported", "protocol", format!("{other} is not supported here"))]),
            None => Err(vec![Refusal::new("missing-element", "protocol", "a source is expected")]),
        }
    }

    fn candidate(&self) -> Value {
        lock(&self.shared).candidate.clone().unwrap_or_else(|| openconfig::tree(&self.device.running()))
    }

    /// Whether somebody else holds the lock.
    fn guard(&self, datastore: &str) -> Result<(), Vec<Refusal>> {
        match lock(&self.shared).locks.get(datastore) {
            Some(owner) if *owner != self.id => {
                Err(vec![Refusal::new("in-use", "protocol", format!("{datastore} is locked by session {owner}"))])
            }
            _ => Ok(()),
        }
    }

    fn lock(&self, operation: &Element) -> Result<(), Vec<Refusal>> {
        let target = operation.child("target").and_then(|it| it.children.first()).map(|it| it.name.as_str());
        let name = ["running", "candidate", "startup"].into_iter().find(|it| Some(*it) == target);
        let Some(name) = name else { return Err(vec![Refusal::new("invalid-value", "protocol", "there is no such datastore")]) };
        let mut shared = lock(&self.shared);
        let owner = shared.locks.get(name).copied();
        let denied = |owner: u64| {
            let mut it = Refusal::new("lock-denied", "protocol", "the lock is held by another entity");
            it.info = format!("<session-id>{owner}</session-id>");
            Err(vec![it])
        };
        if operation.name == "unlock" {
            if owner != Some(self.id) {
                return Err(vec![Refusal::new("operation-failed", "protocol", "the lock is not held by this session")]);
            }
            shared.locks.remove(name);
            if name == "candidate" {
                shared.candidate = None;
            }
            return Ok(());
        }
        match owner {
            Some(owner) => denied(owner),
            // Somebody left changes without a lock, or a commit waits for its confirmation.
            None if name == "candidate" && shared.candidate.is_some() => denied(0),
            None if name == "running" && shared.confirming.as_ref().is_some_and(|it| it.owner != self.id) => denied(0),
            None => {
                shared.locks.insert(name, self.id);
                Ok(())
            }
        }
    }

    fn edit(&self, operation: &Element) -> Result<Next, Vec<Refusal>> {
        let one = |tag: &'static str, says: String| Err(vec![Refusal::new(tag, "protocol", says)]);
        match operation.child("target").and_then(|it| it.children.first()).map(|it| it.name.as_str()) {
            Some("candidate") => {}
            Some(other) => return one("operation-not-supported", format!("{other} cannot be edited")),
            None => return one("missing-element", "a target is expected".into()),
        }
        self.guard("candidate")?;
        let default = match operation.text_of("default-operation") {
            None => Operation::Merge,
            Some(text) => match Operation::parse(text) {
                Some(it @ (Operation::Merge | Operation::Replace | Operation::None)) => it,
                _ => return one("invalid-value", format!("unknown default-operation {text}")),
            },
        };
        let on_error = operation.text_of("error-option").unwrap_or("stop-on-error");
        if !["stop-on-error", "continue-on-error", "rollback-on-error"].contains(&on_error) {
            return one("invalid-value", format!("unknown error-option {on_error}"));
        }
        let test = operation.text_of("test-option").unwrap_or("test-then-set");
        let Some(config) = operation.child("config") else { return one("missing-element", "a config is expected".into()) };
        let before = self.candidate();
        let mut tree = before.clone();
        let mut refusals = Vec::new();
        for node in &config.children {
            // Each node is done whole or not at all.
            let mut draft = tree.clone();
            match data::edit(&mut draft, node, default) {
                Ok(()) => tree = draft,
                Err(refusal) => {
                    refusals.push(refusal);
                    if on_error != "continue-on-error" {
                        break;
                    }
                }
            }
        }
        openconfig::prune(&mut tree);
        if test == "test-only" {
            return if refusals.is_empty() { Ok(Next::Reply("<ok/>".into())) } else { Err(refusals) };
        }
        if refusals.is_empty() || on_error != "rollback-on-error" {
            let changed = tree != openconfig::tree(&self.device.running());
            lock(&self.shared).candidate = changed.then_some(tree);
        }
        if refusals.is_empty() { Ok(Next::Reply("<ok/>".into())) } else { Err(refusals) }
    }

    fn check(&self, tree: &Value) -> Result<(), Vec<Refusal>> {
        let wrong = openconfig::check(tree, &self.device.running());
        if wrong.is_empty() {
            return Ok(());
        }
        let refusal = |(path, says): (String, String)| Refusal { path, ..Refusal::new("operation-failed", "application", says) };
        Err(wrong.into_iter().map(refusal).collect())
    }

    fn copy(&self, operation: &Element) -> Result<Next, Vec<Refusal>> {
        let name = |what: &str| operation.child(what).and_then(|it| it.children.first()).map(|it| it.name.clone()).unwrap_or_default();
        match (name("source").as_str(), name("target").as_str()) {
            ("running", "startup") => {
                self.guard("startup")?;
                self.device.save();
            }
            (_, "candidate") => {
                self.guard("candidate")?;
                let tree = match operation.child("source").and_then(|it| it.child("config")) {
                    Some(config) => {
                        let mut tree = json!({});
                        for node in &config.children {
                            data::edit(&mut tree, node, Operation::Merge).map_err(|it| vec![it])?;
                        }
                        tree
                    }
                    None => self.datastore(operation.child("source"))?,
                };
                lock(&self.shared).candidate = Some(tree);
            }
            (source, target) => {
                let says = format!("{source} cannot be copied to {target}");
                return Err(vec![Refusal::new("operation-not-supported", "protocol", says)]);
            }
        }
        Ok(Next::Reply("<ok/>".into()))
    }

    fn commit(&self, operation: &Element) -> Result<Next, Vec<Refusal>> {
        self.guard("running")?;
        self.guard("candidate")?;
        let confirmed = operation.child("confirmed").is_some();
        let seconds = match operation.text_of("confirm-timeout") {
            None => CONFIRM,
            Some(text) => match text.parse::<u64>().ok().filter(|it| *it > 0) {
                Some(it) => it,
                None => return Err(vec![Refusal::new("invalid-value", "protocol", format!("{text} is no time"))]),
            },
        };
        let id = operation.text_of("persist-id");
        if let Some(it) = &lock(&self.shared).confirming {
            let may = match &it.persist {
                Some(persist) => id == Some(persist.as_str()),
                None => it.owner == self.id,
            };
            if !may {
                let says = format!("a commit of session {} waits for its confirmation", it.owner);
                return Err(vec![Refusal::new("in-use", "protocol", says)]);
            }
        } else if id.is_some() {
            return Err(vec![Refusal::new("invalid-value", "protocol", "no such commit waits for a confirmation")]);
        }
        let before = self.device.running();
        let tree = self.candidate();
        self.check(&tree)?;
        let config = openconfig::configuration(&tree, &before);
        if config != *before
            && let Committed::Partly(then) = self.device.commit(config)
        {
            return match then {
                Then::Refuse => Err(vec![Refusal::new("operation-failed", "application", "the commit failed on the way")]),
                other => Ok(Next::Gone(other)),
            };
        }
        let mut shared = lock(&self.shared);
        shared.candidate = None;
        let earlier = shared.confirming.take();
        if let Some(it) = &earlier {
            it.timer.abort();
        }
        if confirmed {
            let before = earlier.map_or(before, |it| it.before);
            let (device, state, after) = (Arc::clone(&self.device), Arc::clone(&self.shared), self.device.running());
            let timer = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                take_back(&device, &mut lock(&state));
            });
            let persist = operation.text_of("persist").map(str::to_owned);
            shared.confirming = Some(Confirming { before, after, owner: self.id, persist, timer: timer.abort_handle() });
        }
        Ok(Next::Reply("<ok/>".into()))
    }
}

fn filter(operation: &Element) -> Result<Option<&Element>, Vec<Refusal>> {
    let Some(filter) = operation.child("filter") else { return Ok(None) };
    match filter.attributes.iter().find(|it| it.1 == "type").map(|it| it.2.as_str()) {
        None | Some("subtree") => Ok(Some(filter)),
        Some(other) => {
            let mut it = Refusal::new("bad-attribute", "protocol", format!("filters of type {other} are not supported"));
            it.info = "<bad-attribute>type</bad-attribute><bad-element>filter</bad-element>".into();
            Err(vec![it])
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::io::DuplexStream;

    use super::*;
    use crate::netos::device::{Carried, Rules};

    struct Client {
        stream: DuplexStream,
        incoming: Incoming,
        number: u32,
    }

    impl Client {
        async fn new(device: &Arc<Device>) -> Self {
            let (stream, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(serve(device, Box::new(theirs)));
            let mut out = Self { stream, incoming: Incoming::default(), number: 0 };
            let hello = out.incoming.message(&mut out.stream, false).await.expect("a hello");
            assert!(hello.contains("confirmed-commit:1.1"));
            let ours = format!(
                "<hello xmlns=\"{BASE}\"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>"
            );
            send(&mut out.stream, &ours, false).await.expect("sent");
            out
        }

        async fn ask(&mut self, operation: &str) -> String {
            self.number += 1;
            let rpc = format!("<rpc xmlns=\"{BASE}\" message-id=\"{}\">{operation}</rpc>", self.number);
            send(&mut self.stream, &rpc, true).await.expect("sent");
            let reply = self.incoming.message(&mut self.stream, true).await.expect("an answer");
            assert!(reply.contains(&format!("message-id=\"{}\"", self.number)), "{reply}");
            reply
        }

        async fn taken(&mut self, operation: &str) -> String {
            let reply = self.ask(operation).await;
            assert!(!reply.contains("rpc-error"), "{operation}: {reply}");
            reply
        }

        async fn refused(&mut self, operation: &str, tag: &str) {
            let reply = self.ask(operation).await;
            assert!(reply.contains(&format!("<error-tag>{tag}</error-tag>")), "{operation}: {reply}");
        }
    }

    fn switch() -> Arc<Device> {
        let rules = Rules { declares_vlans: true, native_must_be_allowed: false };
        Arc::new(Device::new([2; 6], rules, openconfig::factory("leaf1", 3)))
    }

    fn access(port: &str, vlan: u16) -> String {
        format!(
            "<edit-config><target><candidate/></target><error-option>rollback-on-error</error-option><config>\
             <interfaces xmlns=\"http://openconfig.net/yang/interfaces\"><interface><name>{port}</name>\
             <ethernet xmlns=\"http://openconfig.net/yang/interfaces/ethernet\"><switched-vlan xmlns=\"http://openconfig.net/yang/vlan\"><config>\
             <interface-mode>ACCESS</interface-mode><access-vlan>{vlan}</access-vlan></config></switched-vlan></ethernet></interface></interfaces>\
             <network-instances xmlns=\"http://openconfig.net/yang/network-instance\"><network-instance><name>default</name><vlans><vlan><vlan-id>{vlan}</vlan-id>\
             <config><vlan-id>{vlan}</vlan-id><name>net</name></config></vlan></vlans></network-instance></network-instances></config></edit-config>"
        )
    }

    #[tokio::test]
    async fn a_candidate_is_committed_and_saved() {
        let device = switch();
        let mut client = Client::new(&device).await;
        client.taken("<lock><target><candidate/></target></lock>").await;
        client.taken(&access("Ethernet2", 10)).await;
        assert_eq!(device.carries("Ethernet2").untagged, Some(1));
        client.taken("<validate><source><candidate/></source></validate>").await;
        client.taken("<commit/>").await;
        assert_eq!(device.carries("Ethernet2"), Carried { untagged: Some(10), tagged: BTreeSet::new() });
        assert!(client.taken("<get-config><source><running/></source></get-config>").await.contains("<access-vlan>10</access-vlan>"));
        assert!(client.taken("<get/>").await.contains("<oper-status>UP</oper-status>"));
        assert_ne!(device.startup(), device.running());
        client.taken("<copy-config><source><running/></source><target><startup/></target></copy-config>").await;
        assert_eq!(device.startup(), device.running());
        let mut other = Client::new(&device).await;
        other.refused("<lock><target><candidate/></target></lock>", "lock-denied").await;
        other.refused(&access("Ethernet2", 20), "in-use").await;
        client.taken("<close-session/>").await;
        client.incoming.message(&mut client.stream, true).await.expect_err("closed");
        other.taken("<lock><target><candidate/></target></lock>").await;
        other.refused(&access("Ethernet9", 20).replace("<access-vlan>20", "<access-vlan>4095"), "invalid-value").await;
        other.taken(&access("Ethernet9", 20)).await;
        other.refused("<commit/>", "operation-failed").await;
        other.refused("<frobnicate/>", "operation-not-supported").await;
    }

    #[tokio::test]
    async fn what_is_not_confirmed_is_taken_back() {
        let device = switch();
        let confirmed = "<commit><confirmed/><confirm-timeout>1</confirm-timeout></commit>";
        let mut client = Client::new(&device).await;
        client.taken(&access("Ethernet1", 10)).await;
        client.taken(confirmed).await;
        assert_eq!(device.carries("Ethernet1").untagged, Some(10));
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert_eq!(device.carries("Ethernet1").untagged, Some(1), "by time");

        client.taken(&access("Ethernet1", 10)).await;
        client.taken(confirmed).await;
        client.taken("<commit/>").await;
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert_eq!(device.carries("Ethernet1").untagged, Some(10), "confirmed");

        client.taken(&access("Ethernet1", 20)).await;
        client.taken("<commit><confirmed/></commit>").await;
        assert_eq!(device.carries("Ethernet1").untagged, Some(20));
        drop(client);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(device.carries("Ethernet1").untagged, Some(10), "by the session's end");
    }

    #[tokio::test]
    async fn faults_strike() {
        let device = switch();
        let mut client = Client::new(&device).await;
        device.faults().change(|it| it.commit_ms = 300);
        client.taken(&access("Ethernet1", 10)).await;
        let before = tokio::time::Instant::now();
        client.taken("<commit/>").await;
        assert!(before.elapsed() >= Duration::from_millis(300));
        device.faults().change(|it| it.partial_commit = Some(crate::netos::faults::Partial { lines: 1, then: Then::Refuse }));
        client.taken(&access("Ethernet1", 20)).await;
        client.refused("<commit/>", "operation-failed").await;
        assert!(device.running().vlans.contains_key(&20) && device.carries("Ethernet1").untagged == Some(10), "half of it");
        device.faults().change(|it| it.refuse = vec![crate::netos::faults::Refusal { contains: "edit-config".into(), times: Some(1) }]);
        client.refused(&access("Ethernet1", 30), "operation-failed").await;
        client.taken(&access("Ethernet1", 30)).await;
    }
}
