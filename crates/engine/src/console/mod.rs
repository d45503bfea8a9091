//! Serial consoles of machines, shown to any number of clients over WebSocket.
//!
//! A BMC has one session at a time, so one process holds a machine's console: the one that has the lease of its work. Unlike other looks
//! the look at a console keeps the lease and hands it to a [`session`], which renews it, and gives it back when the console is not wanted
//! any more or the process ends. Another process takes over when it is not renewed.

mod session;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::baremetal::{Interface, Node};
use model::{Object, Secret};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use store::{Severity, Store, StoreError};
use tokio::sync::watch;

use crate::node;
use crate::runtime::{Cx, Look, Next, Shared};
use session::Session;
pub(crate) use socket::router;

/// Most consoles that one process holds.
const CONSOLES: usize = 512;
/// How soon a console is looked at again for which there is no place, or of which nothing can be made as its node is.
const LATER: Duration = Duration::from_secs(30);
/// How soon a console is looked at again whose last session is still ending.
const SOON: Duration = Duration::from_secs(1);
/// How long sessions may take to end with the process.
const CLOSING: Duration = Duration::from_secs(8);
/// The name of the key from which the secrets in addresses are made.
const KEY: &str = "console_key";

/// `[console]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Where clients reach this process, such as `https://ironic-1.example:5000`; that of `[baremetal] api_url` if it is not set. Of
    /// several processes over one database each needs its own: a console is had only from the one that holds it.
    pub url: Option<String>,
    /// The `ipmitool` that is run.
    pub ipmitool: PathBuf,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { url: None, ipmitool: "ipmitool".into() }
    }
}

/// The sessions that this process holds.
#[derive(Default)]
pub(crate) struct Consoles {
    open: Mutex<HashMap<String, Arc<Session>>>,
    closing: watch::Sender<bool>,
}

impl Consoles {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Arc<Session>>) -> T) -> T {
        // What is done in here leaves nothing half done.
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, node: &str) -> Option<Arc<Session>> {
        self.with(|open| open.get(node).cloned())
    }

    /// A place for the console of a node, unless all are taken or it has one.
    fn take(&self, node: &str, session: &Arc<Session>) -> bool {
        self.with(|open| {
            let is_free = open.len() < CONSOLES && !open.contains_key(node);
            if is_free {
                open.insert(node.to_owned(), Arc::clone(session));
            }
            is_free
        })
    }
}

/// Waits for the end of the process, then ends all sessions.
pub(crate) async fn serve(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    // That nobody can say stop any more means the same.
    drop(stop.wait_for(|stop| *stop).await);
    let consoles = &shared.consoles;
    consoles.closing.send_replace(true);
    let ended = async {
        while consoles.with(|open| !open.is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(CLOSING, ended).await.is_err() {
        tracing::warn!("not all consoles could be ended in time");
    }
}

/// Whether something is to be held for it.
pub(crate) fn is_wanted(node: &Object<Node>) -> bool {
    !node.is_deleting() && node.desired.console_enabled && node.desired.interface(Interface::Console) == "ipmitool-socat"
}

/// What no one guesses: another each time a console is switched on.
async fn token(store: &Store, node: &Object<Node>) -> Result<Secret, StoreError> {
    let key = match store.setting(KEY).await? {
        Some(key) => Secret::new(key),
        None => Secret::new(store.setting_or(KEY, Secret::random().reveal()).await?),
    };
    let sum = Sha256::digest(format!("console/{}/{}/{}", key.reveal(), node.id, node.desired.console_seq));
    Ok(Secret::new(sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// Where clients find the console of a node.
fn url(shared: &Shared, node: &Object<Node>, token: &Secret) -> Option<Secret> {
    let base = shared.config.console.url.as_deref().or(shared.config.baremetal.api_url.as_deref())?;
    let base = match base.split_once("://") {
        Some(("https" | "wss", rest)) => format!("wss://{rest}"),
        Some((_, rest)) => format!("ws://{rest}"),
        None => format!("ws://{base}"),
    };
    let base = base.trim_end_matches('/');
    Some(Secret::new(format!("{base}/baremetal/v1/nodes/{}/console?token={}", node.id, token.reveal())))
}

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(mut node) = cx.load::<Node>().await? else {
        return Ok(Next::Gone);
    };
    if !is_wanted(&node) {
        if node.observed.console.take().is_some() {
            cx.store.apply(cx.facts().observe(&node)).await?;
        }
        return Ok(Next::Gone);
    }
    let command = match drivers::bmc::serial_console(&node::hardware(&node, &node.desired)) {
        Ok(command) => command,
        Err(error) => {
            let why = format!("its console cannot be opened: {error}");
            if node.observed.last_error.as_ref() != Some(&why) {
                node.observed.last_error = Some(why.clone());
                node.observed.console = None;
                let batch = cx.facts().history(&node.id, Severity::Error, &why, &serde_json::json!({}));
                cx.store.apply(batch.observe(&node)).await?;
            }
            return Ok(Next::Again(LATER));
        }
    };
    if *cx.consoles.closing.borrow() {
        return Ok(Next::Again(Duration::ZERO));
    }
    let url = url(cx, &node, &token(&cx.store, &node).await?);
    if node.observed.console != url {
        node.observed.console = url;
        cx.store.apply(cx.facts().observe(&node)).await?;
    }
    if cx.consoles.find(node.id.as_str()).is_some() {
        // It lost its lease and has not noticed yet.
        return Ok(Next::Again(SOON));
    }
    let (session, input) = Session::new(node.desired.console_seq);
    if !cx.consoles.take(node.id.as_str(), &session) {
        tracing::warn!(node.id = %node.id, open = cx.consoles.with(|it| it.len()), "no place for a console");
        return Ok(Next::Again(LATER));
    }
    tokio::spawn(session::hold(Arc::clone(&cx.shared), cx.claim.clone(), session, input, command));
    Ok(Next::Kept)
}
