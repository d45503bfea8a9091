//! Client of the Docker Engine API over mutual TLS, as far as a swarm needs it.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use model::Secret;
use net::Netns;
use net::http::{Client, HttpError, Request};
use serde_json::{Value, json};

/// Version of the API: what Debian 12's Docker 20.10 speaks.
const API: &str = "v1.41";
/// Starting or joining a swarm takes a daemon some seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Whether a daemon takes part in a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwarmState {
    /// Not in a swarm.
    Inactive,
    /// Joining; not yet accepted by a manager.
    Pending,
    /// In a swarm.
    Active,
    /// In a swarm that it lost touch with, or whose certificate it could not renew.
    Error,
    /// In a swarm whose keys are locked.
    Locked,
    /// A word that this version does not know.
    Other(String),
}

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The host's name.
    pub name: String,
    /// The daemon's version (`20.10.24`).
    pub server_version: String,
    /// Whether it is in a swarm.
    pub state: SwarmState,
    /// Its id as a swarm node; empty outside of a swarm.
    pub node_id: String,
    /// Its address in the swarm; empty outside.
    pub node_addr: String,
    /// Whether it is a manager.
    pub control_available: bool,
    /// Addresses of the managers it knows.
    pub remote_managers: Vec<String>,
    /// The swarm's id; only a manager knows it.
    pub cluster_id: Option<String>,
    /// Why the swarm does not work, in the daemon's words.
    pub error: String,
}

/// A swarm as its manager describes it.
#[derive(Clone)]
pub struct Swarm {
    /// Its id.
    pub id: String,
    /// What a worker needs to join.
    pub worker_token: Secret,
    /// What a manager needs to join.
    pub manager_token: Secret,
}

/// A node of a swarm as a manager sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmNode {
    /// Its id.
    pub id: String,
    /// The host's name.
    pub hostname: String,
    /// Its address as the manager saw it.
    pub addr: String,
    /// `manager` or `worker`.
    pub role: String,
    /// `active`, `pause` or `drain`.
    pub availability: String,
    /// `ready`, `down`, `unknown`, `disconnected`.
    pub state: String,
    /// The manager's remark on the state.
    pub message: String,
    /// Whether it is the leader among managers.
    pub leader: bool,
}

/// Why a daemon could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No connection, or one that is not with the right daemon. Nothing is known: look later.
    #[error("could not reach the Docker daemon at {endpoint}: {reason}")]
    Unreachable {
        /// Its address.
        endpoint: SocketAddr,
        /// What the connection said.
        reason: String,
    },
    /// No answer in time; the order may stand.
    #[error("the Docker daemon at {endpoint} did not answer in time while {doing}")]
    Timeout {
        /// Its address.
        endpoint: SocketAddr,
        /// What was asked.
        doing: &'static str,
    },
    /// It refused.
    #[error("the Docker daemon at {endpoint} refused (status {status}) while {doing}: {reason}")]
    Rejected {
        /// Its address.
        endpoint: SocketAddr,
        /// HTTP status.
        status: u16,
        /// What was asked.
        doing: &'static str,
        /// Its own words, without tokens.
        reason: String,
    },
    /// It is in a swarm that is not the one it should be in. Only leaving helps; that is the caller's decision.
    #[error("the Docker daemon at {endpoint} is in another swarm: {reason}")]
    OtherSwarm {
        /// Its address.
        endpoint: SocketAddr,
        /// How that was seen.
        reason: String,
    },
    /// It is on its way, but not there yet: look again.
    #[error("the Docker daemon at {endpoint} is not yet in its swarm: {reason}")]
    NotYet {
        /// Its address.
        endpoint: SocketAddr,
        /// How that was seen.
        reason: String,
    },
    /// It answered what cannot be understood.
    #[error("the Docker daemon at {endpoint} answered what cannot be understood: {reason}")]
    Protocol {
        /// Its address.
        endpoint: SocketAddr,
        /// What was wrong.
        reason: String,
    },
    /// Certificates or names cannot be used.
    #[error("the Docker daemon at {endpoint} cannot be spoken to: {reason}")]
    Config {
        /// Its address.
        endpoint: SocketAddr,
        /// What is wrong.
        reason: String,
    },
}

/// Client of one daemon.
pub struct DockerClient {
    endpoint: SocketAddr,
    http: Client,
}

impl DockerClient {
    /// Makes a client; connects lazily, from `netns`. The daemon must show a certificate of `ca_pem` for
    /// `server_name`, whatever its address is.
    ///
    /// # Errors
    /// `Config` if a certificate, the key or the name cannot be used.
    pub fn new(
        endpoint: SocketAddr,
        ca_pem: &str,
        cert_pem: &str,
        key_pem: &Secret,
        server_name: &str,
        netns: Netns,
    ) -> Result<DockerClient, DockerError> {
        let tls =
            crate::tls::trusting(ca_pem, Some((cert_pem, key_pem.reveal()))).map_err(|reason| DockerError::Config { endpoint, reason })?;
        let http = Client { netns, tls: Some(tls), server_name: Some(server_name.to_owned()), deadline: LIMIT };
        Ok(DockerClient { endpoint, http })
    }

