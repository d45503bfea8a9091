//! What machines boot from, on the provisioning network only: DHCP of both families, TFTP, and HTTP with iPXE, the boot script, the
//! images and the agents' part of the bare-metal API. Answers go only to machines that are in a job that boots a ramdisk, and each gets
//! only what is its own. Virtual media are fetched by BMCs and are served with the main API: see [`medium`].

mod files;
pub(crate) mod medium;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use drivers::Fut;
use drivers::boot::dhcp::{DhcpServer, Lease, Leases};
use drivers::boot::dhcp6::{Dhcp6Server, Lease6, Leases6, eui64};
use drivers::boot::radv::Advertiser;
use drivers::boot::tftp::TftpServer;
use model::Id;
use model::Object;
use model::baremetal::{Node, OnNetwork, Phase, ProvisionState};
use model::image_compute::{Image, ImageStatus};
use model::net::{Network, Port, PortStatus, VlanId};
use net::Netns;
use store::{Query, StoreError};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::config::ProvisioningConfig;
use crate::edge;
use crate::image_cache::Progress;
use crate::provisioning;
use crate::runtime::Shared;

const RETRY: Duration = Duration::from_millis(300);
const BIOS_FILE: &str = "undionly.kpxe";
const UEFI_FILE: &str = "snponly.efi";

