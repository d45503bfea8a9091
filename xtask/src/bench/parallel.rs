//! Many things done several at once, to prepare a measurement or to tidy up after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::client::{Connection, Target};

/// How many requests are under way at once.
const WORKERS: usize = 8;
/// How often it is said how far it is, and how long a thing may take before it is mentioned at all.
const QUIET: Duration = Duration::from_secs(5);

/// Does `count` things, several at once, and says how far it is if it takes long; what they gave, in no order.
///
/// # Errors
/// One of them failed.
pub(crate) async fn parallel<T, F, W>(target: &Arc<Target>, what: &str, count: usize, work: W) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<(Connection, T)>> + Send,
    W: Fn(Connection, usize) -> F + Clone + Send + Sync + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WORKERS.min(count) {
        let (next, work, mut connection) = (Arc::clone(&next), work.clone(), Connection::new(target));
        tasks.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(done);
                }
                let (returned, made) = work(connection, number).await?;
                connection = returned;
                done.push(made);
            }
        });
    }
    let mut all = Vec::new();
    loop {
        match tokio::time::timeout(QUIET, tasks.join_next()).await {
            Ok(Some(done)) => all.extend(done.context("a client ended early")??),
            Ok(None) => break,
            Err(_) => eprintln!("  {} of {count} {what}", next.load(Ordering::Relaxed).min(count)),
        }
    }
    if began.elapsed() > QUIET {
        eprintln!("  {count} {what} in {}", crate::phases::seconds(began.elapsed()));
    }
    Ok(all)
}

/// Sends each of the requests once, several at once, and looks at the status only.
///
/// # Errors
/// One was answered otherwise than expected.
pub(crate) async fn send_all(target: &Arc<Target>, what: &str, requests: Vec<Vec<u8>>, expected: u16) -> Result<()> {
    let requests = Arc::new(requests);
    let count = requests.len();
    let work = move |mut connection: Connection, number| {
        let requests = Arc::clone(&requests);
        async move {
            let request: &Vec<u8> = requests.get(number).context("no such request")?;
            connection.exchange(request).await?.expect(expected)?;
            Ok((connection, ()))
        }
    };
    parallel(target, what, count, work).await.with_context(|| what.to_owned())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_is_done_once_and_a_failure_is_told() {
        let target = Arc::new(Target::identity("http://127.0.0.1:1").unwrap());
        let work = |connection, number| async move { anyhow::Ok((connection, number)) };
        let mut done = parallel(&target, "numbers", 100, work).await.unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert!(parallel(&target, "nothing", 0, work).await.unwrap().is_empty());
        let work = |connection, number| async move { if number == 7 { anyhow::bail!("seven") } else { Ok((connection, ())) } };
        assert!(parallel(&target, "numbers", 10, work).await.unwrap_err().to_string().contains("seven"));
    }
}
