//! `cofferdam fabric plan` and `cofferdam fabric adopt`: what differs between switches and what is wanted of them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::table::{list, text};
use super::{Ask, ROOT, Said, switch};
use crate::client::Session;

/// How often it is looked whether a switch was read.
const LOOK: Duration = Duration::from_millis(250);

/// `cofferdam fabric plan`
#[derive(Args)]
pub struct PlanArgs {
    /// Of this switch only.
    #[arg(long)]
    switch: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// `cofferdam fabric adopt`
#[derive(Args)]
pub struct AdoptArgs {
    /// The switch: declared, and only read (`fabric switch add NAME --read-only true …`).
    switch: String,
    /// How long to wait for it to be read, in seconds.
    #[arg(long, default_value_t = 60)]
    wait: u64,
    /// If nothing differs, take it over: it is written from now on.
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    ask: Ask,
}

/// What would be changed on a switch.
struct Plan {
    shown: Value,
    is_empty: bool,
    text: String,
}

/// What of a switch says what would be changed.
fn plan(switch: &Value) -> Plan {
    let name = text(switch, "name");
    let list = |field: &str| list(switch, field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let (differences, foreign) = (list("differences"), list("foreign"));
    let fault = text(switch, "fault");
    let is_read = switch.get("read_at").is_some_and(Value::is_string);
    // A switch of which the last word is older than the fault may be anything by now.
    let is_known = is_read && (fault.is_empty() || !differences.is_empty());
    let flag = |field: &str| switch.get(field).and_then(Value::as_bool);
    let verdict = match (is_known, differences.is_empty()) {
        _ if text(switch, "declared_in") == "withdrawn" => "withdrawn: not touched",
        _ if flag("admin_state_up") == Some(false) => "paused: not touched",
        (false, _) => "not known",
        (true, true) => "nothing differs",
        (true, false) if flag("read_only") == Some(true) => "only read; would be changed",
        (true, false) => "to be changed",
    };
    let mut out = format!("{name}: {verdict}");
    match switch.get("read_at").and_then(Value::as_str) {
        Some(at) => writeln!(out, " (read at {at})"),
        None => writeln!(out, " (never read)"),
    }
    .unwrap_or_default();
    for it in &differences {
        out.push_str(&format!("  ~ {it}\n"));
    }
    for it in &foreign {
        out.push_str(&format!("  ! {it}; left alone\n"));
    }
    if !fault.is_empty() && !is_known {
        out.push_str(&format!("  ? {fault}\n"));
    }
    let shown = json!({
        "switch": name,
        "read_at": switch["read_at"],
        "known": is_known,
        "differences": differences,
        "foreign": foreign,
        "fault": fault,
        "verdict": verdict,
    });
    Plan { shown, is_empty: is_known && differences.is_empty(), text: out }
}

impl PlanArgs {
    pub(super) async fn run(self) -> anyhow::Result<Said> {
        let session = self.ask.session().await?;
        let switches = match &self.switch {
            Some(name) => vec![session.get(&switch::path(name)).await?["switch"].take()],
            None => match session.get(&format!("{ROOT}/switches?sort_key=name&sort_dir=asc")).await?["switches"].take() {
                Value::Array(all) => all,
                _ => bail!("an answer without switches"),
            },
        };
        let plans: Vec<Plan> = switches.iter().map(plan).collect();
        let shown = json!({"plan": plans.iter().map(|it| it.shown.clone()).collect::<Vec<_>>()});
        let text = self.ask.told(&shown, |_| match plans.is_empty() {
            true => "there are no switches\n".to_owned(),
            false => plans.iter().map(|it| it.text.as_str()).collect(),
        })?;
        Ok(Said { text, well: plans.iter().all(|it| it.is_empty) })
    }
}

/// The switch when it was read anew, or failed to be.
async fn read_anew(session: &Session, name: &str, wait: Duration) -> anyhow::Result<Value> {
    let path = switch::path(name);
    let before = session.get(&path).await?["switch"].take();
    session.send(Method::PUT, &format!("{path}/read"), None).await?;
    let began = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = session.get(&path).await?["switch"].take();
        if now["reading"] != before["reading"] || now["failures"].as_u64() > before["failures"].as_u64() {
            return Ok(now);
        }
        if began.elapsed() > wait {
            bail!("switch {name} was not read within {} s; its last fault: {:?}", wait.as_secs(), text(&now, "fault"));
        }
    }
}

impl AdoptArgs {
    pub(super) async fn run(self) -> anyhow::Result<Said> {
        let session = self.ask.session().await?;
        let name = &self.switch;
        let declared = session.get(&switch::path(name)).await?["switch"].take();
        if declared["admin_state_up"] == false || text(&declared, "declared_in") == "withdrawn" {
            bail!("switch {name} is not spoken to: it is paused or withdrawn");
        }
        if declared["read_only"] == false {
            bail!("switch {name} is ours already and is written; `fabric plan --switch {name}` shows what differs");
        }
        let plan = plan(&read_anew(&session, name, Duration::from_secs(self.wait)).await?);
        let mut shown = plan.shown.clone();
        shown["taken_over"] = json!(self.take_over && plan.is_empty);
        let mut said = plan.text.clone();
        if self.take_over && plan.is_empty {
            session.send(Method::PUT, &switch::path(name), Some(&json!({"switch": {"read_only": false}}))).await?;
            said.push_str(&format!("{name} is taken over: it is kept as wanted from now on\n"));
        } else if self.take_over {
            said.push_str(&format!("{name} is not taken over: something differs\n"));
        } else if plan.is_empty {
            said.push_str(&format!("`fabric adopt {name} --take-over` takes it over without changing anything\n"));
        }
        Ok(Said { text: self.ask.told(&shown, |_| said)?, well: plan.is_empty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(more: Value) -> Value {
        let mut switch = json!({"name": "leaf1", "read_at": "T", "fault": "", "differences": [], "foreign": [], "declared_in": "api",
            "admin_state_up": true, "read_only": false});
        for (name, value) in more.as_object().unwrap() {
            switch[name] = value.clone();
        }
        switch
    }

    #[test]
    fn plans_are_told_in_lines() {
        let well = plan(&switch(json!({})));
        assert!(well.is_empty);
        assert_eq!(well.text, "leaf1: nothing differs (read at T)\n");
        let differs =
            plan(&switch(json!({"read_only": true, "differences": ["port a is trunk, wanted isolated"], "foreign": ["VLAN 7 is x"]})));
        assert!(!differs.is_empty);
        let text = "leaf1: only read; would be changed (read at T)\n  ~ port a is trunk, wanted isolated\n  ! VLAN 7 is x; left alone\n";
        assert_eq!(differs.text, text);
        // What is not known is not well.
        for more in [json!({"read_at": null}), json!({"fault": "silent"})] {
            let plan = plan(&switch(more));
            assert!(!plan.is_empty && plan.text.contains("not known"), "{}", plan.text);
        }
    }
}