/// Serves on every provisioning network that is in use, until `stop` turns true.
pub(crate) async fn serve(shared: Arc<Shared>, agent_api: Router, mut stop: watch::Receiver<bool>) {
    let (Some(config), Some(edge)) = (shared.config.provisioning.clone(), shared.config.edge.clone()) else {
        return;
    };
    let files = Arc::new(boot_files(&config).await);
    let mut running: BTreeMap<VlanId, AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while !*stop.borrow() {
        match provisioning::in_use(&shared).await {
            Ok(segments) => {
                // Nobody is left on a network whose segment nobody holds.
                running.retain(|vlan, task| {
                    let stays = segments.iter().any(|it| it.vlan == *vlan);
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                for segment in segments {
                    running.entry(segment.vlan).or_insert_with(|| {
                        let (netns, network) = (segment.netns(&edge), segment.network.clone());
                        let site = Site { shared: Arc::clone(&shared), config: config.clone(), files: Arc::clone(&files), network };
                        let agent_api = agent_api.clone().layer(Extension(OnNetwork(segment.network.clone())));
                        tasks.spawn(serve_one(Arc::new(site), netns, agent_api))
                    });
                }
            }
            Err(error) => tracing::warn!(%error, "could not see which provisioning networks are in use"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            // Those that were aborted; the others never end.
            Some(_) = tasks.join_next() => {}
            _ = stop.changed() => return,
        }
    }
}

/// Serves on one network; starts again whenever the namespace or a socket went away.
async fn serve_one(site: Arc<Site>, netns: Netns, agent_api: Router) {
    let mut said = String::new();
    loop {
        if let Err(error) = all(&site, &netns, agent_api.clone()).await {
            let text = error.to_string();
            if text != said {
                tracing::info!(why = text, network.id = %site.network, "the boot services are not up yet");
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

async fn all(site: &Arc<Site>, netns: &Netns, agent_api: Router) -> std::io::Result<()> {
    let (config, files) = (&site.config, &site.files);
    let dhcp = DhcpServer::bind(netns, "eth0")?;
    let tftp = TftpServer::bind(netns, IpAddr::V4(config.address), 69, Arc::clone(files))?;
    let http = net::tcp_listen(netns, SocketAddr::new(IpAddr::V4(config.address), config.http_port))?;
    tracing::info!(address = %config.address, network.id = %site.network, "DHCP, TFTP and HTTP are up on the provisioning network");
    let router = Router::new()
        .route("/boot/{mac}", get(script))
        .route("/ipxe/{file}", get(loader))
        .route("/images/{node}/{image}", get(image))
        .with_state(Arc::clone(site))
        .merge(agent_api)
        .into_make_service_with_connect_info::<SocketAddr>();
    let other_family = other_family(site, config, netns, files, router.clone());
    tokio::select! {
        ended = dhcp.run(Arc::<Site>::clone(site)) => ended,
        ended = tftp.run() => ended,
        ended = async { axum::serve(http, router).await } => ended,
        ended = other_family => ended,
    }
}

/// The same over IPv6, where the network has it.
async fn other_family(
    site: &Arc<Site>,
    config: &ProvisioningConfig,
    netns: &Netns,
    files: &Arc<BTreeMap<String, Bytes>>,
    router: axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, SocketAddr>,
) -> std::io::Result<()> {
    let Some(address) = config.address6 else {
        return std::future::pending().await;
    };
    // The same identifier after a restart: clients renew with it.
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("cofferdam:provisioning/{address}").as_bytes());
    let dhcp = Dhcp6Server::bind(netns, "eth0", *id.as_bytes())?;
    let advertiser = Advertiser::bind(netns, "eth0", address)?;
    let tftp = TftpServer::bind(netns, IpAddr::V6(address), 69, Arc::clone(files))?;
    let http = net::tcp_listen(netns, SocketAddr::new(IpAddr::V6(address), config.http_port))?;
    tracing::info!(%address, "the same is up over IPv6");
    tokio::select! {
        ended = dhcp.run(Arc::<Site>::clone(site)) => ended,
        ended = advertiser.run() => ended,
        ended = tftp.run() => ended,
        ended = async { axum::serve(http, router).await } => ended,
    }
}

struct Site {
    shared: Arc<Shared>,
    config: ProvisioningConfig,
    files: Arc<BTreeMap<String, Bytes>>,
    /// The network that is served: what is on another is not seen from here.
    network: Id<Network>,
}

impl Site {
    /// The port on the provisioning network of a machine that may boot now, with its machine.
    async fn booting(&self, mac: &str) -> Result<Option<(Object<Port>, Object<Node>)>, StoreError> {
        let store = &self.shared.store;
        let on_it = Query::<Port>::new().column("network_id", [self.network.to_string()]);
        let ports = store.list(&on_it.column("mac_address", [mac.to_owned()])).await?;
        let Some(port) = ports.into_iter().find(|it| it.observed.status == PortStatus::Active) else {
            return Ok(None);
        };
        let Some(node) = Id::<Node>::parse(&port.desired.binding.host_id) else {
            return Ok(None);
        };
        let node = store.get(&node).await?.filter(|it| matches!(it.observed.phase, Phase::Boot | Phase::Agent | Phase::Work));
        Ok(node.map(|node| (port, node)))
    }

    /// Our address as the other end, which is at `from`, can reach it.
    fn url(&self, from: IpAddr, path: &str) -> String {
        let ours = match (from, self.config.address6) {
            (IpAddr::V6(_), Some(address)) => IpAddr::V6(address),
            _ => IpAddr::V4(self.config.address),
        };
        format!("http://{}/{path}", SocketAddr::new(ours, self.config.http_port))
    }

    /// Whether a request comes from the machine that has this port.
    fn is_from(&self, port: &Object<Port>, from: SocketAddr) -> bool {
        let from = from.ip().to_canonical();
        // The same addresses are given on every segment.
        if port.desired.network_id != self.network {
            return false;
        }
        port.desired.fixed_ips.iter().any(|it| it.ip_address == from)
            || self.address6(&port.desired.mac_address).is_some_and(|it| IpAddr::V6(it) == from)
    }

    /// The address of a machine in the other family, where the network has it.
    fn address6(&self, mac: &str) -> Option<Ipv6Addr> {
        Some(eui64(self.config.address6?, edge::parse_mac(mac)?))
    }
}

fn text_of(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl Leases for Site {
    fn lease(&self, mac: [u8; 6]) -> Fut<'_, Option<Lease>> {
        Box::pin(async move {
            let text = text_of(mac);
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
                script_url: self.url(address.into(), &format!("boot/{text}")),
                boot_file_bios: BIOS_FILE.into(),
                boot_file_uefi: UEFI_FILE.into(),
                boot_url_http: self.url(address.into(), &format!("ipxe/{UEFI_FILE}")),
            })
        })
    }
}

impl Leases6 for Site {
    fn lease6(&self, mac: [u8; 6]) -> Fut<'_, Option<Lease6>> {
        Box::pin(async move {
            let text = text_of(mac);
            match self.booting(&text).await {
                Ok(found) => found?,
                Err(error) => {
                    tracing::warn!(%error, "a DHCPv6 request was left unanswered");
                    return None;
                }
            };
            let address = self.address6(&text)?;
            let ours = self.config.address6?;
            Some(Lease6 {
                address,
                script_url: self.url(address.into(), &format!("boot/{text}")),
                boot_url_tftp: format!("tftp://[{ours}]/{UEFI_FILE}"),
                boot_url_http: self.url(address.into(), &format!("ipxe/{UEFI_FILE}")),
            })
        })
    }
}

/// iPXE itself, for firmware that boots by HTTP. The file is nobody's secret: it is handed to whoever is on the network, as by TFTP.
async fn loader(State(site): State<Arc<Site>>, Path(file): Path<String>) -> Response {
    match site.files.get(&file) {
        Some(bytes) => ([("content-type", "application/efi")], bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The iPXE script of one machine.
async fn script(State(site): State<Arc<Site>>, Path(mac): Path<String>, ConnectInfo(from): ConnectInfo<SocketAddr>) -> Response {
    let (port, node) = match site.booting(&mac).await {
        Ok(Some(found)) => found,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return unavailable(&error),
    };
    if !site.is_from(&port, from) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let info = &node.desired.driver_info;
    let (Some(kernel), Some(initrd)) = (info.text("deploy_kernel"), info.text("deploy_ramdisk")) else {
        tracing::warn!(node.id = %node.id, "driver_info names no deploy_kernel and deploy_ramdisk");
        return StatusCode::NOT_FOUND.into_response();
    };
    let url = |image: &str| site.url(from.ip(), &format!("images/{}/{image}", node.id));
    let api = site.url(from.ip(), "baremetal");
    let mut args = vec![format!("ipa-api-url={api}"), "nofb".to_owned(), format!("BOOTIF={mac}")];
    args.extend(further_args(&node, &api));
    match drivers::boot::ipxe::render(&drivers::boot::ipxe::Boot { kernel_url: &url(kernel), initrd_url: &url(initrd), args: &args }) {
        Ok(script) => ([("content-type", "text/plain")], script).into_response(),
        Err(error) => {
            tracing::warn!(node.id = %node.id, %error, "no boot script could be written");
            StatusCode::NOT_FOUND.into_response()
        }
    }
}

/// What else stands on the kernel's line of a machine's ramdisk: where its inventory goes while it is inspected, and what the operator
/// adds (`driver_info.kernel_append_params`, as in Ironic).
fn further_args(node: &Object<Node>, api: &str) -> Vec<String> {
    let mut args = Vec::new();
    if node.observed.state == ProvisionState::Inspecting {
        args.push(format!("ipa-inspection-callback-url={api}/v1/continue_inspection"));
        args.push("ipa-inspection-collectors=default,lldp".to_owned());
    }
    let text = node.desired.driver_info.text("kernel_append_params").unwrap_or_default();
    args.extend(text.split_whitespace().filter(|it| *it != "%default%").map(str::to_owned));
    args
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
    headers: HeaderMap,
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
    if !site.is_from(&port, from) || !its_own.contains(&Some(image_id.as_str())) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let image = match store.get::<Image>(&image_id).await {
        Ok(image) => image.filter(|it| it.desired.status == ImageStatus::Active),
        Err(error) => return unavailable(&error),
    };
    let Some(image) = image else { return StatusCode::NOT_FOUND.into_response() };
    // Kernels and ramdisks are sent as they are; what is written to a disk, as it is written.
    let path = if its_own.last() == Some(&Some(image_id.as_str())) {
        match site.shared.images.raw(&image).await {
            Progress::Ready(raw) => raw.path,
            Progress::Converting => return files::later(),
            Progress::Missing(why) => {
                site.shared.images.not_sent(store, &node_id, &image_id, &why).await;
                return files::later();
            }
            Progress::Failed(_) => return StatusCode::NOT_FOUND.into_response(),
        }
    } else {
        if let Err(why) = site.shared.images.check(&image).await {
            site.shared.images.not_sent(store, &node_id, &image_id, &why).await;
            return files::later();
        }
        site.shared.config.image_dir.join(image_id.as_str())
    };
    tracing::debug!(image.id = %image_id, node.id = %node.id, "sending an image");
    files::send(&path, &headers).await
}
