//! The driver against a switch that answers calls from a tree of its own.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::proto::{ModelData, Notification, SetRequest, SubscribeResponse, Typed, TypedValue, Update};
use super::*;
use crate::switch::openconfig::tests::id;
use crate::switch::{LagProtocol, Login, Managed, PortMode, SeenMode, Trust, VlanWanted};

#[derive(Clone)]
struct Fake {
    tree: Arc<Mutex<Value>>,
    refuse: Arc<Mutex<Option<Status>>>,
    sets: Arc<Mutex<usize>>,
    changes: watch::Sender<usize>,
    models: &'static str,
}

fn matches_step(entry: &Value, key: &std::collections::HashMap<String, String>) -> bool {
    key.iter().all(|(name, wanted)| entry[name].as_str().map_or_else(|| entry[name].to_string(), str::to_owned) == *wanted)
}

/// The place of a path; made if it is not there.
fn place<'a>(tree: &'a mut Value, path: &Path) -> &'a mut Value {
    path.elem.iter().fold(tree, |at, step| {
        let at = &mut at[&step.name];
        if step.key.is_empty() {
            return at;
        }
        if !at.is_array() {
            *at = json!([]);
        }
        let list = at.as_array_mut().unwrap();
        let found = list.iter().position(|it| matches_step(it, &step.key)).unwrap_or_else(|| {
            list.push(step.key.iter().map(|(key, value)| (key.clone(), json!(value))).collect());
            list.len() - 1
        });
        &mut list[found]
    })
}

fn delete(tree: &mut Value, path: &Path) {
    let (last, stem) = path.elem.split_last().unwrap();
    let stem = Path { elem: stem.to_vec(), ..Path::default() };
    let parent = place(tree, &stem);
    match parent.get_mut(&last.name) {
        Some(Value::Array(list)) if !last.key.is_empty() => list.retain(|it| !matches_step(it, &last.key)),
        Some(_) => _ = parent.as_object_mut().unwrap().remove(&last.name),
        None => {}
    }
}

fn value(update: &Update) -> Value {
    let Some(Typed::JsonIetf(bytes)) = &update.val.as_ref().unwrap().value else { panic!("{update:?}") };
    openconfig::bare(serde_json::from_slice(bytes).unwrap())
}

impl Fake {
    fn check(&self, request: &tonic::metadata::MetadataMap) -> Result<(), Status> {
        let is = |key: &str, wanted: &str| request.get(key).is_some_and(|it| it == wanted);
        if is("username", "admin") && is("password", "secret") { Ok(()) } else { Err(Status::unauthenticated("who are you")) }
    }

    fn get(&self, request: &GetRequest) -> Result<GetResponse, Status> {
        let path = request.path[0].clone();
        let mut tree = self.tree.lock().unwrap().clone();
        let found = if request.data_type == STATE {
            return Err(Status::invalid_argument("no wildcards here"));
        } else {
            place(&mut tree, &path).clone()
        };
        if found.is_null() {
            return Err(Status::not_found("no such thing"));
        }
        let val = Some(TypedValue { value: Some(Typed::JsonIetf(found.to_string().into_bytes())) });
        let update = vec![Update { path: Some(path), val, duplicates: 0 }];
        Ok(GetResponse { notification: vec![Notification { update, ..Notification::default() }] })
    }

    fn set(&self, request: &SetRequest) -> Result<SetResponse, Status> {
        *self.sets.lock().unwrap() += 1;
        if let Some(status) = self.refuse.lock().unwrap().take() {
            return Err(status);
        }
        let mut tree = self.tree.lock().unwrap();
        request.delete.iter().for_each(|it| delete(&mut tree, it));
        for it in &request.replace {
            *place(&mut tree, it.path.as_ref().unwrap()) = value(it);
        }
        for it in &request.update {
            for (key, value) in value(it).as_object().unwrap() {
                place(&mut tree, it.path.as_ref().unwrap())[key] = value.clone();
            }
        }
        self.changes.send_modify(|it| *it += 1);
        Ok(SetResponse::default())
    }
}

impl NamedService for Fake {
    const NAME: &'static str = "gnmi.gNMI";
}

