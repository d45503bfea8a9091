//! `cofferdam fabric quarantine`.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use super::table::{list, table, text};
use super::{Ask, ROOT, Said};
use crate::client::encoded;

/// `cofferdam fabric quarantine`
#[derive(Subcommand)]
pub enum Command {
    /// What was let go and is not proven released, with why.
    List(List),
    /// Take something for released although no switch has proven it. It is written down who did so, when and why.
    Force(Force),
}

/// `cofferdam fabric quarantine list`
#[derive(Args)]
pub struct List {
    /// Only switch_port, vlan or vni.
    #[arg(long)]
    kind: Option<String>,
    /// Only what waits for this switch.
    #[arg(long)]
    switch: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// `cofferdam fabric quarantine force`
#[derive(Args)]
pub struct Force {
    /// The id that the list shows.
    id: String,
    /// Why it is known to be released, or why that does not matter.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    ask: Ask,
}

const COLUMNS: [(&str, &str); 10] = [
    ("id", "ID"),
    ("kind", "KIND"),
    ("switch", "SWITCH"),
    ("port", "PORT"),
    ("segmentation_id", "VLAN/VNI"),
    ("holder", "HOLDER"),
    ("since", "SINCE"),
    ("waits_for", "WAITS FOR"),
    ("reason", "REASON"),
    ("fault", "FAULT"),
];

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<Said> {
        Ok(match self {
            Self::List(List { kind, switch, ask }) => {
                let given = [("kind", kind), ("waits_for", switch)];
                let query: Vec<String> =
                    given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?)))).collect();
                let answer = ask.session().await?.get(&format!("{ROOT}/quarantine?{}", query.join("&"))).await?;
                ask.told(&answer, |answer| match list(answer, "quarantine") {
                    [] => "nothing is in quarantine\n".to_owned(),
                    rows => table(rows, &COLUMNS),
                })?
                .into()
            }
            Self::Force(Force { id, reason, ask }) => {
                let body = json!({"quarantine": {"reason": reason}});
                let path = format!("{ROOT}/quarantine/{}/force", encoded(&id));
                let answer = ask.session().await?.send(Method::PUT, &path, Some(&body)).await?;
                ask.told(&answer, |answer| {
                    let why = answer.get("quarantine").map_or("", |it| text(it, "reason"));
                    format!("{id} was forced out of quarantine without proof ({why}); the history says that you did it and why\n")
                })?
                .into()
            }
        })
    }
}
