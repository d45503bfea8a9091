//! `ipmitool` as a child process: no secret among its arguments, a deadline, and an end with its caller.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::config::{IpmiConfig, Kg};
use crate::bmc::BmcError;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(25);
/// Resending lost datagrams is the tool's own business: so often, with a second between that it lets grow.
const RESENDS: &str = "4";
const RESEND_SECONDS: &str = "1";
/// How often a command is tried again that the BMC was too busy for, and how long between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Most runs at once. One that waits for a silent BMC holds its place for its deadline at most.
const RUNS: usize = 256;
/// Largest output read, in bytes.
const OUTPUT: u64 = 1 << 20;
/// Most BMCs remembered to need an older cipher suite.
const REMEMBERED: usize = 65_536;

/// What the BMC says when it could do it later (Source: IPMI 2.0 specification, table 5-2, in the tool's words).
const BUSY: &[&str] = &["insufficient resources for session", "Node busy", "Timeout", "Out of space", "BMC initialization in progress"];
/// That the cipher suite is not had on the other side.
const NO_SUITE: &[&str] =
    &["Unsupported cipher suite ID", "no matching cipher suite", "invalid role", "response message : invalid authentication algorithm"];
const DENIED: &[&str] = &[
    "HMAC is invalid",
    "unauthorized name",
    "Invalid user name",
    "Requested privilege level exceeds limit",
    "insufficient privilege",
    "Insufficient privilege",
    "Invalid session ID",
    "Password invalid",
    "password invalid",
    "RAKP 4 message indicates an error",
];
/// How soon a session that cannot be made was refused and not unanswered.
const SOON: Duration = Duration::from_secs(12);
const SILENT: &[&str] = &[
    "Unable to establish",
    "No response",
    "Address lookup",
    "Could not open socket",
    "Get Auth Capabilities",
    "Get Session Challenge",
    "Connection timed out",
    "no response",
];

/// What a run printed and remarked, or what it complained of.
type Ran = Result<(String, String), String>;

