//! Sessions are bounded: who was asked for least recently is logged out. A process of its own, since the table is the process's.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use drivers::bmc::{HardwareConfig, PowerState, open};
use model::secret::Settings;
use serde_json::{Map, Value, json};

type Log = Arc<Mutex<Vec<String>>>;

async fn answer(State(log): State<Log>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let token = headers.get("x-auth-token").and_then(|it| it.to_str().ok()).unwrap_or("nobody");
    log.lock().unwrap().push(format!("{method} {} {token}", uri.path()));
    match (method, uri.path()) {
        (Method::GET, "/redfish/v1/") => axum::Json(json!({"Links": {"Sessions": {"@odata.id": "/s"}}})).into_response(),
        (Method::POST, "/s") => (StatusCode::CREATED, [("x-auth-token", "t1"), ("location", "/s/1")], "{}").into_response(),
        (Method::GET, "/m") if token == "t1" => axum::Json(json!({"PowerState": "On"})).into_response(),
        (Method::DELETE, "/s/1") if token == "t1" => StatusCode::NO_CONTENT.into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn config(info: &Value) -> HardwareConfig {
    HardwareConfig {
        node: "n".into(),
        driver: "redfish".into(),
        interfaces: BTreeMap::new(),
        info: Settings(info.as_object().cloned().unwrap()),
        properties: Map::new(),
        target_raid_config: Map::new(),
        power: None,
    }
}

#[tokio::test]
async fn who_falls_out_of_the_table_is_logged_out() {
    let log = Log::default();
    let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&log));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let info = json!({"redfish_address": address, "redfish_system_id": "/m", "redfish_username": "u", "redfish_password": "p"});
    for _ in 0..3 {
        assert_eq!(open(config(&info)).unwrap().power().await.unwrap(), PowerState::On);
    }
    let logins = |log: &Log| log.lock().unwrap().iter().filter(|it| it.starts_with("POST")).count();
    assert_eq!(logins(&log), 1);
    // As many others as there may be; none of them is ever connected to.
    for n in 0..16_384_u32 {
        let other = json!({"redfish_address": "http://127.0.0.1:1", "redfish_username": format!("u{n}"), "redfish_password": "p"});
        drop(open(config(&other)).unwrap());
    }
    let until = Instant::now() + Duration::from_secs(20);
    while !log.lock().unwrap().contains(&"DELETE /s/1 t1".to_owned()) {
        assert!(Instant::now() < until, "it was not logged out: {:?}", log.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(open(config(&info)).unwrap().power().await.unwrap(), PowerState::On);
    assert_eq!(logins(&log), 2);
    server.abort();
}
