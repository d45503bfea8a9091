//! Whom the clients of agents and Docker daemons believe: real handshakes on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::net::SocketAddr;
use std::sync::Arc;

use drivers::agent::{AgentClient, AgentError, CommandStatus};
use drivers::docker::{DockerClient, DockerError};
use model::Secret;
use net::Netns;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

struct Identity {
    cert: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    fn self_signed(names: &[&str], is_ca: bool) -> Identity {
        let (params, key) = (params(names, is_ca), KeyPair::generate().unwrap());
        Identity { cert: params.self_signed(&key).unwrap(), key }
    }

    fn signed(names: &[&str], ca: &Identity) -> Identity {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_ca_cert_pem(&ca.cert.pem(), &ca.key).unwrap();
        Identity { cert: params(names, false).signed_by(&key, &issuer).unwrap(), key }
    }
}

fn params(names: &[&str], is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// Answers each connection's one request with `body`, and tells the lines of the requests.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
    heard: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(identity: &Identity, clients_of: Option<&Identity>, status: u16, body: &'static str) -> Server {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca.cert.der().clone()).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![identity.cert.der().clone()], key).unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heard);
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.windows(4).any(|it| it == b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                request.push(byte);
            }
            if request.is_empty() {
                continue;
            }
            log.lock().unwrap().push(String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned());
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown().await.is_err() {
                eprintln!("the client hung up first");
            }
        }
    });
    Server { address, task, heard }
}

const COMMANDS: &str = r#"{"commands": [{"id": "a1", "command_name": "sync", "command_status": "SUCCEEDED", "command_result": {"x": 1}}]}"#;

fn agent(server: &Server, trust: &Identity) -> AgentClient {
    AgentClient::new(&format!("https://{}", server.address), Secret::new("tok"), Some(trust.cert.pem()), Netns::host()).unwrap()
}

#[tokio::test]
async fn an_agent_is_known_by_the_certificate_it_sent() {
    // As ironic-python-agent makes it: self-signed, and marked as a CA, which WebPKI alone refuses as a server's.
    for is_ca in [true, false] {
        let identity = Identity::self_signed(&["127.0.0.1"], is_ca);
        let server = serve(&identity, None, 200, COMMANDS).await;
        let commands = agent(&server, &identity).commands().await.unwrap();
        assert_eq!((commands.len(), &commands[0].status), (1, &CommandStatus::Succeeded));
        assert_eq!(*server.heard.lock().unwrap(), ["GET /v1/commands/?agent_token=tok HTTP/1.1"]);
    }
}

#[tokio::test]
async fn another_agent_is_not_told_the_token() {
    for is_ca in [true, false] {
        let (real, other) = (Identity::self_signed(&["127.0.0.1"], is_ca), Identity::self_signed(&["127.0.0.1"], is_ca));
        let server = serve(&other, None, 200, COMMANDS).await;
        let error = agent(&server, &real).commands().await.unwrap_err();
        assert!(matches!(error, AgentError::Unreachable { .. }), "{error}");
        assert!(server.heard.lock().unwrap().is_empty());
    }
}

fn docker(server: &Server, ca: &Identity, client: &Identity, name: &str) -> DockerClient {
    let key = Secret::new(client.key.serialize_pem());
    DockerClient::new(server.address, &ca.cert.pem(), &client.cert.pem(), &key, name, Netns::host()).unwrap()
}

#[tokio::test]
async fn a_docker_daemon_and_its_client_know_each_other_by_the_cluster_s_ca() {
    let (ca, other) = (Identity::self_signed(&["ca"], true), Identity::self_signed(&["ca"], true));
    let (daemon, client) = (Identity::signed(&["master-0"], &ca), Identity::signed(&["client"], &ca));
    let server = serve(&daemon, Some(&ca), 200, "OK").await;
    // The name is that of the certificate, though the connection goes to an address.
    docker(&server, &ca, &client, "master-0").ping().await.unwrap();
    assert_eq!(server.heard.lock().unwrap().len(), 1);

    let refused = [
        ("another machine's name", docker(&server, &ca, &client, "master-1")),
        ("another cluster's daemon", docker(&server, &other, &client, "master-0")),
        ("another cluster's client", docker(&server, &ca, &Identity::signed(&["client"], &other), "master-0")),
    ];
    for (what, client) in refused {
        let error = client.ping().await.unwrap_err();
        assert!(matches!(error, DockerError::Unreachable { .. }), "{what}: {error}");
    }
    assert_eq!(server.heard.lock().unwrap().len(), 1, "none of them got a request through");
}

#[tokio::test]
async fn a_daemon_s_words_are_passed_on_without_tokens() {
    let ca = Identity::self_signed(&["ca"], true);
    let (daemon, client) = (Identity::signed(&["m"], &ca), Identity::signed(&["c"], &ca));
    let server = serve(&daemon, Some(&ca), 503, r#"{"message": "bad token SWMTKN-1-secret here"}"#).await;
    let Err(error) = docker(&server, &ca, &client, "m").swarm_inspect().await else { panic!("a refusal was taken for a swarm") };
    assert!(matches!(error, DockerError::Rejected { status: 503, .. }), "{error}");
    assert!(!error.to_string().contains("secret") && error.to_string().contains("bad token"), "{error}");
}
