//! `cofferdam explain`: asks a running server whether one port can reach another, and why.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::client::{Server, Session, encoded};

/// `cofferdam explain`. Exit status: 0 reachable, 1 not reachable, 2 there is no answer.
#[derive(Args)]
pub struct ExplainArgs {
    /// The port that sends: its id, or its name if no other has it.
    from: String,
    /// The port to be reached.
    to: String,
    /// With this protocol: a name such as tcp, or a number. Without it: with any.
    #[arg(long)]
    protocol: Option<String>,
    /// To this transport port.
    #[arg(long)]
    port: Option<u16>,
    /// From this address only.
    #[arg(long)]
    from_address: Option<IpAddr>,
    /// To this address only: one of the port's own, or a floating IP's.
    #[arg(long)]
    to_address: Option<IpAddr>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl ExplainArgs {
    /// Asks and prints. What cannot be answered is said on the error output.
    ///
    /// # Errors
    /// The runtime cannot start.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(match runtime.block_on(self.ask()) {
            Ok((text, reachable)) => {
                let mut out = std::io::stdout().lock();
                // A reader that went away has read what it wanted.
                drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
                ExitCode::from(u8::from(!reachable))
            }
            Err(error) => {
                eprintln!("cofferdam explain: {error:#}");
                ExitCode::from(2)
            }
        })
    }

    async fn ask(&self) -> anyhow::Result<(String, bool)> {
        let session = self.server.open().await?;
        let (from, to) = (port(&session, &self.from).await?, port(&session, &self.to).await?);
        let mut query = format!("from={from}&to={to}");
        let given = [
            ("protocol", self.protocol.clone()),
            ("port", self.port.map(|it| it.to_string())),
            ("from_address", self.from_address.map(|it| it.to_string())),
            ("to_address", self.to_address.map(|it| it.to_string())),
        ];
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            write!(query, "&{name}={}", encoded(&value))?;
        }
        let answer = session.get(&format!("/v2.0/cofferdam/reachability?{query}")).await?;
        let answer = answer.get("reachability").context("an answer without reachability")?;
        let reachable = answer.get("reachable").and_then(Value::as_bool).context("an answer without reachable")?;
        let text = if self.json { format!("{}\n", serde_json::to_string_pretty(answer)?) } else { told(answer, reachable) };
        Ok((text, reachable))
    }
}

/// The answer as lines.
fn told(answer: &Value, reachable: bool) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut out = format!("{}: {}\n", if reachable { "reachable" } else { "not reachable" }, text(answer, "text"));
    for step in answer.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let mark = match text(step, "effect").as_str() {
            "passes" => '+',
            "blocks" => 'X',
            _ => ' ',
        };
        let way = if text(step, "way") == "back" { "<-" } else { "->" };
        out.push_str(&format!("  {mark} {way} {}\n", text(step, "text")));
    }
    out
}

/// The id of the port of that id or name.
async fn port(session: &Session, given: &str) -> anyhow::Result<String> {
    let escaped = encoded(given);
    if session.try_get(&format!("/v2.0/ports/{escaped}?fields=id")).await?.is_success() {
        return Ok(escaped);
    }
    let named = session.get(&format!("/v2.0/ports?fields=id&name={escaped}")).await?;
    let ids: Vec<&str> =
        named.get("ports").and_then(Value::as_array).into_iter().flatten().filter_map(|it| it.get("id")?.as_str()).collect();
    match ids.as_slice() {
        [] => bail!("there is no port {given}"),
        [one] => Ok((*one).to_owned()),
        more => bail!("{} ports are named {given}: {}", more.len(), more.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_in_lines() {
        let answer = json!({
            "reachable": false,
            "text": "tcp to port 80 from 10.0.0.5 to 10.0.1.7",
            "steps": [
                {"effect": "remark", "way": "there", "text": "whose it is"},
                {"effect": "passes", "way": "there", "text": "a rule"},
                {"effect": "blocks", "way": "back", "text": "no route"},
            ],
        });
        let told = told(&answer, false);
        assert_eq!(told, "not reachable: tcp to port 80 from 10.0.0.5 to 10.0.1.7\n    -> whose it is\n  + -> a rule\n  X <- no route\n");
    }
}
