//! What machines boot from, on the provisioning network only: DHCP, TFTP, and HTTP with the boot script, the images and the agents'
//! part of the bare-metal API. Answers go only to machines that are in a deploy or a clean, and each gets only what is its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use drivers::Fut;
use drivers::boot::dhcp::{DhcpServer, Lease, Leases};
use drivers::boot::tftp::TftpServer;
use model::Id;
use model::baremetal::{Node, Phase};
use model::image_compute::Image;
use model::net::{Port, PortStatus};
use model::{Object, Timestamp};
use net::Netns;
use store::{Query, StoreError};
use tokio::sync::watch;

use crate::config::ProvisioningConfig;
use crate::edge;
use crate::runtime::Shared;

const RETRY: Duration = Duration::from_millis(300);
const BIOS_FILE: &str = "undionly.kpxe";
const UEFI_FILE: &str = "snponly.efi";

/// Serves until `stop` turns true; starts again whenever the namespace or a socket went away.
pub(crate) async fn serve(shared: Arc<Shared>, agent_api: Router, mut stop: watch::Receiver<bool>) {
    let (Some(config), Some(edge)) = (shared.config.provisioning.clone(), shared.config.edge.clone()) else {
        return;
    };
    let netns = Netns::named(&format!("{}{}", edge.netns_prefix, edge::provisioning_ids().0.short()));
    let files = Arc::new(boot_files(&config).await);
    let mut said = String::new();
    while !*stop.borrow() {
        let ended = tokio::select! {
            ended = all(&shared, &config, &netns, &files, agent_api.clone()) => ended,
            _ = stop.changed() => return,
        };
        if let Err(error) = ended {
            let text = error.to_string();
            if text != said {
                tracing::info!(why = text, "the boot services are not up yet");
                said = text;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn boot_files(config: &ProvisioningConfig) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    for name in [BIOS_FILE, UEFI_FILE] {
        match tokio::fs::read(config.ipxe_dir.join(name)).await {
            Ok(bytes) => {
                files.insert(name.to_owned(), Bytes::from(bytes));
            }
            Err(error) => {
                tracing::warn!(file = name, %error, "iPXE is not there (Debian package ipxe): machines of that kind cannot boot from the network");
            }
        }
    }
    files
}

async fn all(
    shared: &Arc<Shared>,
    config: &ProvisioningConfig,
    netns: &Netns,
    files: &Arc<BTreeMap<String, Bytes>>,
    agent_api: Router,
) -> std::io::Result<()> {
    let dhcp = DhcpServer::bind(netns, "eth0")?;
    let tftp = TftpServer::bind(netns, config.address, 69, Arc::clone(files))?;
    let http = net::tcp_listen(netns, SocketAddr::new(IpAddr::V4(config.address), config.http_port))?;
    tracing::info!(address = %config.address, "DHCP, TFTP and HTTP are up on the provisioning network");
    let site = Arc::new(Site { shared: Arc::clone(shared), config: config.clone() });
    let router = Router::new()
        .route("/boot/{mac}", get(script))
        .route("/images/{node}/{image}", get(image))
        .with_state(Arc::clone(&site))
        .merge(agent_api)
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        ended = dhcp.run(site) => ended,
        ended = tftp.run() => ended,
        ended = async { axum::serve(http, router).await } => ended,
    }
}

struct Site {
    shared: Arc<Shared>,
    config: ProvisioningConfig,
}

impl Site {
    /// The port on the provisioning network of a machine that may boot now, with its machine.
    async fn booting(&self, mac: &str) -> Result<Option<(Object<Port>, Object<Node>)>, StoreError> {
        let (network, _) = edge::provisioning_ids();
        let store = &self.shared.store;
        let ports =
            store.list(&Query::<Port>::new().column("network_id", [network.to_string()]).column("mac_address", [mac.to_owned()])).await?;
        let Some(port) = ports.into_iter().find(|it| it.observed.status == PortStatus::Active) else {
            return Ok(None);
        };
        let Some(node) = Id::<Node>::parse(&port.desired.binding.host_id) else {
            return Ok(None);
        };
        let node = store.get(&node).await?.filter(|it| matches!(it.observed.phase, Phase::Boot | Phase::Agent | Phase::Work));
        Ok(node.map(|node| (port, node)))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}:{}/{path}", self.config.address, self.config.http_port)
    }
}

impl Leases for Site {
    fn lease(&self, mac: [u8; 6]) -> Fut<'_, Option<Lease>> {
        Box::pin(async move {
            let text = mac.map(|byte| format!("{byte:02x}")).join(":");
            let (port, _) = match self.booting(&text).await {
                Ok(found) => found?,
                Err(error) => {
                    tracing::warn!(%error, "a DHCP request was left unanswered");
                    return None;
                }
            };
            let address = port.desired.fixed_ips.first().and_then(|it| match it.ip_address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })?;
            Some(Lease {
                address,
                prefix: self.config.cidr.prefix_len(),
                server: self.config.address,
                router: None,
                script_url: self.url(&format!("boot/{text}")),
                boot_file_bios: BIOS_FILE.into(),
                boot_file_uefi: UEFI_FILE.into(),
            })
        })
    }
}