    async fn call(&self, doing: &'static str, method: Method, path: &str, body: Option<Value>) -> Result<Value, DockerError> {
        let endpoint = self.endpoint;
        let url = format!("https://{endpoint}/{API}{path}");
        let request = match body {
            Some(body) => Request::json(method, url, &body),
            None => Request::new(method, url),
        };
        let answer = self.http.send(request).await.map_err(|error| match error {
            HttpError::Timeout { .. } => DockerError::Timeout { endpoint, doing },
            HttpError::Malformed { why, .. } => DockerError::Config { endpoint, reason: why },
            HttpError::Connect { source, .. } => DockerError::Unreachable { endpoint, reason: source.to_string() },
            HttpError::Broken { why, .. } => DockerError::Unreachable { endpoint, reason: why },
        })?;
        if !answer.is_success() {
            let words = answer.json::<Value>().ok().and_then(|it| it.get("message").and_then(Value::as_str).map(str::to_owned));
            let reason = hide_tokens(&words.unwrap_or_else(|| answer.text()));
            return Err(DockerError::Rejected { endpoint, status: answer.status, doing, reason });
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        // Some calls answer with plain text.
        Ok(answer.json().unwrap_or_else(|_| Value::String(answer.text())))
    }

    /// Asks whether the daemon answers.
    ///
    /// # Errors
    /// See [`DockerError`].
    pub async fn ping(&self) -> Result<(), DockerError> {
        self.call("asking whether it answers", Method::GET, "/_ping", None).await.map(drop)
    }

    /// Reads what the daemon says of itself and of its swarm.
    ///
    /// # Errors
    /// See [`DockerError`].
    pub async fn info(&self) -> Result<Info, DockerError> {
        let info = self.call("reading its state", Method::GET, "/info", None).await?;
        let text = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let managers = info.pointer("/Swarm/RemoteManagers").and_then(Value::as_array);
        Ok(Info {
            name: text("/Name"),
            server_version: text("/ServerVersion"),
            state: match text("/Swarm/LocalNodeState").as_str() {
                "inactive" | "" => SwarmState::Inactive,
                "pending" => SwarmState::Pending,
                "active" => SwarmState::Active,
                "error" => SwarmState::Error,
                "locked" => SwarmState::Locked,
                other => SwarmState::Other(other.to_owned()),
            },
            node_id: text("/Swarm/NodeID"),
            node_addr: text("/Swarm/NodeAddr"),
            control_available: info.pointer("/Swarm/ControlAvailable").and_then(Value::as_bool).unwrap_or(false),
            remote_managers: managers.into_iter().flatten().filter_map(|it| it.get("Addr")?.as_str().map(str::to_owned)).collect(),
            cluster_id: info.pointer("/Swarm/Cluster/ID").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned),
            error: text("/Swarm/Error"),
        })
    }

