//! `cofferdam serve` as a process to be killed.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BINARY, say, tail, wait_for};

/// How the control plane is started.
#[derive(Clone)]
pub struct Setting {
    pub state_dir: PathBuf,
    pub port: u16,
    pub config: Option<PathBuf>,
    pub database_url: Option<String>,
    /// What else is in its environment.
    pub environment: Vec<(String, String)>,
}

impl Setting {
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            port: super::free_port(16_000, 4_000),
            config: None,
            database_url: None,
            environment: Vec::new(),
        }
    }

    /// The command, with nothing of the caller's own settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COFFERDAM_")) {
            command.env_remove(name);
        }
        command.arg("serve").arg("--state-dir").arg(&self.state_dir).args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.envs(self.environment.iter().cloned());
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if let Some(url) = &self.database_url {
            command.args(["--database-url", url]);
        }
        // A group of its own: nothing that is sent to the tests' group reaches it before its guard does.
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where everything that it logs goes.
    pub fn log(&self) -> PathBuf {
        self.state_dir.with_extension("log")
    }

    /// Starts it, expecting that it refuses; returns what it said.
    pub fn refused(&self) -> String {
        let mut child = self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(120);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > until => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    panic!("it started although it should refuse");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!status.success(), "it ended with success: {said}");
        said
    }
}

/// A control plane that runs, or is dead for the moment.
pub struct Serve {
    pub setting: Setting,
    child: Mutex<Option<Child>>,
}

impl Serve {
    /// Starts it and waits until it is ready.
    pub fn start(setting: Setting) -> Self {
        let serve = Self { setting, child: Mutex::new(None) };
        serve.spawn();
        serve.await_ready();
        serve
    }

    /// Starts it.
    pub fn spawn(&self) {
        let log = std::fs::File::options().create(true).append(true).open(self.setting.log()).unwrap();
        let child = self.setting.command().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        *self.child.lock().unwrap() = Some(child);
    }

    /// Waits until it is ready.
    pub fn await_ready(&self) {
        let url = format!("{}/healthz", self.setting.base());
        wait_for("cofferdam serve is ready", Duration::from_secs(180), || {
            if let Some(status) = self.child.lock().unwrap().as_mut().unwrap().try_wait().unwrap() {
                panic!("cofferdam serve ended with {status}: {}", tail(&self.setting.log(), 5));
            }
            let client = net::http::Client::plain().with_deadline(Duration::from_secs(10));
            match super::block(client.send(net::http::Request::get(url.as_str()))) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().as_ref().expect("it runs").id()
    }

    /// SIGKILL: nothing is put in order.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        if let Some(mut child) = child.take() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("cofferdam serve had ended by itself with {status}: {}", tail(&self.setting.log(), 5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// SIGTERM, and how it ends.
    pub fn terminate(&self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(&self) -> ExitStatus {
        let status = wait_for("cofferdam serve ends", Duration::from_secs(120), || {
            self.child.lock().unwrap().as_mut().unwrap().try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        });
        *self.child.lock().unwrap() = None;
        status
    }

    /// The lines of its log that have `word`.
    pub fn logged(&self, word: &str) -> Vec<String> {
        let log = std::fs::read(self.setting.log()).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let child = self.child.lock().map_or_else(|broken| broken.into_inner().take(), |mut child| child.take());
        if let Some(mut child) = child {
            // SIGKILL also ends what SIGSTOP has stopped.
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            say(&format!("--- the last the control plane said ---\n{}", tail(&self.setting.log(), 60)));
        }
    }
}
