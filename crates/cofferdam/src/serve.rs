//! `cofferdam serve`: joins the store, the APIs and the engine, and runs them until told to stop.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use engine::{Engine, EngineConfig};
use model::Secret;
use nix::fcntl::{Flock, FlockArg};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::metrics;

/// How long requests and looks under way may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

/// Arguments of `cofferdam serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Where the embedded store, images and clouds.yaml lie.
    #[arg(long, env = "COFFERDAM_STATE_DIR", default_value = "/var/lib/cofferdam")]
    state_dir: PathBuf,
    /// Where the APIs listen.
    #[arg(long, env = "COFFERDAM_LISTEN", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// postgresql://… ; the default is an SQLite file in the state directory.
    #[arg(long, env = "COFFERDAM_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Configuration file (TOML): switches, the provisioning network.
    #[arg(long, env = "COFFERDAM_CONFIG")]
    config: Option<PathBuf>,
}

/// Runs the control plane until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or a part of it ended.
pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args));
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let config = Config::read(args.config.as_deref())?;
    let state_dir = &args.state_dir;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .with_context(|| format!("cannot make {}", state_dir.display()))?;
    let _lock = lock(state_dir)?;
    let url = args.database_url.unwrap_or_else(|| format!("sqlite:{}", state_dir.join("cofferdam.db").display()));
    let store = Store::open(&url).await?;

    let image_dir = state_dir.join("images");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&image_dir)
        .with_context(|| format!("cannot make {}", image_dir.display()))?;
    // Before anybody is answered: whoever saw the first answer may ask for the end.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = tokio::net::TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let mut identity = config.identity.clone();
    identity.policy_file.get_or_insert_with(|| state_dir.join("policy.yaml"));
    let settings = api::Settings {
        image_dir: image_dir.clone(),
        public_fallback: format!("http://{address}"),
        fabric: api::FabricSettings {
            physical_network: config.fabric.physical_network.clone(),
            vlan_range: (config.fabric.vlan_range.first.get(), config.fabric.vlan_range.last.get()),
            isolation_vlan: config.fabric.isolation_vlan.get(),
            port_name: drivers::switch::port_name,
        },
        network: config.network.clone(),
        identity: identity.clone(),
    };
    let app = Arc::new(api::App::new(store.clone(), settings).await?);
    let password = admin_password(state_dir)?;
    api::bootstrap(&app, &password).await?;
    api::image::recover(&app).await?;
    write_clouds_yaml(state_dir, address, &identity.region, &password)?;

    let mut baremetal = config.baremetal;
    baremetal.api_url.get_or_insert_with(|| format!("http://{address}"));
    let sealer = api::sealer(&store).await?;
    let engine_config = EngineConfig {
        unseal: Arc::new(move |sealed| sealer.open(&model::Sealed::new(sealed)).ok()),
        fabric: config.fabric,
        edge: config.edge,
        provisioning: config.provisioning,
        baremetal,
        access: config.access,
        console: config.console,
        history: config.history,
        image_dir,
    };
    let engine = Engine::new(store.clone(), engine_config).await?;
    let router = api::router(Arc::clone(&app)).merge(engine.media_router());
    let (stop, stopped) = watch::channel(false);
    let metrics = metrics::serve(&config.metrics, engine.metrics(), store, stopped.clone()).await?;
    let mut engine = tokio::spawn(engine.run(api::provisioning_router(Arc::clone(&app)), stopped.clone()));
    let mut until = stopped.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        // The sender lives as long as this function: an error cannot come before the stop.
        drop(until.wait_for(|stop| *stop).await);
    });
    let mut server = tokio::spawn(server.into_future());
    tracing::info!(address = %address, took_ms = began.elapsed().as_millis(), "ready");

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        ended = &mut engine => return ended.context("the engine ended")?.context("the engine ended"),
        ended = &mut server => return ended.context("the API server ended")?.context("the API server ended"),
    }
    stop.send_replace(true);
    let drained = tokio::time::timeout(DRAIN, async {
        let server = server.await;
        let engine = engine.await;
        server.context("the API server ended")??;
        engine.context("the engine ended")??;
        if let Some(metrics) = metrics {
            metrics.await.context("the metrics server ended")??;
        }
        anyhow::Ok(())
    });
    match drained.await {
        Ok(ended) => ended?,
        Err(_) => tracing::warn!("not everything ended within {DRAIN:?}; it goes on at the next start"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// One process for one state directory.
fn lock(state_dir: &Path) -> anyhow::Result<Flock<File>> {
    let path = state_dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| anyhow::anyhow!("{} is in use by another cofferdam serve ({error})", state_dir.display()))
}

/// `COFFERDAM_ADMIN_PASSWORD`, else the one generated at the first start.
fn admin_password(state_dir: &Path) -> anyhow::Result<Secret> {
    if let Ok(password) = std::env::var("COFFERDAM_ADMIN_PASSWORD")
        && !password.is_empty()
    {
        return Ok(Secret::new(password));
    }
    let path = state_dir.join("admin-password");
    if let Ok(password) = std::fs::read_to_string(&path) {
        return Ok(Secret::new(password.trim()));
    }
    let password = Secret::random();
    write_private(&path, password.reveal())?;
    Ok(password)
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(|| format!("cannot write {}", fresh.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path).with_context(|| format!("cannot write {}", path.display()))
}

fn write_clouds_yaml(state_dir: &Path, address: SocketAddr, region: &str, password: &Secret) -> anyhow::Result<()> {
    // JSON text is YAML text: quoting is right whatever the password holds.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let yaml = format!(
        "clouds:\n  cofferdam:\n    auth:\n      auth_url: http://{address}/identity/v3\n      username: admin\n      password: {}\n      project_name: admin\n      \
         user_domain_id: default\n      project_domain_id: default\n    region_name: {}\n    identity_api_version: 3\n",
        quoted(password.reveal()),
        quoted(region),
    );
    write_private(&state_dir.join("clouds.yaml"), &yaml)
}