    /// Starts a new swarm whose overlay networks take their subnets from `pool` (a CIDR); returns the node's id.
    ///
    /// # Errors
    /// `Rejected` with status 503 if the daemon is in a swarm already.
    pub async fn swarm_init(&self, advertise: &str, listen: &str, pool: &str) -> Result<String, DockerError> {
        let body = json!({
            "ListenAddr": listen, "AdvertiseAddr": advertise, "DataPathAddr": advertise, "DefaultAddrPool": [pool], "SubnetSize": 24,
        });
        let answer = self.call("starting a swarm", Method::POST, "/swarm/init", Some(body)).await?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Reads the swarm's id and join tokens from a manager.
    ///
    /// # Errors
    /// `Rejected` with status 503 if the daemon is no manager.
    pub async fn swarm_inspect(&self) -> Result<Swarm, DockerError> {
        let swarm = self.call("reading its swarm", Method::GET, "/swarm", None).await?;
        let text = |path: &str| {
            let found = swarm.pointer(path).and_then(Value::as_str).filter(|it| !it.is_empty());
            found
                .map(str::to_owned)
                .ok_or_else(|| DockerError::Protocol { endpoint: self.endpoint, reason: format!("its swarm has no {path}") })
        };
        Ok(Swarm {
            id: text("/ID")?,
            worker_token: Secret::new(text("/JoinTokens/Worker")?),
            manager_token: Secret::new(text("/JoinTokens/Manager")?),
        })
    }

    /// Joins the swarm whose managers are at `remotes` (`ADDRESS:2377`).
    ///
    /// # Errors
    /// `Rejected` with status 503 if the daemon is in a swarm already.
    pub async fn swarm_join(&self, remotes: &[String], token: &Secret, advertise: &str) -> Result<(), DockerError> {
        let body = json!({
            "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": advertise, "DataPathAddr": advertise, "RemoteAddrs": remotes,
            "JoinToken": token.reveal(),
        });
        self.call("joining a swarm", Method::POST, "/swarm/join", Some(body)).await.map(drop)
    }

    /// Leaves the swarm; a daemon that is in none is content.
    ///
    /// # Errors
    /// `Rejected` if it is a manager and `force` is false.
    pub async fn swarm_leave(&self, force: bool) -> Result<(), DockerError> {
        if self.info().await?.state == SwarmState::Inactive {
            return Ok(());
        }
        self.call("leaving its swarm", Method::POST, &format!("/swarm/leave?force={force}"), None).await.map(drop)
    }

    /// Lists the nodes of the swarm, from a manager.
    ///
    /// # Errors
    /// `Rejected` with status 503 if the daemon is no manager.
    pub async fn nodes(&self) -> Result<Vec<SwarmNode>, DockerError> {
        let nodes = self.call("listing the nodes of its swarm", Method::GET, "/nodes", None).await?;
        let nodes =
            nodes.as_array().ok_or_else(|| DockerError::Protocol { endpoint: self.endpoint, reason: "its nodes are no list".into() })?;
        Ok(nodes.iter().map(node).collect())
    }

    /// Removes a node from the swarm, from a manager; a node that is not there is fine.
    ///
    /// # Errors
    /// `Rejected` if the node is up and `force` is false.
    pub async fn node_remove(&self, node_id: &str, force: bool) -> Result<(), DockerError> {
        let id: String = form_urlencoded::byte_serialize(node_id.as_bytes()).collect();
        match self.call("removing a node", Method::DELETE, &format!("/nodes/{id}?force={force}"), None).await {
            Ok(_) | Err(DockerError::Rejected { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the daemon manager of a swarm of its own that is reached at `advertise`, unless it is one already, and
    /// reads the swarm. `pool` as in [`DockerClient::swarm_init`].
    ///
    /// # Errors
    /// `OtherSwarm` if it is a worker somewhere, or manages a swarm at another address.
    pub async fn ensure_manager(&self, advertise: &str, listen: &str, pool: &str) -> Result<Swarm, DockerError> {
        let info = self.info().await?;
        match info.state {
            SwarmState::Inactive => {
                self.swarm_init(advertise, listen, pool).await?;
            }
            SwarmState::Active if info.control_available && info.node_addr == advertise => {}
            SwarmState::Pending => return Err(self.not_yet(&info)),
            _ => return Err(self.other_swarm(&info)),
        }
        self.swarm_inspect().await
    }

    /// Makes the daemon a worker of the swarm whose managers are at `remotes`, unless it is one already; returns its
    /// node id.
    ///
    /// # Errors
    /// `OtherSwarm` if it is in a swarm with other managers; `NotYet` while it is joining.
    pub async fn ensure_joined(&self, remotes: &[String], token: &Secret, advertise: &str) -> Result<String, DockerError> {
        let mut info = self.info().await?;
        if info.state == SwarmState::Inactive {
            self.swarm_join(remotes, token, advertise).await?;
            info = self.info().await?;
        }
        match info.state {
            SwarmState::Active if info.remote_managers.iter().any(|manager| remotes.contains(manager)) => Ok(info.node_id),
            // Just joined: the managers are not known for a moment.
            SwarmState::Active if info.remote_managers.is_empty() => Err(self.not_yet(&info)),
            SwarmState::Pending => Err(self.not_yet(&info)),
            _ => Err(self.other_swarm(&info)),
        }
    }

    fn not_yet(&self, info: &Info) -> DockerError {
        DockerError::NotYet { endpoint: self.endpoint, reason: format!("its state is {:?}; {}", info.state, hide_tokens(&info.error)) }
    }

    fn other_swarm(&self, info: &Info) -> DockerError {
        let managers = info.remote_managers.join(", ");
        let reason = format!("its state is {:?} at {} with managers {managers}; {}", info.state, info.node_addr, hide_tokens(&info.error));
        DockerError::OtherSwarm { endpoint: self.endpoint, reason }
    }
}

fn node(it: &Value) -> SwarmNode {
    let text = |path: &str| it.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    SwarmNode {
        id: text("/ID"),
        hostname: text("/Description/Hostname"),
        addr: text("/Status/Addr"),
        role: text("/Spec/Role"),
        availability: text("/Spec/Availability"),
        state: text("/Status/State"),
        message: text("/Status/Message"),
        leader: it.pointer("/ManagerStatus/Leader").and_then(Value::as_bool).unwrap_or(false),
    }
}

/// Join tokens may stand in a daemon's words; they do not go into ours.
fn hide_tokens(text: &str) -> String {
    text.split(' ').map(|word| if word.contains("SWMTKN-") { "******" } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_show() {
        assert_eq!(hide_tokens("bad token SWMTKN-1-abc given"), "bad token ****** given");
    }

    #[test]
    fn nodes_are_read() {
        let it = node(
            &json!({"ID": "x", "Description": {"Hostname": "m-0"}, "Status": {"State": "ready", "Addr": "10.0.0.2"}, "Spec": {"Role": "manager"}, "ManagerStatus": {"Leader": true}}),
        );
        assert_eq!((it.hostname.as_str(), it.state.as_str(), it.leader), ("m-0", "ready", true));
        assert_eq!(node(&Value::Null).state, "");
    }
}