static PLACES: Semaphore = Semaphore::const_new(RUNS);
static OLD_SUITES: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// The arguments of a command, with the cipher suite; and what goes into its environment.
pub(super) fn command(config: &IpmiConfig, suite: Option<&str>) -> (Vec<String>, Vec<(&'static str, std::ffi::OsString)>) {
    let mut args = config.args.clone();
    if let Some(suite) = suite {
        args.extend(["-C".into(), suite.to_owned()]);
    }
    let mut env = vec![("IPMI_PASSWORD", config.password.reveal().into())];
    match &config.kg_key {
        None => {}
        Some(Kg::Raw(key)) => {
            args.push("-K".into());
            env.push(("IPMI_KGKEY", key.clone()));
        }
        Some(Kg::Hex(key)) => args.extend(["-y".into(), key.reveal().to_owned()]),
    }
    args.push("-E".into());
    (args, env)
}

/// The cipher suite to ask for: the one of the configuration, or the older one if the BMC is known to have no other.
pub(super) fn suite(config: &IpmiConfig) -> Option<String> {
    let is_old = OLD_SUITES.lock().unwrap_or_else(PoisonError::into_inner).contains(&config.address);
    config.cipher_suite.clone().or_else(|| (is_old && config.is_two).then(|| "3".to_owned()))
}

/// Runs one command and gives what it printed.
///
/// # Errors
/// See [`BmcError`].
pub(super) async fn run(config: &IpmiConfig, words: &[&str]) -> Result<String, BmcError> {
    let mut suite = suite(config);
    let mut busy = 0;
    loop {
        let begun = Instant::now();
        let mut said = match once(config, suite.as_deref(), words, false).await? {
            Ok((printed, said)) => {
                if suite.is_none() && config.is_two && said.contains("Get Channel Cipher Suites") {
                    // It does not answer which it has; the tool waits long for that and then takes the old one.
                    remember_old(&config.address);
                }
                return Ok(printed);
            }
            Err(said) => said,
        };
        if said.contains("Unable to establish") && begun.elapsed() < SOON {
            // Why a session is refused the tool says only when it is asked to be verbose.
            if let Err(why) = once(config, suite.as_deref(), &["mc", "info"], true).await? {
                said = why;
            }
        }
        let has = |list: &[&str]| list.iter().any(|it| said.contains(it));
        if has(NO_SUITE) && suite.is_none() && config.is_two {
            // What older BMCs have; the tool begins with 17.
            suite = Some("3".into());
            remember_old(&config.address);
            continue;
        }
        let address = config.address.clone();
        let reason: String = said.lines().map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>().join("; ");
        let reason = reason.chars().take(500).collect::<String>();
        if has(DENIED) {
            return Err(BmcError::Denied { address, reason });
        }
        if is_lost(&said) {
            return Err(BmcError::Timeout { address });
        }
        if has(SILENT) {
            return Err(BmcError::Unreachable { address, reason });
        }
        if has(BUSY) {
            busy += 1;
            if busy < TRIES {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            return Err(BmcError::Conflict { address, reason });
        }
        return Err(BmcError::Rejected { address, reason });
    }
}

/// Whether an order of power went out in a session and was not answered: it may have been heard (Source: ipmitool, ipmi_chassis.c).
fn is_lost(said: &str) -> bool {
    said.contains("Unable to set Chassis Power Control") && !said.contains("Unable to establish")
}

fn remember_old(address: &str) {
    let mut old = OLD_SUITES.lock().unwrap_or_else(PoisonError::into_inner);
    if old.len() >= REMEMBERED {
        old.clear();
    }
    old.insert(address.to_owned());
}

/// One run; what it printed and remarked, or what it complained of.
async fn once(config: &IpmiConfig, suite: Option<&str>, words: &[&str], verbose: bool) -> Result<Ran, BmcError> {
    let address = || config.address.clone();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => BmcError::Config { address: address(), reason: "ipmitool is not installed".into() },
        _ => BmcError::Unreachable { address: address(), reason: format!("ipmitool cannot be run: {error}") },
    };
    let work = async {
        let _place = PLACES.acquire().await.map_err(|error| BmcError::Unreachable { address: address(), reason: error.to_string() })?;
        let (args, env) = command(config, suite);
        let mut child = Command::new("ipmitool")
            .args(args)
            .args(["-R", RESENDS, "-N", RESEND_SECONDS])
            .args(verbose.then_some("-v"))
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()))
            .env("LC_ALL", "C")
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (mut printed, mut said) = (Vec::new(), Vec::new());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let read_out = async {
            match out {
                Some(pipe) => pipe.take(OUTPUT).read_to_end(&mut printed).await.map(drop),
                None => Ok(()),
            }
        };
        let read_err = async {
            match err {
                Some(pipe) => pipe.take(OUTPUT).read_to_end(&mut said).await.map(drop),
                None => Ok(()),
            }
        };
        let (out, err) = tokio::join!(read_out, read_err);
        out.and(err).map_err(failed)?;
        let status = child.wait().await.map_err(failed)?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let mut said = String::from_utf8_lossy(&said).into_owned();
        let password = config.password.reveal();
        if password.len() > 3 {
            said = said.replace(password, "******");
        }
        // The tool ends well after some errors that it prints.
        if status.success() && !said.contains("Unable to establish") { Ok(Ok((printed, said))) } else { Ok(Err(said)) }
    };
    tokio::time::timeout(LIMIT, work).await.map_err(|_| BmcError::Timeout { address: address() })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_nobody_answered_may_have_been_heard() {
        assert!(is_lost("Unable to set Chassis Power Control to Reset"));
        assert!(!is_lost("Error: Unable to establish IPMI v2 / RMCP+ session\nUnable to set Chassis Power Control to Reset"));
        assert!(!is_lost("Set Chassis Power Control to Reset failed: Command not supported in present state"));
    }
}
