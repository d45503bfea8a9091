//! A machine's console by the API, from switching it on to a client that types, and what the metrics tell meanwhile.
#![cfg(test)]

#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use support::api::{Service, Session};
use support::serve::{Serve, Setting};
use support::{free_port, wait_for};

/// What stands in for `ipmitool`: a machine that is on and says hello; it needs the right password.
const STAND_IN: &str = "#!/bin/sh
[ \"$IPMI_PASSWORD\" = hunter2 ] || exit 1
case \"$*\" in *\"sol activate\") echo hello; while read -r line; do echo \"<$line>\"; done;; *) exit 0;; esac
";

/// Sends `request` and reads until `wanted` was answered, or all of it.
fn ask(stream: &mut TcpStream, request: &[u8], wanted: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&seen);
        if n == 0 || (!wanted.is_empty() && text.contains(wanted)) {
            return text.into_owned();
        }
    }
}

/// A binary message of a client, masked by zeros.
fn message(text: &str) -> Vec<u8> {
    let mut out = vec![0x82, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    out.extend_from_slice(text.as_bytes());
    out
}

fn scrape(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    ask(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", "")
}

/// The machine's API in a version that has all of it.
fn call(admin: &Session, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let request = admin.request(method, Service::Baremetal, path, body).header("x-openstack-ironic-api-version", "1.95");
    let answer = support::api::send(request, Duration::from_secs(20)).unwrap();
    (answer.status, answer.body)
}

#[test]
fn a_console_and_the_metrics() {
    let dir = tempfile::Builder::new().prefix("cofferdam-console-").tempdir().unwrap();
    let stand_in = dir.path().join("ipmitool");
    std::fs::write(&stand_in, STAND_IN).unwrap();
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = dir.path().join("config.toml");
    let port = free_port(20_000, 4_000);
    let text = format!(
        "[console]\nipmitool = {stand_in:?}\n[baremetal]\npower_sync_interval_seconds = 1\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let serve = Serve::start(Setting { config: Some(config), ..Setting::new(&dir.path().join("state")) });
    let admin = Session::admin(&serve.setting.base(), &serve.setting.state_dir);
    let node = json!({"name": "con-1", "driver": "ipmi", "console_interface": "ipmitool-socat",
        "driver_info": {"ipmi_address": "192.0.2.7", "ipmi_username": "admin", "ipmi_password": "hunter2"}});
    let (status, made) = call(&admin, Method::POST, "/nodes", Some(&node));
    assert_eq!(status, 201, "{made}");
    let console = |wanted: bool| {
        wait_for("the console", Duration::from_secs(20), || {
            let (status, body) = call(&admin, Method::GET, "/nodes/con-1/states/console", None);
            assert_eq!(status, 200, "{body}");
            if body["console_enabled"] == json!(wanted) { Ok(body) } else { Err(body.to_string()) }
        })
    };
    assert_eq!(console(false)["console_info"], Value::Null);
    let (status, _) = call(&admin, Method::PUT, "/nodes/con-1/states/console", Some(&json!({"enabled": true})));
    assert_eq!(status, 202);
    let shown = console(true);
    assert_eq!(shown["console_info"]["type"], "websocket");
    let url = shown["console_info"]["url"].as_str().unwrap();
    let id = made["uuid"].as_str().unwrap();
    let host = format!("127.0.0.1:{}", serve.setting.port);
    let path = url.strip_prefix(&format!("ws://{host}")).unwrap_or_else(|| panic!("{url}"));
    assert!(path.starts_with(&format!("/baremetal/v1/nodes/{id}/console?token=")), "{url}");

    let open = |path: &str, wanted: &str| {
        let mut stream = TcpStream::connect(&host).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary\r\n\r\n"
        );
        let seen = ask(&mut stream, request.as_bytes(), wanted);
        (stream, seen)
    };
    let (mut stream, seen) = open(path, "hello\n");
    assert!(seen.starts_with("HTTP/1.1 101") && seen.to_ascii_lowercase().contains("sec-websocket-protocol: binary"), "{seen}");
    let seen = ask(&mut stream, &message("who\n"), "<who>\n");
    assert!(seen.contains("<who>\n"), "{seen:?}");
    assert!(open(&path.replace("token=", "token=0"), "\r\n\r\n").1.starts_with("HTTP/1.1 404"));

    let text = wait_for("metrics of the machine", Duration::from_secs(40), || {
        let text = scrape(port);
        if text.contains("cofferdam_node_state{") { Ok(text) } else { Err(text) }
    });
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("text/plain; version=0.0.4"), "{text}");
    for wanted in [
        format!("cofferdam_node_state{{node=\"{id}\",name=\"con-1\",state=\"enroll\"}} 1\n"),
        format!("cofferdam_node_maintenance{{node=\"{id}\",name=\"con-1\"}} 0\n"),
        "cofferdam_objects{kind=\"node\"} 1\n".into(),
        "cofferdam_work{kind=\"node_console\",state=\"held\"} 1\n".into(),
        "cofferdam_look_seconds_count{kind=\"node_console\"}".into(),
    ] {
        assert!(text.contains(&wanted), "{wanted} is not in {text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("token"), "{text}");
    // Asked again at once it is the same text.
    assert_eq!(scrape(port).split("\r\n\r\n").nth(1), text.split("\r\n\r\n").nth(1));

    let (status, _) = call(&admin, Method::PUT, "/nodes/con-1/states/console", Some(&json!({"enabled": false})));
    assert_eq!(status, 202);
    console(false);
    // The client is told and cut off.
    assert!(ask(&mut stream, b"", "").contains("the console is off"));
    assert!(open(path, "\r\n\r\n").1.starts_with("HTTP/1.1 404"));
    let log = std::fs::read_to_string(serve.setting.log()).unwrap();
    assert!(!log.contains("token=") && !log.contains("hunter2"), "a secret is in the log");
    assert!(serve.terminate().success());
}
