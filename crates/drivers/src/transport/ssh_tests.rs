//! Against SSH servers that a test makes up: what old and odd switches offer.

use std::process::Command;
use std::sync::Mutex;

use model::Secret;
use model::net::VlanId;
use russh::keys::{Certificate, PrivateKey};
use russh::server::{self, Auth, ChannelOpenHandle, Response};
use russh::{Channel, ChannelId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// What a server saw and how it lets in.
#[derive(Clone, Default)]
struct Served {
    /// Passwords are taken as answers to questions only.
    asks: bool,
    heard: Arc<Mutex<Vec<String>>>,
}

impl server::Handler for Served {
    type Error = russh::Error;

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, russh::Error> {
        self.heard.lock().unwrap().push("password".to_owned());
        Ok(if !self.asks && password == "s3cret" { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(&'a mut self, _: &str, _: &str, response: Option<Response<'a>>) -> Result<Auth, russh::Error> {
        let Some(mut answers) = response else {
            let prompts = vec![("User: ".into(), true), ("Password: ".into(), false)];
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: prompts.into() });
        };
        let right = answers.next().as_deref() == Some(&b"admin"[..]) && answers.next().as_deref() == Some(&b"s3cret"[..]);
        Ok(if right { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<server::Msg>,
        reply: ChannelOpenHandle,
        _: &mut server::Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        tokio::spawn(async move {
            let mut stream = channel.into_stream();
            let mut buffer = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        });
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        columns: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.heard.lock().unwrap().push(format!("pty of {columns} columns"));
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut server::Session) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn subsystem_request(&mut self, channel: ChannelId, name: &str, session: &mut server::Session) -> Result<(), russh::Error> {
        if name == "netconf" { session.channel_success(channel) } else { session.channel_failure(channel) }
    }
}

/// A new key of this kind; `None`, and why, without the tool.
fn key(kind: &str) -> Option<PrivateKey> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let Ok(made) = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(&path).output() else {
        println!("skipped: there is no ssh-keygen");
        return None;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(decode_secret_key(&std::fs::read_to_string(path).unwrap(), None).unwrap())
}

async fn serve(config: server::Config, served: Served) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(server::Config { auth_rejection_time: Duration::ZERO, certificates: Vec::<Certificate>::new(), ..config });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(session) = server::run_stream(Arc::clone(&config), stream, served.clone()).await {
                tokio::spawn(session);
            }
        }
    });
    port
}

fn target(port: u16, trust: Trust) -> SshTarget {
    let login = Login { username: "admin".to_owned(), password: Some(Secret::new("s3cret")), ..Login::default() };
    let plain = SwitchConfig::plain("leaf1", "cisco_ios", &format!("ssh:127.0.0.1:{port}"), "", VlanId::new(4000).unwrap());
    SshTarget::of(&SwitchConfig { login, trust, ..plain }).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn pinned(key: &PrivateKey) -> Trust {
    Trust { host_key: Some(key.public_key().fingerprint(HashAlg::Sha256).to_string()), ..Trust::default() }
}

#[tokio::test]
async fn a_pinned_key_is_found_among_several() {
    let (Some(one), Some(two), Some(three)) = (key("ed25519"), key("ecdsa"), key("rsa")) else { return };
    let served = Served::default();
    let port =
        serve(server::Config { keys: vec![one.clone(), two.clone(), three.clone()], ..server::Config::default() }, served.clone()).await;
    for key in [&one, &two, &three] {
        target(port, pinned(key)).open(soon()).await.unwrap();
    }
    served.heard.lock().unwrap().clear();
    let other = key("ed25519").unwrap();
    let Err(SwitchError::Trust { reason, .. }) = target(port, pinned(&other)).open(soon()).await else { panic!("trusted") };
    assert!(reason.contains("SHA256:"), "{reason}");
    assert!(served.heard.lock().unwrap().is_empty(), "no password was told to a stranger");
}

#[tokio::test]
async fn old_switches_are_understood() {
    let Some(rsa) = key("rsa") else { return };
    let old = Preferred {
        kex: Cow::Borrowed(&[kex::DH_G1_SHA1, kex::DH_G14_SHA1]),
        key: Cow::Borrowed(&[Algorithm::Rsa { hash: None }]),
        cipher: Cow::Borrowed(&[cipher::AES_128_CBC]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA1]),
        ..Preferred::DEFAULT
    };
    let methods = MethodSet::from(&[MethodKind::KeyboardInteractive][..]);
    let served = Served { asks: true, ..Served::default() };
    let port =
        serve(server::Config { keys: vec![rsa.clone()], preferred: old, methods, ..server::Config::default() }, served.clone()).await;
    let session = target(port, pinned(&rsa)).open(soon()).await.unwrap();
    let mut shell = session.shell(soon()).await.unwrap();
    shell.write_all(b"show version\n").await.unwrap();
    let mut buffer = [0; 13];
    shell.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"show version\n");
    assert!(served.heard.lock().unwrap().contains(&"pty of 511 columns".to_owned()));
}

#[tokio::test]
async fn subsystems_are_opened_if_they_are_there() {
    let Some(key) = key("ed25519") else { return };
    let port = serve(server::Config { keys: vec![key.clone()], ..server::Config::default() }, Served::default()).await;
    let target = target(port, Trust { on_first_use: true, ..Trust::default() });
    let session = target.open(soon()).await.unwrap();
    assert_eq!(target.learned(), pinned(&key).host_key);
    let mut stream = session.subsystem("netconf", soon()).await.unwrap();
    stream.write_all(b"<hello/>").await.unwrap();
    let mut buffer = [0; 8];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"<hello/>");
    assert!(matches!(session.subsystem("sftp", soon()).await, Err(SwitchError::Protocol { .. })));
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = target(port, Trust { on_first_use: true, ..Trust::default() });
    let began = Instant::now();
    let silent = open.open(began + Duration::from_millis(300)).await;
    assert!(matches!(silent, Err(SwitchError::Timeout { .. })));
    drop(listener);
    assert!(matches!(open.open(soon()).await, Err(SwitchError::Unreachable { .. })));
}

#[test]
fn what_cannot_work_is_said_before_it_is_tried() {
    let plain = SwitchConfig::plain("leaf1", "cisco_ios", "ssh:leaf1:22", "", VlanId::new(4000).unwrap());
    let login = Login { username: "admin".to_owned(), password: Some(Secret::new("s3cret")), ..Login::default() };
    let good = SwitchConfig { login, ..plain };
    assert!(SshTarget::of(&good).is_ok());
    for bad in [
        SwitchConfig { endpoint: "tcp:leaf1:22".to_owned(), ..good.clone() },
        SwitchConfig { login: Login { username: String::new(), ..good.login.clone() }, ..good.clone() },
        SwitchConfig { login: Login { password: None, ..good.login.clone() }, ..good.clone() },
        SwitchConfig { login: Login { private_key: Some(Secret::new("s3cret key")), ..good.login.clone() }, ..good.clone() },
        SwitchConfig { trust: Trust { host_key: Some("aa:bb".to_owned()), ..Trust::default() }, ..good.clone() },
    ] {
        let Err(error) = SshTarget::of(&bad) else { panic!("{bad:?} is taken") };
        assert!(matches!(error, SwitchError::Config { .. }) && !error.to_string().contains("s3cret"), "{error}");
    }
}
