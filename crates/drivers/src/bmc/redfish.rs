//! BMCs that speak Redfish (DMTF DSP0266), by the few calls that power and boot need.

use std::time::Duration;

use http::Method;
use model::Secret;
use net::Netns;
use net::http::{Client, HttpError, Request, Response};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Bmc, BmcError, BootDevice, PowerAction, HardwareConfig, PowerState, VerifyCa};
use crate::Fut;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Where a BMC is and how to log in.
#[derive(Clone)]
pub(super) struct RedfishConfig {
    /// Its URL, `https://…` or `http://…`, without the path of the service.
    address: String,
    /// The machine's path below it (`/redfish/v1/Systems/1`). Without it the BMC must have exactly one system.
    system: Option<String>,
    username: String,
    password: Secret,
    verify_ca: VerifyCa,
}

impl RedfishConfig {
    pub(super) fn read(config: &HardwareConfig) -> Result<Self, BmcError> {
        let info = &config.info;
        let text = |key: &str| info.text(key).map(str::to_owned);
        let missing = || BmcError::Config { address: String::new(), reason: "driver_info has no redfish_address".into() };
        let verify_ca = match info.0.get("redfish_verify_ca") {
            Some(Value::String(pem)) if pem.contains("BEGIN CERTIFICATE") => VerifyCa::Pem(pem.clone()),
            Some(Value::Bool(false)) => VerifyCa::Anyone,
            Some(Value::String(word)) if word.eq_ignore_ascii_case("false") => VerifyCa::Anyone,
            _ => VerifyCa::Pem(String::new()),
        };
        Ok(Self {
            address: text("redfish_address").ok_or_else(missing)?,
            system: text("redfish_system_id"),
            username: text("redfish_username").unwrap_or_default(),
            password: Secret::new(text("redfish_password").unwrap_or_default()),
            verify_ca,
        })
    }
}

pub(super) struct Redfish {
    config: RedfishConfig,
    base: String,
    http: Client,
    system: OnceCell<String>,
}

impl Redfish {
    pub(super) fn new(config: RedfishConfig) -> Result<Redfish, BmcError> {
        let base = config.address.trim_end_matches('/').to_owned();
        let base = if base.contains("://") { base } else { format!("https://{base}") };
        let wrong = |reason: String| BmcError::Config { address: base.clone(), reason };
        let tls = match (&config.verify_ca, base.starts_with("https://")) {
            (_, false) => None,
            (VerifyCa::Anyone, true) => Some(crate::tls::blind().map_err(wrong)?),
            (VerifyCa::Pem(pem), true) => {
                Some(crate::tls::trusting(pem, None).map_err(|reason| wrong(format!("redfish_verify_ca: {reason}")))?)
            }
        };
        let http = Client { netns: Netns::host(), tls, server_name: None, deadline: LIMIT };
        Ok(Redfish { config, base, http, system: OnceCell::new() })
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, BmcError> {
        let address = self.base.clone();
        let url = format!("{}{path}", self.base);
        let request = match body {
            Some(body) => Request::json(method, url, body),
            None => Request::new(method, url),
        };
        let request = request.basic_auth(&self.config.username, self.config.password.reveal()).header("accept", "application/json");
        let answer = self.http.send(request).await.map_err(|error| match error {
            HttpError::Timeout { .. } => BmcError::Timeout { address: address.clone() },
            HttpError::Malformed { why, .. } => BmcError::Config { address: address.clone(), reason: why },
            HttpError::Connect { source, .. } => BmcError::Unreachable { address: address.clone(), reason: source.to_string() },
            HttpError::Broken { why, .. } => BmcError::Unreachable { address: address.clone(), reason: why },
        })?;
        let reason = words(&answer);
        match answer.status {
            200..=299 => Ok(answer),
            401 | 403 => Err(BmcError::Denied { address, reason }),
            409 | 423 | 429 | 503 => Err(BmcError::Conflict { address, reason }),
            _ => Err(BmcError::Rejected { address, reason }),
        }
    }

    async fn read(&self, path: &str) -> Result<Value, BmcError> {
        let answer = self.call(Method::GET, path, None).await?;
        answer.json().map_err(|error| BmcError::Protocol { address: self.base.clone(), reason: format!("{path}: {error}") })
    }

    /// The path of the machine, looked up once if it was not given.
    async fn system(&self) -> Result<&str, BmcError> {
        if let Some(path) = &self.config.system {
            return Ok(path);
        }
        let found = self.system.get_or_try_init(|| async {
            let systems = self.read("/redfish/v1/Systems").await?;
            let members: Vec<&str> =
                systems["Members"].as_array().into_iter().flatten().filter_map(|it| it["@odata.id"].as_str()).collect();
            match members.as_slice() {
                [one] => Ok((*one).to_owned()),
                _ => Err(BmcError::Config {
                    address: self.base.clone(),
                    reason: format!("it has {} systems: redfish_system_id must say which is meant", members.len()),
                }),
            }
        });
        found.await.map(String::as_str)
    }
}

/// The extended error of an answer (DSP0266, "Error responses"), else its text.
fn words(answer: &Response) -> String {
    let body: Value = answer.json().unwrap_or_default();
    let extended: Vec<&str> = body
        .pointer("/error/@Message.ExtendedInfo")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|it| it["Message"].as_str())
        .collect();
    let said = if extended.is_empty() {
        body.pointer("/error/message").and_then(Value::as_str).map(str::to_owned)
    } else {
        Some(extended.join("; "))
    };
    format!("status {}: {}", answer.status, said.unwrap_or_else(|| answer.text().chars().take(200).collect()))
}

