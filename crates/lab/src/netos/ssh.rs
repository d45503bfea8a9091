//! The SSH server before every simulated switch: log-in, terminals with echo, line editing and paging, commands, subsystems.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, MethodSet, Pty};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::device::Device;
use super::faults::{Then, Verdict};
use super::os::{Answer, Login, Os, Session, Weight};
use super::{Access, fingerprint};

/// What a client may do within its connection.
const MAX_CHANNELS: usize = 8;
/// Real devices take lines of a few hundred to a few thousand characters; longer ones are cut.
const MAX_LINE: usize = 16 << 10;
/// As real devices, which end idle log-ins (exec-timeout), if later.
const IDLE: Duration = Duration::from_secs(3600);
/// A client that does not log in is not kept.
const LOGIN_GRACE: Duration = Duration::from_secs(60);

/// A host key and what follows from it, shared between the switches that show it.
pub(super) struct Identity {
    config: Arc<server::Config>,
    pub(super) fingerprint: String,
}

impl Identity {
    pub(super) fn new(key: PrivateKey) -> Self {
        let fingerprint = fingerprint(&key);
        let config = server::Config {
            methods: MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive][..]),
            auth_rejection_time: Duration::from_millis(200),
            auth_rejection_time_initial: Some(Duration::ZERO),
            max_auth_attempts: 6,
            keys: vec![key],
            inactivity_timeout: Some(IDLE),
            nodelay: true,
            ..server::Config::default()
        };
        Self { config: Arc::new(config), fingerprint }
    }
}

/// What all connections of a switch share.
pub(super) struct Server {
    pub(super) os: Arc<dyn Os>,
    pub(super) device: Arc<Device>,
    pub(super) access: Arc<Access>,
    pub(super) identity: Arc<Identity>,
    pub(super) most: usize,
}

/// Serves until it is aborted.
pub(super) async fn serve(server: Arc<Server>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say: they come back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let device = &server.device;
        if device.is_down() || device.faults().refuses_connections() {
            continue;
        }
        let Some(id) = device.enter(server.most) else { continue };
        let (hold, cut) = oneshot::channel();
        device.with_connection(id, |it| it.transport = Some(hold));
        device.faults().count_connection();
        tokio::spawn(connection(Arc::clone(&server), stream, cut, id));
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream, cut: oneshot::Receiver<()>, id: u64) {
    let device = Arc::clone(&server.device);
    device.faults().pass().await;
    // Fails if the client is gone, which is then noticed anyway.
    let _nodelay = stream.set_nodelay(true);
    let config = Arc::clone(&server.identity.config);
    let handler = Handler { server, id, login: None, channels: HashMap::new() };
    let started = tokio::time::timeout(LOGIN_GRACE, server::run_stream(config, Cuttable { stream, cut: Some(cut) }, handler)).await;
    if let Ok(Ok(session)) = started
        && let Err(error) = session.await
    {
        tracing::debug!(%error, "a connection to a simulated switch ended");
    }
    device.leave(id);
}

/// A stream that ends when the other end of `cut` is dropped.
struct Cuttable {
    stream: TcpStream,
    /// `None`: it was.
    cut: Option<oneshot::Receiver<()>>,
}

impl Cuttable {
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        if self.cut.as_mut().is_none_or(|it| Pin::new(it).poll(cx).is_ready()) {
            self.cut = None;
        }
        self.cut.is_none()
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Open {
    channel: Channel<Msg>,
    /// The height of the terminal, if one was asked for.
    rows: Option<u32>,
}

struct Handler {
    server: Arc<Server>,
    id: u64,
    login: Option<Login>,
    /// Channels on which nothing was started yet.
    channels: HashMap<ChannelId, Open>,
}

impl Handler {
    fn let_in(&mut self, user: &str) -> Auth {
        self.server.device.faults().count_login();
        self.login = Some(self.server.access.login(user));
        Auth::Accept
    }

