//! The work queue: which objects are to be looked at, when, and by whom.

use std::time::{Duration, Instant};

use crate::StoreError;
use crate::backend::Backend;
use crate::sql::{Step, Val, micros};

/// A leased piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The kind of the object.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// How many times in a row it failed before.
    pub attempts: u32,
    /// By the clock of this process that never jumps, taken before the store was asked: the lease ends no earlier than its length after.
    pub asked: Instant,
    pub(crate) worker: String,
    pub(crate) epoch: i64,
    wakes: i64,
}

impl Claim {
    /// Who claimed it.
    pub fn worker(&self) -> &str {
        &self.worker
    }
}

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Look again after this time, or when woken.
    Again(Duration),
    /// It failed; look again after this time. Counts as an attempt.
    Failed(Duration),
    /// The object is no more.
    Gone,
}

/// What a conductor leaves to others: work on nodes of another group, and what each group has once but is another's.
///
/// Whose group a node is of, the node says, not the row of the work: it may change while the row lies in the queue.
fn of_group(from: usize) -> String {
    use model::Kind as _;
    use model::baremetal::{CONSOLE_WORK, Node, NodeAction, POWER_SYNC_WORK};
    let (nodes, actions) = (crate::schema::table::<Node>(), crate::schema::table::<NodeAction>());
    let (node, action) = (Node::NAME, NodeAction::NAME);
    // Each a look by key: an EXISTS might be answered by reading all nodes.
    let is_ours = |id: &str| format!("COALESCE((SELECT n.c_conductor_group FROM {nodes} AS n WHERE n.id = {id}), ${from}) = ${from}");
    let (of_node, of_action) = (is_ours("work.id"), is_ours(&format!("(SELECT a.c_node_id FROM {actions} AS a WHERE a.id = work.id)")));
    format!(
        " AND CASE WHEN work.kind IN ('{node}', '{CONSOLE_WORK}') THEN {of_node} WHEN work.kind = '{action}' THEN {of_action} \
         WHEN work.kind = '{POWER_SYNC_WORK}' THEN work.id = ${} ELSE TRUE END",
        from + 1
    )
}

pub(crate) async fn claim(backend: &Backend, worker: &str, lease: Duration, group: Option<&str>) -> Result<Option<Claim>, StoreError> {
    let asked = Instant::now();
    let skip = backend.skip_locked();
    // `=` and not `IN`: the inner SELECT, which locks what it finds, is run once. As the inner side of a join it might be run again
    // for each row, find another each time (its own locks do not hold it back) and have rows claimed that nobody hears of.
    let within = group.map_or_else(String::new, |_| of_group(4));
    let sql = format!(
        "UPDATE work SET worker = $1, lease_until = FROM_NOW($2), epoch = epoch + 1 WHERE (kind, id) = (SELECT kind, id FROM work \
         WHERE due_at <= FROM_NOW($3) AND (worker IS NULL OR lease_until < FROM_NOW($3)){within} ORDER BY due_at LIMIT 1{skip}) \
         RETURNING kind, id, attempts, epoch, wakes"
    );
    let mut params = vec![Val::from(worker), Val::FromNow(micros(lease)), Val::FromNow(0)];
    if let Some(group) = group {
        params.extend([Val::from(group), Val::from(model::baremetal::power_sync_of(group))]);
    }
    let rows = backend.write_query(sql, params).await?;
    Ok(rows.into_iter().next().map(|row| Claim {
        kind: row.text(0).unwrap_or_default(),
        id: row.text(1).unwrap_or_default(),
        attempts: row.int(2).and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
        asked,
        worker: worker.to_owned(),
        epoch: row.int(3).unwrap_or(0),
        wakes: row.int(4).unwrap_or(0),
    }))
}

fn held(claim: &Claim, from: usize) -> (String, Vec<Val>) {
    let sql = format!("kind = ${} AND id = ${} AND worker = ${} AND epoch = ${}", from, from + 1, from + 2, from + 3);
    let params =
        vec![Val::from(claim.kind.as_str()), Val::from(claim.id.as_str()), Val::from(claim.worker.as_str()), Val::from(claim.epoch)];
    (sql, params)
}

fn lost(claim: &Claim) -> impl Fn() -> StoreError + Send + Sync + 'static {
    let (kind, id) = (claim.kind.clone(), claim.id.clone());
    move || StoreError::LeaseLost { kind: kind.clone(), id: id.clone() }
}

/// Holds only while the lease does; every write of the engine carries it.
pub(crate) fn fence(claim: &Claim) -> Step {
    let (held, params) = held(claim, 1);
    Step::one(format!("UPDATE work SET epoch = epoch WHERE {held}"), params, lost(claim))
}

pub(crate) fn renew(claim: &Claim, lease: Duration) -> Step {
    let (held, more) = held(claim, 2);
    let mut params = vec![Val::FromNow(micros(lease))];
    params.extend(more);
    Step::one(format!("UPDATE work SET lease_until = FROM_NOW($1) WHERE {held}"), params, lost(claim))
}

pub(crate) fn finish(claim: &Claim, outcome: Outcome) -> Vec<Step> {
    let (delay, attempts) = match outcome {
        Outcome::Again(delay) => (delay, 0),
        Outcome::Failed(delay) => (delay, i64::from(claim.attempts) + 1),
        Outcome::Gone => {
            let (held, mut params) = held(claim, 1);
            params.push(Val::from(claim.wakes));
            let delete = Step::any(format!("DELETE FROM work WHERE {held} AND wakes = $5"), params);
            // Woken meanwhile: somebody made it anew, look again.
            let (held, more) = self::held(claim, 2);
            let mut params = vec![Val::FromNow(0)];
            params.extend(more);
            let sql = format!("UPDATE work SET worker = NULL, lease_until = 0, due_at = FROM_NOW($1), attempts = 0 WHERE {held}");
            return vec![fence(claim), delete, Step::any(sql, params)];
        }
    };
    let (held, more) = held(claim, 5);
    let mut params = vec![Val::from(claim.wakes), Val::FromNow(micros(delay)), Val::FromNow(0), Val::from(attempts)];
    params.extend(more);
    let sql = format!(
        "UPDATE work SET worker = NULL, lease_until = 0, \
         due_at = CASE WHEN wakes = $1 THEN FROM_NOW($2) ELSE FROM_NOW($3) END, attempts = $4 WHERE {held}"
    );
    vec![Step::one(sql, params, lost(claim))]
}

/// Has no lease end later than one that begins now.
pub(crate) async fn shorten(backend: &Backend, lease: Duration) -> Result<(), StoreError> {
    // By itself and not as a batch: that would have to see no row change meanwhile, and these change all the time.
    let sql = "UPDATE work SET lease_until = FROM_NOW($1) WHERE worker IS NOT NULL AND lease_until > FROM_NOW($1) RETURNING 1";
    backend.write_query(sql.into(), vec![Val::FromNow(micros(lease))]).await.map(drop)
}
