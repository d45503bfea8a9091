//! What a client asks of a node's controller and waits for: a row that the engine acts on, and whose end is the answer.

use std::time::Duration;

use http::StatusCode;
use model::baremetal::{Action, ActionEnd, Interface, Node, NodeAction, NodeActionDesired};
use model::{Id, Object, Timestamp};
use serde_json::Value;
use store::{Batch, Severity, StoreError};

use super::node::said_by;
use super::{Ask, access, validate};
use crate::failure::Failure;

/// How long a controller is waited for, in seconds.
const WAIT_SECONDS: i64 = 30;
/// How long one that nobody waits for may wait for its turn, in seconds: a server that was restarted comes back within.
const START_SECONDS: i64 = 600;
/// The first and the longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// Has the engine do something with the node's hardware; `words` name it in the node's history, if it changes anything.
///
/// # Errors
/// `Conflict` if it changes something while somebody works on the node; `BadRequest` if the hardware cannot do it; 500 with the
/// controller's words if it failed; `Unavailable` if it was not done in time.
pub(super) async fn run(ask: &Ask, node: &Object<Node>, action: Action, words: Option<&str>) -> Result<Value, Failure> {
    match ended(ask, node, action, words).await? {
        ActionEnd::Done { value } => Ok(value),
        ActionEnd::Unsupported { why } => Err(access::unsupported(node, &why)),
        ActionEnd::Failed { why } => Err(Failure::named(StatusCode::INTERNAL_SERVER_ERROR, "NodeAction", why)),
    }
}

/// The same for what ends well or not in the node's `last_error`: whoever asked is not told here.
///
/// # Errors
/// `Conflict` while somebody works on the node; `Unavailable` if it was not done in time.
pub(super) async fn tell(ask: &Ask, node: &Object<Node>, action: Action, words: &str) -> Result<(), Failure> {
    ended(ask, node, action, Some(words)).await.map(drop)
}

async fn ended(ask: &Ask, node: &Object<Node>, action: Action, words: Option<&str>) -> Result<ActionEnd, Failure> {
    let row = begin(ask, node, action, words, WAIT_SECONDS).await?;
    let end = wait(ask, node, &row).await;
    forget(ask, &row).await;
    end
}

/// The same without waiting: what it comes to is not told, but if it is nothing good, the node's history says so.
///
/// # Errors
/// `Conflict` while somebody works on the node.
pub(super) async fn start(ask: &Ask, node: &Object<Node>, action: Action, words: &str) -> Result<(), Failure> {
    begin(ask, node, action, Some(words), START_SECONDS).await.map(drop)
}

async fn begin(ask: &Ask, node: &Object<Node>, action: Action, words: Option<&str>, seconds: i64) -> Result<Id<NodeAction>, Failure> {
    let interface = if matches!(action, Action::Vendor { .. }) { Interface::Vendor } else { Interface::Management };
    access::served(ask, node)?;
    validate::controller(node, interface).map_err(Failure::BadRequest)?;
    if words.is_some() {
        access::unlocked(node)?;
    }
    let until = Timestamp::now().plus_seconds(seconds);
    let desired = NodeActionDesired { node_id: node.id.clone(), action, until, unwatched: seconds != WAIT_SECONDS };
    let row: Object<NodeAction> = Object::new(Id::random(), None, "", desired);
    let mut batch = Batch::wishes().require(&node.id).create(&row);
    if let Some(words) = words {
        batch = batch.history(&node.id, Severity::Info, words, &said_by(ask, node, Value::Null));
    }
    match ask.app.store.apply(batch.wake(&row.id)).await {
        Ok(()) => Ok(row.id),
        Err(StoreError::Stale { .. }) => Err(Failure::not_found("Node", node.id.as_str())),
        Err(error) => Err(error.into()),
    }
}

async fn wait(ask: &Ask, node: &Object<Node>, row: &Id<NodeAction>) -> Result<ActionEnd, Failure> {
    let late = || Failure::Unavailable(format!("The controller of node {} did not answer within {WAIT_SECONDS} seconds.", node.id));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(WAIT_SECONDS.unsigned_abs());
    let mut pause = PAUSE.0;
    loop {
        tokio::time::sleep(pause).await;
        let seen = ask.app.store.get(row).await?.ok_or_else(late)?;
        match seen.observed.end {
            Some(end) => return Ok(end),
            None if tokio::time::Instant::now() >= deadline => return Err(late()),
            None => pause = (pause * 2).min(PAUSE.1),
        }
    }
}

/// Nobody waits for it any more. What cannot be removed now the engine removes when its time is over.
async fn forget(ask: &Ask, row: &Id<NodeAction>) {
    for _ in 0..crate::race::RACES {
        let done = match ask.app.store.get(row).await {
            Ok(Some(row)) => ask.app.store.apply(Batch::wishes().remove(&row)).await,
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match done {
            Err(StoreError::Stale { .. }) => {}
            Ok(()) => return,
            Err(error) => return tracing::warn!(%error, action = %row, "the row of an action stays until its time is over"),
        }
    }
}