    fn start(&mut self, id: ChannelId) -> Option<(Open, Login)> {
        Some((self.channels.remove(&id)?, self.login.clone()?))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(work).abort_handle();
        let known = self.server.device.with_connection(self.id, |it| {
            it.tasks.retain(|it| !it.is_finished());
            it.tasks.push(task.clone());
        });
        if !known {
            task.abort();
        }
    }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.server.device.faults().pass().await;
        Ok(if self.server.access.password(user, password) { self.let_in(user) } else { Auth::reject() })
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(if self.server.access.key(user, offer.public_key) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(if self.server.access.key(user, key.public_key) { self.let_in(user) } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut answers) = response else {
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: vec![("Password: ".into(), false)].into() });
        };
        let right = answers.next().is_some_and(|it| std::str::from_utf8(&it).is_ok_and(|it| self.server.access.password(user, it)));
        Ok(if right { self.let_in(user) } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        if self.channels.len() < MAX_CHANNELS {
            self.channels.insert(channel.id(), Open { channel, rows: None });
            reply.accept().await;
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&channel) {
            Some(open) => {
                open.rows = Some(rows);
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut server::Session) -> Result<(), Self::Error> {
        let Some((open, login)) = self.start(channel) else { return session.channel_failure(channel) };
        session.channel_success(channel)?;
        self.spawn(dialogue(Arc::clone(&self.server), self.id, login, open));
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, data: &[u8], session: &mut server::Session) -> Result<(), Self::Error> {
        let Some((open, login)) = self.start(channel) else { return session.channel_failure(channel) };
        session.channel_success(channel)?;
        let command = String::from_utf8_lossy(data).into_owned();
        self.spawn(command_once(Arc::clone(&self.server), self.id, login, open, command));
        Ok(())
    }

    async fn subsystem_request(&mut self, channel: ChannelId, name: &str, session: &mut server::Session) -> Result<(), Self::Error> {
        let Some((open, login)) = self.start(channel) else { return session.channel_failure(channel) };
        let stream = Box::new(open.channel.into_stream());
        match self.server.os.subsystem(&self.server.device, &login, name, stream) {
            Some(work) => {
                session.channel_success(channel)?;
                self.spawn(work);
                Ok(())
            }
            None => session.channel_failure(channel),
        }
    }
}

async fn take_time(device: &Device, weight: Weight) {
    let faults = device.faults();
    let long = match weight {
        Weight::Light => Duration::ZERO,
        Weight::Commit => faults.commit_delay(),
        Weight::Save => faults.save_delay(),
        Weight::CommitAndSave => faults.commit_delay() + faults.save_delay(),
    };
    tokio::time::sleep(long + faults.line_delay()).await;
}

/// One command without a dialogue.
async fn command_once(server: Arc<Server>, id: u64, login: Login, open: Open, command: String) {
    let (mut read, write) = open.channel.split();
    let device = &server.device;
    device.faults().pass().await;
    take_time(device, server.os.exec_weight(device, &login, &command)).await;
    let answer = server.os.exec(device, &login, &command);
    device.faults().pass().await;
    match answer.then {
        Some(Then::Hang) => while read.wait().await.is_some() {},
        Some(Then::Drop) => device.leave(id),
        Some(Then::Refuse) | None => {}
    }
    let end = if server.os.is_shell() && open.rows.is_none() { "\n" } else { "\r\n" };
    // Each fails only if the client is gone.
    let _sent = write.data_bytes(answer.text.replace('\n', end)).await;
    if !answer.error.is_empty() {
        let _sent = write.extended_data_bytes(1, answer.error.replace('\n', end)).await;
    }
    let _sent = write.exit_status(answer.status).await;
    let _sent = write.eof().await;
    let _sent = write.close().await;
}

/// The bytes that the client types.
struct Keys {
    read: ChannelReadHalf,
    pending: VecDeque<u8>,
}

/// What the client sees.
struct Screen {
    write: ChannelWriteHalf<Msg>,
    buffer: Vec<u8>,
}

impl Screen {
    fn print(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.buffer.push(b'\r');
            }
            self.buffer.push(byte);
        }
    }

    /// Whether the client still listens.
    async fn flush(&mut self) -> bool {
        self.buffer.is_empty() || self.write.data_bytes(std::mem::take(&mut self.buffer)).await.is_ok()
    }
}

impl Keys {
    /// The next byte; what was printed so far is shown before it is waited for. `None`: the client is gone.
    async fn next(&mut self, screen: &mut Screen) -> Option<u8> {
        loop {
            if let Some(byte) = self.pending.pop_front() {
                return Some(byte);
            }
            if !screen.flush().await {
                return None;
            }
            match self.read.wait().await? {
                ChannelMsg::Data { data } => self.pending.extend(&data[..]),
                ChannelMsg::Eof | ChannelMsg::Close => return None,
                _ => {}
            }
        }
    }

    /// A line without its end, edited and echoed as it is typed. `Some(None)`: it was given up with control-C.
    async fn line(&mut self, screen: &mut Screen, echo: bool) -> Option<Option<String>> {
        let mut line: Vec<u8> = Vec::new();
        loop {
            match self.next(screen).await? {
                end @ (b'\r' | b'\n') => {
                    if end == b'\r' && self.pending.front() == Some(&b'\n') {
                        self.pending.pop_front();
                    }
                    return Some(Some(String::from_utf8_lossy(&line).into_owned()));
                }
                0x03 => return Some(None),
                0x08 | 0x7f => {
                    let erased = usize::from(line.pop().is_some() && echo);
                    screen.buffer.extend(b"\x08 \x08".repeat(erased));
                }
                0x15 => {
                    if echo {
                        screen.buffer.extend(b"\x08 \x08".repeat(line.len()));
                    }
                    line.clear();
                }
                // An escape sequence such as an arrow key's: without history there is nothing to do.
                0x1b if self.pending.front() == Some(&b'[') => {
                    while self.pending.pop_front().is_some_and(|it| !it.is_ascii_alphabetic()) {}
                }
                byte if byte >= 0x20 && line.len() < MAX_LINE => {
                    line.push(byte);
                    if echo {
                        screen.buffer.push(byte);
                    }
                }
                _ => {}
            }
        }
    }
}

