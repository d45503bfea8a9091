//! What an operating system has to say for itself. One file for each below `os/`.

mod arista_eos;
mod aruba_aoscx;
mod cisco_ios;
mod cisco_nxos;
mod cli;
mod cumulus_nvue;
mod dell_os10;
mod flavour;
mod grammar;
mod hpe_comware;
mod huawei_vrp;
mod juniper_junos;
mod linux;
mod mellanox_mlnxos;
mod nokia_srl;
mod openconfig;
pub(super) mod registry;
#[cfg(test)]
mod round_trip;
mod shell;
mod sonic;
mod text;
mod vtysh;

use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::Access;
use super::device::{Config, Device, Rules};
use super::faults::Then;

/// What a line leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What is printed, lines ended by `\n`; empty: nothing.
    pub text: String,
    /// What a shell prints to its standard error; on a terminal it comes after `text`.
    pub error: String,
    /// A shell's exit status of the command.
    pub status: u32,
    /// The session ends.
    pub end: bool,
    /// A fault struck within the command: this is how the session goes on.
    pub then: Option<Then>,
}

impl Answer {
    /// Nothing is printed.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Something is printed; a missing line end is added.
    pub fn say(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self { text, ..Self::default() }
    }

    /// The session ends.
    pub fn end() -> Self {
        Self { end: true, ..Self::default() }
    }
}

/// How long a line takes to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weight {
    /// At once.
    #[default]
    Light,
    /// As long as a commit.
    Commit,
    /// As long as a save.
    Save,
    /// As long as both: a save on a switch that has no commit.
    CommitAndSave,
}

/// One log-in's dialogue. Carries out one line at a time and never waits: delays and hanging are the transport's.
pub trait Session: Send {
    /// What stands before the cursor, without an end of line: the prompt, or the question that waits for an answer.
    fn prompt(&self) -> String;

    /// Carries out a line: a command, or the answer to a question.
    fn line(&mut self, line: &str) -> Answer;

    /// How long the line will take; asked before it is carried out.
    fn weight(&self, line: &str) -> Weight {
        let _ = line;
        Weight::Light
    }

    /// Whether lines are configuration now: those that [`Settings::partial_session`](super::faults::Settings) counts.
    fn configuring(&self) -> bool {
        false
    }

    /// Whether this line is configuration; where that depends on more than the mode.
    fn configures(&self, line: &str) -> bool {
        let _ = line;
        self.configuring()
    }

    /// What the operating system says to a line that it does not take.
    fn refuse(&mut self, line: &str) -> Answer;

    /// Whether what is typed is not shown (a password is asked for).
    fn hidden(&self) -> bool {
        false
    }

    /// After how many lines output stops and waits for a key; `None`: never. `rows` is what the terminal said of its height.
    fn page(&self, rows: u32) -> Option<usize> {
        let _ = rows;
        None
    }

    /// What is shown while output waits.
    fn more(&self) -> &'static str {
        "--More--"
    }
}

/// Two directions of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A protocol that runs over a stream until it ends.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// What `enable` asks for; `None`: it asks for nothing.
    pub enable_password: Option<String>,
    /// May do everything from the start (the control socket, users with the highest privilege).
    pub privileged: bool,
}

/// What a switch is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub hostname: String,
    /// How many ports it has.
    pub ports: usize,
}

/// An operating system.
pub trait Os: Send + Sync {
    /// How it is called: `cisco_ios` …
    fn name(&self) -> &'static str;

    /// How it forwards.
    fn rules(&self) -> Rules;

    /// The configuration of a switch fresh from the box.
    fn factory(&self, shape: &Shape) -> Config;

    /// Begins a dialogue.
    fn login(&self, device: &Arc<Device>, login: &Login) -> Box<dyn Session>;

    /// What is printed after logging in, before the first prompt.
    fn greeting(&self, device: &Device) -> String {
        let _ = device;
        String::new()
    }

    /// Whether it is a Unix shell: without a terminal there is no prompt and no echo.
    fn is_shell(&self) -> bool {
        false
    }

    /// Carries out a command without a dialogue (SSH `exec`). The default is a dialogue of this one line, as many switches do.
    fn exec(&self, device: &Arc<Device>, login: &Login, command: &str) -> Answer {
        let mut session = self.login(device, login);
        if device.faults().line(command, false) != super::faults::Verdict::Go {
            return Answer { status: 1, ..session.refuse(command) };
        }
        session.line(command)
    }

    /// How long [`Os::exec`] will take.
    fn exec_weight(&self, device: &Arc<Device>, login: &Login, command: &str) -> Weight {
        self.login(device, login).weight(command)
    }

    /// Serves an SSH subsystem such as `netconf`; `None`: there is none of this name.
    fn subsystem(&self, device: &Arc<Device>, login: &Login, name: &str, stream: Box<dyn Stream>) -> Option<Running> {
        let _ = (device, login, name, stream);
        None
    }

    /// Serves gNMI on a listening socket; `None`: it has no such server.
    fn gnmi(&self, device: &Arc<Device>, access: &Arc<Access>, listener: TcpListener) -> Option<Running> {
        let _ = (device, access, listener);
        None
    }
}

/// The operating systems that there are.
pub const NAMES: &[&str] = &[
    "arista_eos",
    "aruba_aoscx",
    "cisco_ios",
    "cisco_nxos",
    "cumulus_nvue",
    "dell_os10",
    "frr_linux",
    "hpe_comware",
    "huawei_vrp",
    "juniper_junos",
    "mellanox_mlnxos",
    "nokia_srl",
    "openconfig",
    "ovs_ssh",
    "sonic",
];

/// The operating system of this name.
pub fn find(name: &str) -> Option<Arc<dyn Os>> {
    match name {
        "mellanox_mlnxos" => Some(Arc::new(cli::CliOs(Arc::new(mellanox_mlnxos::Mlnxos)))),
        "huawei_vrp" => Some(Arc::new(cli::CliOs(Arc::new(huawei_vrp::Vrp)))),
        "hpe_comware" => Some(Arc::new(cli::CliOs(Arc::new(hpe_comware::Comware)))),
        "aruba_aoscx" => Some(Arc::new(cli::CliOs(Arc::new(aruba_aoscx::Cx)))),
        "dell_os10" => Some(Arc::new(cli::CliOs(Arc::new(dell_os10::Os10)))),
        "cisco_nxos" => Some(Arc::new(cli::CliOs(Arc::new(cisco_nxos::Nxos)))),
        "arista_eos" => Some(Arc::new(cli::CliOs(Arc::new(arista_eos::Eos)))),
        "cisco_ios" => Some(Arc::new(cli::CliOs(Arc::new(cisco_ios::Ios)))),
        "juniper_junos" => Some(Arc::new(juniper_junos::Junos)),
        "sonic" => Some(Arc::new(sonic::Sonic)),
        "cumulus_nvue" => Some(Arc::new(cumulus_nvue::Cumulus)),
        "ovs_ssh" => Some(Arc::new(linux::Ovs)),
        "frr_linux" => Some(Arc::new(linux::Frr)),
        "nokia_srl" => Some(Arc::new(nokia_srl::SrLinux)),
        "openconfig" => Some(Arc::new(openconfig::OpenConfig)),
        _ => None,
    }
}