/// The iPXE script of one machine.
async fn script(State(site): State<Arc<Site>>, Path(mac): Path<String>, ConnectInfo(from): ConnectInfo<SocketAddr>) -> Response {
    let (port, node) = match site.booting(&mac).await {
        Ok(Some(found)) => found,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return unavailable(&error),
    };
    if !is_from(&port, from) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let info = &node.desired.driver_info;
    let (Some(kernel), Some(initrd)) = (info.text("deploy_kernel"), info.text("deploy_ramdisk")) else {
        tracing::warn!(node.id = %node.id, "driver_info names no deploy_kernel and deploy_ramdisk");
        return StatusCode::NOT_FOUND.into_response();
    };
    let url = |image: &str| site.url(&format!("images/{}/{image}", node.id));
    let args = [format!("ipa-api-url={}", site.url("baremetal")), "nofb".to_owned(), format!("BOOTIF={mac}")];
    match drivers::boot::ipxe::render(&drivers::boot::ipxe::Boot { kernel_url: &url(kernel), initrd_url: &url(initrd), args: &args }) {
        Ok(script) => ([("content-type", "text/plain")], script).into_response(),
        Err(error) => {
            tracing::warn!(node.id = %node.id, %error, "no boot script could be written");
            StatusCode::NOT_FOUND.into_response()
        }
    }
}

fn is_from(port: &Object<Port>, from: SocketAddr) -> bool {
    port.desired.fixed_ips.iter().any(|it| it.ip_address == from.ip())
}

fn unavailable(error: &StoreError) -> Response {
    tracing::warn!(%error, "a booting machine could not be answered");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

/// The data of an image, to the machine that is to run it (or boot it) and to no other.
async fn image(
    State(site): State<Arc<Site>>,
    Path((node, image)): Path<(String, String)>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> Response {
    let store = &site.shared.store;
    let (Some(node_id), Some(image_id)) = (Id::<Node>::parse(&node), Id::<Image>::parse(&image)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let found = async {
        let Some(node) = store.get(&node_id).await? else { return Ok(None) };
        let Some(port) = node.observed.ramdisk_port.clone() else { return Ok(None) };
        Ok(store.get::<Port>(&port).await?.map(|port| (node, port)))
    };
    let (node, port) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return unavailable(&error),
    };
    let info = &node.desired.driver_info;
    let its_own = [info.text("deploy_kernel"), info.text("deploy_ramdisk"), node.desired.instance_info.text("image_source")];
    if !is_from(&port, from) || !its_own.contains(&Some(image_id.as_str())) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let began = Timestamp::now();
    let path = site.shared.config.image_dir.join(image_id.as_str());
    let file = match tokio::fs::File::open(&path).await {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(image.id = %image_id, %error, "the data of an image is not there");
            return StatusCode::NOT_FOUND.into_response();
        }
    };
    let size = file.metadata().await.map(|it| it.len()).unwrap_or_default();
    tracing::debug!(image.id = %image_id, node.id = %node.id, size_bytes = size, at = began.iso_micros(), "sending an image");
    let pieces = futures_util::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0_u8; 512 << 10];
        let read = tokio::io::AsyncReadExt::read(&mut file, &mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    });
    ([("content-type", "application/octet-stream".to_owned()), ("content-length", size.to_string())], Body::from_stream(pieces))
        .into_response()
}