/// A log-in's shell.
async fn dialogue(server: Arc<Server>, id: u64, login: Login, open: Open) {
    let (read, write) = open.channel.split();
    let mut keys = Keys { read, pending: VecDeque::new() };
    let mut screen = Screen { write, buffer: Vec::new() };
    let mut session = server.os.login(&server.device, &login);
    let status = talk(&server, id, &mut *session, &mut keys, &mut screen, open.rows).await;
    // Each fails only if the client is gone.
    let _shown = screen.flush().await;
    let _sent = screen.write.exit_status(status).await;
    let _sent = screen.write.eof().await;
    let _sent = screen.write.close().await;
}

async fn talk(server: &Server, id: u64, session: &mut dyn Session, keys: &mut Keys, screen: &mut Screen, rows: Option<u32>) -> u32 {
    let device = &server.device;
    let terminal = rows.is_some() || !server.os.is_shell();
    let mut broken: Option<Then> = None;
    let mut status = 0;
    if terminal {
        screen.print(&server.os.greeting(device));
    }
    loop {
        if terminal {
            screen.print(&session.prompt());
        }
        let hidden = session.hidden();
        let Some(line) = keys.line(screen, terminal && !hidden).await else { return status };
        let Some(line) = line else {
            if terminal {
                screen.print("^C\n");
            }
            continue;
        };
        if terminal {
            screen.print("\n");
        }
        if !screen.flush().await {
            return status;
        }
        device.faults().pass().await;
        let mut answer = carry_out(device, session, &line, hidden, &mut broken).await;
        device.faults().pass().await;
        if !session.configuring() {
            broken = broken.filter(|it| *it != Then::Refuse);
        }
        if let Some(then) = answer.then.take() {
            broken = Some(then);
        }
        match broken {
            Some(Then::Drop) => {
                device.leave(id);
                return status;
            }
            Some(Then::Hang) => {
                while keys.next(screen).await.is_some() {
                    keys.pending.clear();
                }
                return status;
            }
            Some(Then::Refuse) | None => {}
        }
        status = answer.status;
        let text = answer.text + &answer.error;
        let page = rows.filter(|_| terminal).and_then(|rows| session.page(rows));
        if !print_paged(&text, page, session.more(), keys, screen).await || answer.end {
            return status;
        }
    }
}

async fn carry_out(device: &Device, session: &mut dyn Session, line: &str, hidden: bool, broken: &mut Option<Then>) -> Answer {
    if !hidden && !line.trim().is_empty() {
        let configuring = session.configures(line);
        match device.faults().line(line, configuring) {
            Verdict::Refuse => return session.refuse(line),
            Verdict::Broken(then) => *broken = Some(then),
            Verdict::Go => {}
        }
        match broken {
            Some(Then::Refuse) if configuring && !leaves(line) => return session.refuse(line),
            Some(Then::Hang | Then::Drop) => return Answer::nothing(),
            Some(Then::Refuse) | None => {}
        }
    }
    take_time(device, session.weight(line)).await;
    session.line(line)
}

/// Whether a line leaves a mode. A session that takes no more configuration can still be left.
fn leaves(line: &str) -> bool {
    matches!(line.trim(), "end" | "exit" | "quit" | "return" | "abort")
}

/// Prints, stopping after each `page` lines; whether the client is still there.
async fn print_paged(text: &str, page: Option<usize>, more: &str, keys: &mut Keys, screen: &mut Screen) -> bool {
    let Some(page) = page.filter(|it| *it > 0) else {
        screen.print(text);
        return true;
    };
    let mut left = page;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        screen.print(line);
        left -= 1;
        if left > 0 || lines.peek().is_none() {
            continue;
        }
        screen.print(more);
        let Some(key) = keys.next(screen).await else { return false };
        let width = more.len();
        screen.print(&format!("{0}{1}{0}", "\x08".repeat(width), " ".repeat(width)));
        match key {
            b'q' | b'Q' | 0x03 => {
                screen.print("\n");
                return true;
            }
            b'\r' | b'\n' => left = 1,
            _ => left = page,
        }
    }
    true
}
