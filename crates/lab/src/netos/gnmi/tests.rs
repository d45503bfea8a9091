use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tonic::Code;
use tonic::client::Grpc as Client;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::proto::{Asked, ListMode, PathElem, SubscribeResponse, Subscription, SubscriptionList, SubscriptionMode, Told};
use super::*;
use crate::netos::device::Carried;
use crate::netos::{Simulator, Spec};

fn switch() -> Simulator {
    Simulator::start(Spec { gnmi: Some(([127, 0, 0, 1], 0).into()), ..Spec::new("openconfig", 3) }).expect("started")
}

async fn channel(switch: &Simulator, tls: bool) -> Channel {
    let address = switch.gnmi_address().expect("gNMI");
    let scheme = if tls { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://localhost:{}", address.port())).expect("an address");
    if tls {
        let ca = Certificate::from_pem(certificate().expect("a certificate"));
        endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca)).expect("TLS");
    }
    endpoint.connect().await.expect("connected")
}

fn with_login<T>(message: T, password: &'static str) -> Request<T> {
    let mut out = Request::new(message);
    out.metadata_mut().insert("username", "admin".parse().expect("text"));
    out.metadata_mut().insert("password", password.parse().expect("text"));
    out
}

async fn ask<A, B>(channel: &Channel, method: &'static str, message: A) -> Result<B, Status>
where
    A: prost::Message + 'static,
    B: prost::Message + Default + 'static,
{
    let mut client = Client::new(channel.clone());
    client.ready().await.expect("ready");
    let path = http::uri::PathAndQuery::from_static(method);
    let codec: ProstCodec<A, B> = ProstCodec::default();
    client.unary(with_login(message, "admin"), path, codec).await.map(Response::into_inner)
}

/// `/a/b[k=v]` without slashes in keys.
fn path(text: &str) -> Path {
    let elem = |it: &str| match it.split_once('[') {
        None => PathElem { name: it.into(), key: BTreeMap::new() },
        Some((name, key)) => {
            let (key, value) = key.trim_end_matches(']').split_once('=').expect("a key");
            PathElem { name: name.into(), key: BTreeMap::from([(key.into(), value.into())]) }
        }
    };
    Path { elem: text.split('/').filter(|it| !it.is_empty()).map(elem).collect(), ..Path::default() }
}

fn update(at: &str, value: &Value) -> Update {
    Update { path: Some(path(at)), val: Some(encoded(value, Encoding::JsonIetf.into()).expect("JSON")) }
}

async fn get(channel: &Channel, at: &str, kind: DataType) -> Result<Vec<Value>, Status> {
    let request = GetRequest { path: vec![path(at)], r#type: kind.into(), encoding: Encoding::JsonIetf.into(), ..GetRequest::default() };
    let response: GetResponse = ask(channel, "/gnmi.gNMI/Get", request).await?;
    let updates = response.notification.into_iter().flat_map(|it| it.update);
    Ok(updates
        .map(|it| match it.val.and_then(|it| it.value) {
            Some(Val::JsonIetf(bytes)) => serde_json::from_slice(&bytes).expect("JSON"),
            other => panic!("{other:?}"),
        })
        .collect())
}

async fn set(channel: &Channel, request: SetRequest) -> Result<SetResponse, Status> {
    ask(channel, "/gnmi.gNMI/Set", request).await
}

const VLAN: &str = "/interfaces/interface[name=Ethernet2]/ethernet/switched-vlan/config";

#[tokio::test]
async fn a_set_is_one_transaction() {
    let switch = switch();
    let channel = channel(&switch, true).await;
    let capabilities: CapabilityResponse = ask(&channel, "/gnmi.gNMI/Capabilities", CapabilityRequest {}).await.expect("answered");
    assert!(capabilities.supported_models.iter().any(|it| it.name == "openconfig-vlan"));
    assert_eq!(get(&channel, &format!("{VLAN}/access-vlan"), DataType::All).await.expect("there"), [json!(1)]);
    let declared = update(
        "/network-instances/network-instance[name=default]/vlans/vlan[vlan-id=10]",
        &json!({"config": {"vlan-id": 10, "name": "net"}}),
    );
    let trunk = json!({"openconfig-vlan:interface-mode": "TRUNK", "trunk-vlans": [10, "20..22"], "native-vlan": 10});
    let wrong = SetRequest {
        replace: vec![update(VLAN, &trunk)],
        update: vec![update("/interfaces/interface[name=Ethernet9]/config", &json!({"mtu": 1500}))],
        ..SetRequest::default()
    };
    let refused = set(&channel, wrong).await.expect_err("no such port");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(switch.device().carries("Ethernet2").untagged, Some(1), "nothing of it");
    let right = SetRequest { replace: vec![update(VLAN, &trunk)], update: vec![declared], ..SetRequest::default() };
    assert_eq!(set(&channel, right).await.expect("taken").response.len(), 2);
    assert_eq!(switch.device().carries("Ethernet2"), Carried { untagged: Some(10), tagged: BTreeSet::new() });
    let shown = get(&channel, VLAN, DataType::Config).await.expect("there");
    assert_eq!(
        shown,
        [
            json!({"openconfig-vlan:interface-mode": "TRUNK", "openconfig-vlan:native-vlan": 10, "openconfig-vlan:trunk-vlans": [10, "20..22"]})
        ]
    );
    assert_eq!(get(&channel, "/interfaces/interface/state/name", DataType::State).await.expect("there").len(), 3);
    set(&channel, SetRequest { delete: vec![path(VLAN)], ..SetRequest::default() }).await.expect("taken");
    assert!(switch.device().carries("Ethernet2").is_empty());
    assert_eq!(get(&channel, VLAN, DataType::All).await.expect_err("gone").code(), Code::NotFound);
    assert_eq!(get(&channel, "/interfaces/bogus", DataType::All).await.expect_err("no path").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn strangers_are_not_let_in_and_faults_strike() {
    let switch = switch();
    let channel = channel(&switch, false).await;
    let mut client = Client::new(channel.clone());
    client.ready().await.expect("ready");
    let codec: ProstCodec<CapabilityRequest, CapabilityResponse> = ProstCodec::default();
    let method = http::uri::PathAndQuery::from_static("/gnmi.gNMI/Capabilities");
    let refused = client.unary(with_login(CapabilityRequest {}, "guess"), method, codec).await.expect_err("a stranger");
    assert_eq!(refused.code(), Code::Unauthenticated);
    switch.faults().change(|it| it.refuse = vec![crate::netos::faults::Refusal { contains: "Ethernet1".into(), times: None }]);
    let description = |name: &str| SetRequest {
        update: vec![update(&format!("/interfaces/interface[name={name}]/config/description"), &json!("x"))],
        ..SetRequest::default()
    };
    assert_eq!(set(&channel, description("Ethernet1")).await.expect_err("refused").code(), Code::Aborted);
    set(&channel, description("Ethernet2")).await.expect("taken");
    assert_eq!(switch.device().running(), switch.device().startup());
    switch.device().reboot(Duration::ZERO);
    assert!(
        set(&channel, description("Ethernet2")).await.is_ok() || set(&channel, description("Ethernet2")).await.is_ok(),
        "connects anew"
    );
}

#[tokio::test]
async fn subscribers_are_told() {
    let switch = switch();
    let channel = channel(&switch, false).await;
    let subscribe = |mode: ListMode, kind: SubscriptionMode| {
        let subscription = Subscription { path: Some(path(VLAN)), mode: kind.into(), sample_interval: 200_000_000 };
        let list = SubscriptionList {
            subscription: vec![subscription],
            mode: mode.into(),
            encoding: Encoding::JsonIetf.into(),
            ..SubscriptionList::default()
        };
        SubscribeRequest { request: Some(Asked::Subscribe(list)) }
    };
    for (mode, kind) in [
        (ListMode::Once, SubscriptionMode::TargetDefined),
        (ListMode::Stream, SubscriptionMode::OnChange),
        (ListMode::Stream, SubscriptionMode::Sample),
    ] {
        let (keep, open) = tokio::sync::oneshot::channel::<()>();
        let first = subscribe(mode, kind);
        let asked = futures_util::stream::unfold((Some(first), Some(open)), |(first, open)| async move {
            match first {
                Some(it) => Some((it, (None, open))),
                None => {
                    // Open until the test is through.
                    let _closed = open?.await;
                    None
                }
            }
        });
        let mut client = Client::new(channel.clone());
        client.ready().await.expect("ready");
        let codec: ProstCodec<SubscribeRequest, SubscribeResponse> = ProstCodec::default();
        let method = http::uri::PathAndQuery::from_static("/gnmi.gNMI/Subscribe");
        let mut told = client.streaming(with_login(asked, "admin"), method, codec).await.expect("taken").into_inner();
        let mut next = async || told.message().await.expect("told").and_then(|it| it.response);
        let Some(Told::Update(all)) = next().await else { panic!("no update") };
        assert_eq!(all.update.len(), 2, "{all:?}");
        assert_eq!(next().await, Some(Told::SyncResponse(true)));
        if mode == ListMode::Once {
            assert_eq!(next().await, None);
            continue;
        }
        switch.device().edit(|it| it.ports.get_mut("Ethernet2").expect("a port").access += 1);
        let Some(Told::Update(change)) = next().await else { panic!("no update") };
        assert_eq!(change.update.len(), if kind == SubscriptionMode::OnChange { 1 } else { 2 }, "{change:?}");
        drop(keep);
    }
}
