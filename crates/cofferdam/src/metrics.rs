//! What is counted, in the text form of Prometheus, on a listener of its own: machines as the engine saw them last, the work queue, and
//! how much there is in the store. Nothing of it is secret, but it names machines: nobody is asked who he is here.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use engine::Metrics;
use model::Kind;
use model::baremetal::{Allocation, BaremetalPort, Node};
use model::container_infra::Cluster;
use model::identity::{Project, User};
use model::image_compute::Image;
use model::net::{Network, Port, Subnet};
use serde::Deserialize;
use store::{Query, Store, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long an answer is given again before it is made anew: however often is asked, the store is read once in this time.
const FRESH: Duration = Duration::from_secs(10);

/// `[metrics]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where `GET /metrics` is answered, such as `127.0.0.1:9464`; nowhere if it is not set.
    pub listen: Option<SocketAddr>,
}

struct Site {
    metrics: Arc<Metrics>,
    store: Store,
    made: Mutex<Option<(Instant, axum::body::Bytes)>>,
}

/// Serves it until `stop` turns true, if it is to be served.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    config: &MetricsConfig,
    metrics: Arc<Metrics>,
    store: Store,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<Option<JoinHandle<std::io::Result<()>>>> {
    let Some(address) = config.listen else { return Ok(None) };
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for metrics"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    let site = Arc::new(Site { metrics, store, made: Mutex::new(None) });
    let router = Router::new().route("/metrics", get(show)).with_state(site);
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        // The sender lives until the end: an error cannot come before the stop.
        drop(stop.wait_for(|stop| *stop).await);
    });
    Ok(Some(tokio::spawn(server.into_future())))
}

async fn show(State(site): State<Arc<Site>>) -> Response {
    let mut made = site.made.lock().await;
    let text = match made.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        Some((_, text)) => text.clone(),
        None => match make(&site).await {
            Ok(text) => {
                let text = axum::body::Bytes::from(text);
                *made = Some((Instant::now(), text.clone()));
                text
            }
            Err(error) => {
                tracing::warn!(%error, "metrics could not be read");
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
        },
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn make(site: &Site) -> anyhow::Result<String> {
    let metrics = Arc::clone(&site.metrics);
    // Tens of thousands of lines: not on a thread that serves others.
    let mut out = tokio::task::spawn_blocking(move || metrics.render()).await?;
    let work = site.store.work_counts().await?;
    out.push_str("# TYPE cofferdam_work gauge\n");
    for it in work {
        for (state, count) in [("queued", it.all), ("due", it.due), ("held", it.held), ("failing", it.failing)] {
            writeln!(out, "cofferdam_work{{kind=\"{}\",state=\"{state}\"}} {count}", it.kind)?;
        }
    }
    let store = &site.store;
    out.push_str("# TYPE cofferdam_objects gauge\n");
    count::<Node>(store, &mut out).await?;
    count::<BaremetalPort>(store, &mut out).await?;
    count::<Allocation>(store, &mut out).await?;
    count::<Network>(store, &mut out).await?;
    count::<Subnet>(store, &mut out).await?;
    count::<Port>(store, &mut out).await?;
    count::<Image>(store, &mut out).await?;
    count::<Cluster>(store, &mut out).await?;
    count::<Project>(store, &mut out).await?;
    count::<User>(store, &mut out).await?;
    Ok(out)
}

async fn count<K: Kind>(store: &Store, out: &mut String) -> Result<(), StoreError> {
    let n = store.count(&Query::<K>::new()).await?;
    // Writing to a string cannot fail.
    let _ok = writeln!(out, "cofferdam_objects{{kind=\"{}\"}} {n}", K::NAME).is_ok();
    Ok(())
}