impl tower::Service<http::Request<Body>> for Fake {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/gnmi.gNMI/Capabilities" => {
                    let answer = tower::service_fn(move |asked: Request<CapabilityRequest>| {
                        let answer = fake.check(asked.metadata()).map(|()| {
                            let model = ModelData { name: fake.models.into(), ..ModelData::default() };
                            let supported_encodings = vec![JSON, JSON_IETF];
                            Response::new(CapabilityResponse {
                                supported_models: vec![model],
                                supported_encodings,
                                version: "0.8.0".into(),
                            })
                        });
                        async { answer }
                    });
                    tonic::server::Grpc::new(ProstCodec::default()).unary(answer, request).await
                }
                "/gnmi.gNMI/Get" => {
                    let answer = tower::service_fn(move |asked: Request<GetRequest>| {
                        let answer = fake.check(asked.metadata()).and_then(|()| fake.get(asked.get_ref())).map(Response::new);
                        async { answer }
                    });
                    tonic::server::Grpc::new(ProstCodec::default()).unary(answer, request).await
                }
                "/gnmi.gNMI/Set" => {
                    let answer = tower::service_fn(move |asked: Request<SetRequest>| {
                        let answer = fake.check(asked.metadata()).and_then(|()| fake.set(asked.get_ref())).map(Response::new);
                        async { answer }
                    });
                    tonic::server::Grpc::new(ProstCodec::default()).unary(answer, request).await
                }
                "/gnmi.gNMI/Subscribe" => {
                    let answer = tower::service_fn(move |_: Request<tonic::Streaming<SubscribeRequest>>| {
                        let told =
                            |sync_response: bool| SubscribeResponse { update: (!sync_response).then(Notification::default), sync_response };
                        let first = futures_util::stream::iter([Ok(told(false)), Ok(told(true))]);
                        let mut changes = fake.changes.subscribe();
                        changes.mark_unchanged();
                        let later = futures_util::stream::unfold(changes, move |mut it| async move {
                            it.changed().await.ok().map(|()| (Ok::<_, Status>(told(false)), it))
                        });
                        async { Ok(Response::new(first.chain(later))) }
                    });
                    tonic::server::Grpc::new(ProstCodec::default()).streaming(answer, request).await
                }
                other => panic!("{other}"),
            })
        })
    }
}