impl Bmc for Redfish {
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>> {
        Box::pin(async move {
            let system = self.read(self.system().await?).await?;
            match system["PowerState"].as_str() {
                Some("On") => Ok(PowerState::On),
                Some("Off") => Ok(PowerState::Off),
                Some("PoweringOn" | "PoweringOff" | "Paused") => Ok(PowerState::Changing),
                other => Err(BmcError::Protocol { address: self.base.clone(), reason: format!("its PowerState is {other:?}") }),
            }
        })
    }

    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            let path = self.system().await?;
            let system = self.read(path).await?;
            let is_on = system["PowerState"] == "On";
            let is_off = system["PowerState"] == "Off";
            let reset = match action {
                PowerAction::On if is_on => return Ok(()),
                PowerAction::Off | PowerAction::SoftOff if is_off => return Ok(()),
                PowerAction::On => "On",
                PowerAction::Off => "ForceOff",
                PowerAction::SoftOff => "GracefulShutdown",
                PowerAction::Reset if is_off => "On",
                PowerAction::Reset => "ForceRestart",
            };
            let target = system.pointer("/Actions/#ComputerSystem.Reset/target").and_then(Value::as_str);
            let target = target.map_or_else(|| format!("{}/Actions/ComputerSystem.Reset", path.trim_end_matches('/')), str::to_owned);
            self.call(Method::POST, &target, Some(&json!({"ResetType": reset}))).await.map(drop)
        })
    }

    fn set_boot(&self, device: BootDevice, once: bool) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            let target = match device {
                BootDevice::Pxe => "Pxe",
                BootDevice::Disk => "Hdd",
                BootDevice::Cdrom => "Cd",
                BootDevice::UefiHttp => "UefiHttp",
                BootDevice::Bios => "BiosSetup",
                BootDevice::Floppy => "Floppy",
                BootDevice::Usb => "Usb",
                other @ (BootDevice::Safe | BootDevice::Wanboot) => {
                    return Err(BmcError::Unsupported { what: format!("boot device {}", other.as_str()) });
                }
            };
            let enabled = if once { "Once" } else { "Continuous" };
            let body = json!({"Boot": {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": enabled}});
            self.call(Method::PATCH, self.system().await?, Some(&body)).await.map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Json;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, post};
    use model::Secret;

    use super::*;

    /// A BMC with state: one machine, power that takes one more reading to change.
    #[derive(Default)]
    struct Fake {
        on: bool,
        pending: Option<bool>,
        boot: Value,
        resets: Vec<String>,
    }

    type Shared = Arc<Mutex<Fake>>;

    fn allowed(headers: &HeaderMap) -> bool {
        headers.get("authorization").is_some_and(|it| it == "Basic YWRtaW46cw==")
    }

    async fn show(State(fake): State<Shared>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
        if !allowed(&headers) {
            return (StatusCode::UNAUTHORIZED, Json(json!({"error": {"message": "log in"}})));
        }
        let mut fake = fake.lock().unwrap();
        let state = match fake.pending.take() {
            Some(next) => {
                fake.on = next;
                if next { "PoweringOn" } else { "PoweringOff" }
            }
            None if fake.on => "On",
            None => "Off",
        };
        (StatusCode::OK, Json(json!({"PowerState": state, "Boot": fake.boot})))
    }

    async fn patch(State(fake): State<Shared>, Json(body): Json<Value>) -> StatusCode {
        fake.lock().unwrap().boot = body["Boot"].clone();
        StatusCode::NO_CONTENT
    }

    async fn reset(State(fake): State<Shared>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
        let mut fake = fake.lock().unwrap();
        let kind = body["ResetType"].as_str().unwrap_or_default().to_owned();
        if kind == "On" && fake.on {
            let info = json!([{"Message": "it is on"}]);
            return (StatusCode::CONFLICT, Json(json!({"error": {"message": "x", "@Message.ExtendedInfo": info}})));
        }
        fake.pending = Some(kind != "ForceOff");
        fake.resets.push(kind);
        (StatusCode::NO_CONTENT, Json(Value::Null))
    }

    async fn bmc(password: &str) -> (Shared, Redfish) {
        let fake = Shared::default();
        let router = axum::Router::new()
            .route("/redfish/v1/Systems", get(|| async { Json(json!({"Members": [{"@odata.id": "/redfish/v1/Systems/1"}]})) }))
            .route("/redfish/v1/Systems/1", get(show).patch(patch))
            .route("/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", post(reset))
            .with_state(Arc::clone(&fake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        let config =
            RedfishConfig { address, system: None, username: "admin".into(), password: Secret::new(password), verify_ca: VerifyCa::Anyone };
        (fake, Redfish::new(config).unwrap())
    }

    #[tokio::test]
    async fn power_and_boot() {
        let (fake, bmc) = bmc("s").await;
        assert_eq!(bmc.power().await.unwrap(), PowerState::Off);
        bmc.set_power(PowerAction::Off).await.unwrap();
        assert!(fake.lock().unwrap().resets.is_empty(), "what is there already is not asked for");
        bmc.set_boot(BootDevice::Pxe, true).await.unwrap();
        assert_eq!(fake.lock().unwrap().boot, json!({"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}));
        bmc.set_power(PowerAction::On).await.unwrap();
        assert_eq!(bmc.power().await.unwrap(), PowerState::Changing);
        assert_eq!(bmc.power().await.unwrap(), PowerState::On);
        bmc.set_power(PowerAction::On).await.unwrap();
        bmc.set_power(PowerAction::Reset).await.unwrap();
        assert_eq!(fake.lock().unwrap().resets, ["On", "ForceRestart"]);
    }

    #[tokio::test]
    async fn a_wrong_password_is_told_and_not_shown() {
        let (_, bmc) = bmc("wrong-hunter2").await;
        let error = bmc.power().await.unwrap_err();
        assert!(matches!(error, BmcError::Denied { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let config = RedfishConfig {
            address,
            system: Some("/s".into()),
            username: String::new(),
            password: Secret::new(""),
            verify_ca: VerifyCa::Anyone,
        };
        assert!(matches!(Redfish::new(config).unwrap().power().await, Err(BmcError::Unreachable { .. })));
    }
}
