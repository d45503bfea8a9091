//! The work queue: which objects are to be looked at, when, and by whom.

use std::time::Duration;

use model::Timestamp;

use crate::StoreError;
use crate::backend::Backend;
use crate::sql::{Step, Val};

/// A leased piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The kind of the object.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// How many times in a row it failed before.
    pub attempts: u32,
    pub(crate) worker: String,
    pub(crate) epoch: i64,
    wakes: i64,
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

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}

pub(crate) async fn claim(backend: &Backend, worker: &str, lease: Duration) -> Result<Option<Claim>, StoreError> {
    let now = Timestamp::now().0;
    let skip = backend.skip_locked();
    // `=` and not `IN`: the inner SELECT, which locks what it finds, is run once. As the inner side of a join it might be run again
    // for each row, find another each time (its own locks do not hold it back) and have rows claimed that nobody hears of.
    let sql = format!(
        "UPDATE work SET worker = $1, lease_until = $2, epoch = epoch + 1 WHERE (kind, id) = (SELECT kind, id FROM work \
         WHERE due_at <= $3 AND (worker IS NULL OR lease_until < $3) ORDER BY due_at LIMIT 1{skip}) \
         RETURNING kind, id, attempts, epoch, wakes"
    );
    let rows = backend.write_query(sql, vec![Val::from(worker), Val::from(now + micros(lease)), Val::from(now)]).await?;
    Ok(rows.into_iter().next().map(|row| Claim {
        kind: row.text(0).unwrap_or_default(),
        id: row.text(1).unwrap_or_default(),
        attempts: row.int(2).and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
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
    let mut params = vec![Val::from(Timestamp::now().0 + micros(lease))];
    params.extend(more);
    Step::one(format!("UPDATE work SET lease_until = $1 WHERE {held}"), params, lost(claim))
}

pub(crate) fn finish(claim: &Claim, outcome: Outcome) -> Vec<Step> {
    let now = Timestamp::now().0;
    let (delay, attempts) = match outcome {
        Outcome::Again(delay) => (delay, 0),
        Outcome::Failed(delay) => (delay, i64::from(claim.attempts) + 1),
        Outcome::Gone => {
            let (held, mut params) = held(claim, 1);
            params.push(Val::from(claim.wakes));
            let delete = Step::any(format!("DELETE FROM work WHERE {held} AND wakes = $5"), params);
            // Woken meanwhile: somebody made it anew, look again.
            let (held, more) = self::held(claim, 2);
            let mut params = vec![Val::from(now)];
            params.extend(more);
            let sql = format!("UPDATE work SET worker = NULL, lease_until = 0, due_at = $1, attempts = 0 WHERE {held}");
            return vec![fence(claim), delete, Step::any(sql, params)];
        }
    };
    let (held, more) = held(claim, 5);
    let mut params = vec![Val::from(claim.wakes), Val::from(now + micros(delay)), Val::from(now), Val::from(attempts)];
    params.extend(more);
    let sql = format!(
        "UPDATE work SET worker = NULL, lease_until = 0, \
         due_at = CASE WHEN wakes = $1 THEN CAST($2 AS BIGINT) ELSE CAST($3 AS BIGINT) END, attempts = $4 WHERE {held}"
    );
    vec![Step::one(sql, params, lost(claim))]
}