struct Switchlike {
    fake: Fake,
    driver: Gnmi,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Switchlike {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn tree() -> Value {
    let port = |name: &str, enabled: bool, vlan: u16| {
        json!({"name": name, "config": {"name": name, "type": "iana-if-type:ethernetCsmacd", "enabled": enabled},
            "ethernet": {"config": {}, "switched-vlan": {"config": {"interface-mode": "ACCESS", "access-vlan": vlan}}}})
    };
    json!({
        "interfaces": {"interface": [port("Ethernet1", false, 999), port("Ethernet2", true, 5), port("Ethernet3", true, 101),
            port("Ethernet4", true, 1)]},
        "network-instances": {"network-instance": [{"name": "default", "vlans": {"vlan": [
            {"vlan-id": 5, "config": {"vlan-id": 5, "name": "others"}}, {"vlan-id": 101, "config": {"name": "cofferdam-old"}}]}}]},
    })
}

async fn start(tls: Option<(Identity, Trust)>, models: &'static str) -> Switchlike {
    let fake =
        Fake { tree: Arc::new(Mutex::new(tree())), refuse: Arc::default(), sets: Arc::default(), changes: watch::channel(0).0, models };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut builder = Server::builder();
    let mut trust = Trust::default();
    if let Some((identity, trusted)) = tls {
        builder = builder.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        trust = trusted;
    }
    let router = builder.add_service(fake.clone());
    let server = tokio::spawn(async move { _ = router.serve_with_incoming(TcpIncoming::from(listener)).await });
    let login = Login { username: "admin".into(), password: Some(model::Secret::new("secret")), ..Login::default() };
    let config = SwitchConfig { login, trust, ..SwitchConfig::plain("sw", "gnmi_openconfig", &address.to_string(), "", id(999)) };
    Switchlike { fake, driver: Gnmi::new(config).unwrap(), server }
}

fn wanted() -> SwitchWanted {
    let vlan = |name: &str| VlanWanted { name: name.to_owned(), vni: None };
    SwitchWanted {
        ports: [
            ("Ethernet1".to_owned(), PortMode::Access(id(100)).into()),
            ("Ethernet3".to_owned(), PortMode::Isolated.into()),
            ("Ethernet4".to_owned(), PortMode::Member { lag: "Port-Channel7".into() }.into()),
            ("Port-Channel7".to_owned(), PortMode::tagged([id(100)]).into()),
            ("Ethernet77".to_owned(), PortMode::Isolated.into()),
        ]
        .into(),
        lags: [("Port-Channel7".to_owned(), LagProtocol::Lacp)].into(),
        vlans: [(id(100), vlan("cofferdam-a")), (id(999), vlan("cofferdam-isolation"))].into(),
        managed: Managed { range: Some((id(100), id(200))), also: BTreeSet::from([id(999)]) },
        ..SwitchWanted::default()
    }
}

#[tokio::test]
async fn one_change_is_one_set() {
    let switch = start(None, "openconfig-interfaces").await;
    let done = switch.driver.ensure(&wanted()).await.unwrap();
    assert!(done.committed);
    assert_eq!(*done.before.mode("Ethernet1"), SeenMode::Known(PortMode::Isolated));
    for (port, it) in wanted().ports.iter().filter(|(port, _)| *port != "Ethernet77") {
        assert_eq!(*done.after.mode(port), SeenMode::Known(it.mode.clone()), "{port}");
    }
    assert_eq!(*done.after.mode("Ethernet2"), SeenMode::Known(PortMode::Access(id(5))));
    assert!(done.after.vlans[&id(100)].saved && !done.after.vlans.contains_key(&id(101)));
    assert!(done.after.lags["Port-Channel7"].is_ours);
    let again = switch.driver.ensure(&wanted()).await.unwrap();
    assert!(!again.committed);
    assert_eq!(*switch.fake.sets.lock().unwrap(), 1);
}

#[tokio::test]
async fn refusals_and_wrong_logins() {
    let switch = start(None, "openconfig-interfaces").await;
    *switch.fake.refuse.lock().unwrap() = Some(Status::invalid_argument("no such VLAN"));
    let refused = switch.driver.ensure(&wanted()).await;
    assert!(matches!(&refused, Err(SwitchError::Rejected { reason, .. }) if reason.contains("no such VLAN")), "{refused:?}");
    assert_eq!(*switch.fake.tree.lock().unwrap(), tree());
    assert!(switch.driver.ensure(&wanted()).await.unwrap().committed);

    // It is said once more after trouble, for nobody can see what a restart would come back to.
    switch.driver.is_unsure.store(true, Ordering::Relaxed);
    let before = switch.fake.tree.lock().unwrap().clone();
    assert!(switch.driver.ensure(&wanted()).await.unwrap().committed);
    assert_eq!(*switch.fake.tree.lock().unwrap(), before);
    assert!(!switch.driver.ensure(&wanted()).await.unwrap().committed);

    let mut config = switch.driver.config.clone();
    config.login.password = Some(model::Secret::new("wrong"));
    let refused = Gnmi::new(config).unwrap().observe().await;
    assert!(matches!(refused, Err(SwitchError::Trust { .. })), "{refused:?}");

    let other = start(None, "srl_nokia-interfaces").await;
    assert!(matches!(other.driver.observe().await, Err(SwitchError::Rejected { .. })));
}

fn socket_at(at: std::net::SocketAddr) -> tokio::net::TcpSocket {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at).unwrap();
    socket
}

/// An address at which nobody listens; it is nobody else's while the socket is there.
fn reserved() -> (tokio::net::TcpSocket, std::net::SocketAddr) {
    let socket = socket_at(([127, 0, 0, 1], 0).into());
    let at = socket.local_addr().unwrap();
    (socket, at)
}

/// Passes connections on until it is aborted, which breaks them.
async fn relay(at: std::net::SocketAddr, to: std::net::SocketAddr) -> tokio::task::JoinHandle<()> {
    let listener = socket_at(at).listen(16).unwrap();
    tokio::spawn(async move {
        let mut passing = tokio::task::JoinSet::new();
        while let Ok((mut ours, _)) = listener.accept().await {
            passing.spawn(async move {
                let mut theirs = tokio::net::TcpStream::connect(to).await.unwrap();
                _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
            });
        }
    })
}

#[tokio::test]
async fn a_broken_connection_is_made_again() {
    let switch = start(None, "openconfig-interfaces").await;
    let to = switch.driver.config.endpoint.parse().unwrap();
    let (_reserved, at) = reserved();
    let driver = Gnmi::new(SwitchConfig { endpoint: at.to_string(), ..switch.driver.config.clone() }).unwrap();
    let gone = driver.observe().await;
    assert!(matches!(gone, Err(SwitchError::Unreachable { .. })), "{gone:?}");
    for _ in 0..2 {
        let relay = relay(at, to).await;
        assert!(driver.observe().await.is_ok());
        assert!(driver.observe().await.is_ok());
        relay.abort();
        _ = relay.await;
    }
    let gone = driver.ensure(&wanted()).await;
    assert!(matches!(gone, Err(SwitchError::Unreachable { .. })), "{gone:?}");
}

/// Awaits changes until none is told for a while; one change may have been told in several pieces, but nothing is told for ever.
async fn falls_silent(driver: &Gnmi) -> bool {
    for _ in 0..5 {
        if tokio::time::timeout(Duration::from_millis(300), driver.changed().unwrap()).await.is_err() {
            return true;
        }
    }
    false
}

/// Awaits a change, of which there is none, until the switch knows that somebody listens.
async fn is_listened_to(driver: &Gnmi, fake: &Fake) {
    for _ in 0..40 {
        let told = tokio::time::timeout(Duration::from_millis(500), driver.changed().unwrap()).await;
        assert!(told.is_err(), "nothing changed: {told:?}");
        if fake.changes.receiver_count() > 0 && driver.was_subscribed.load(Ordering::Relaxed) {
            return;
        }
    }
    panic!("nobody ever listened");
}

#[tokio::test]
async fn changes_are_told() {
    let switch = start(None, "openconfig-interfaces").await;
    let wait = |millis| tokio::time::timeout(Duration::from_millis(millis), switch.driver.changed().unwrap());
    is_listened_to(&switch.driver, &switch.fake).await;
    let change = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        switch.driver.ensure(&wanted()).await.unwrap();
    };
    let (told, ()) = tokio::join!(wait(10_000), change);
    assert!(matches!(told, Ok(Ok(()))), "{told:?}");
    assert!(falls_silent(&switch.driver).await, "nothing changed since");
    // What changes while nobody awaits it is told to who does next, all of it at once.
    for _ in 0..5 {
        switch.fake.changes.send_modify(|it| *it += 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(wait(10_000).await, Ok(Ok(()))));
    assert!(falls_silent(&switch.driver).await, "nothing changed since");
}

#[tokio::test]
async fn who_cannot_listen_is_told_so() {
    let switch = start(None, "openconfig-interfaces").await;
    let to = switch.driver.config.endpoint.parse().unwrap();
    let (_reserved, at) = reserved();
    let driver = Gnmi::new(SwitchConfig { endpoint: at.to_string(), ..switch.driver.config.clone() }).unwrap();
    let wait = |millis| tokio::time::timeout(Duration::from_millis(millis), driver.changed().unwrap());
    assert!(matches!(wait(10_000).await, Ok(Err(SwitchError::Unreachable { .. }))));
    let first = relay(at, to).await;
    is_listened_to(&driver, &switch.fake).await;
    first.abort();
    _ = first.await;
    let broken = wait(10_000).await;
    assert!(matches!(broken, Ok(Err(_))), "{broken:?}");
    let second = relay(at, to).await;
    assert!(matches!(wait(10_000).await, Ok(Ok(()))), "what happened meanwhile nobody knows");
    assert!(falls_silent(&driver).await, "nothing changed since");
    second.abort();
}

#[tokio::test]
async fn only_who_is_trusted_learns_the_password() {
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (own, other) = (made("127.0.0.1"), made("127.0.0.1"));
    let identity = || Identity::from_pem(own.cert.pem(), own.signing_key.serialize_pem());
    let trust = |pem: String| Trust { ca: Some(pem), ..Trust::default() };
    let good = start(Some((identity(), trust(own.cert.pem()))), "openconfig-interfaces").await;
    assert!(good.driver.observe().await.is_ok());
    let bad = start(Some((identity(), trust(other.cert.pem()))), "openconfig-interfaces").await;
    let refused = bad.driver.observe().await;
    assert!(matches!(refused, Err(SwitchError::Trust { .. })), "{refused:?}");
}

#[test]
fn endpoints() {
    let of = |endpoint: &str| Target::of(&SwitchConfig::plain("sw", "gnmi_openconfig", endpoint, "", id(999)));
    for good in ["127.0.0.1:9339", "[::1]:9339", "localhost:9339", "tcp:192.0.2.1:9339"] {
        assert!(of(good).is_ok(), "{good}");
    }
    // Without a certificate to trust there is no telling who listens.
    for bad in ["192.0.2.1:9339", "leaf1:9339", "leaf1", "leaf1:x", "ssl:192.0.2.1:9339", ""] {
        assert!(matches!(of(bad), Err(SwitchError::Config { .. })), "{bad}");
    }
}
