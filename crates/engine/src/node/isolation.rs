//! By what a machine's switch ports are known to reach nobody: each by a reading, or on an operator's word. The two are told apart wherever
//! people read of it later.

use model::Timestamp;
use model::fabric::{self, Forced, Proof, Switch, SwitchPort};
use model::net::LocalLink;
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Query, Severity};

use super::Machine;
use crate::runtime::Fault;
use crate::switch::names;

/// What a port counts as isolated by.
#[derive(Debug, Clone, PartialEq)]
enum Ground {
    /// Its switch was read.
    Reading(Proof),
    /// An operator freed it without that.
    Word(Forced),
}

/// A switch port of the machine that nobody holds.
#[derive(Debug, Clone, PartialEq)]
struct FreePort {
    switch: Id<Switch>,
    port: String,
    ground: Ground,
}

impl FreePort {
    /// The port, if it is free; a reading counts more than a word.
    fn of(row: &Object<SwitchPort>) -> Option<Self> {
        if !row.is_free() {
            return None;
        }
        let ground = match (row.proof(), &row.desired.forced) {
            (Some(proof), _) => Ground::Reading(proof),
            (None, word) => Ground::Word(word.clone()?),
        };
        Some(Self { switch: row.desired.switch.clone(), port: row.desired.port.clone(), ground })
    }

    fn is_proven(&self) -> bool {
        matches!(self.ground, Ground::Reading(_))
    }

    /// In words, for people.
    fn text(&self) -> String {
        let at = format!("{}/{}", self.switch, self.port);
        match &self.ground {
            Ground::Reading(proof) => format!("{at} read as isolated at {} (reading {})", proof.read_at.iso_micros(), proof.reading),
            Ground::Word(it) => {
                format!("{at} not proven, freed by an operator's word: user {} at {} ({})", it.by, it.at.iso_micros(), it.reason)
            }
        }
    }

    fn detail(&self) -> Value {
        let mut out = json!({"switch": self.switch, "port": self.port, "proven": self.is_proven()});
        match &self.ground {
            Ground::Reading(proof) => {
                out["read_at"] = json!(proof.read_at.iso_micros());
                out["reading"] = json!(proof.reading);
            }
            Ground::Word(it) => out["forced"] = json!({"by": it.by, "at": it.at.iso_micros(), "reason": it.reason}),
        }
        out
    }
}

/// Every switch port of a machine, held by nobody; none of a machine whose network nobody manages.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Isolation {
    ports: Vec<FreePort>,
}

impl Isolation {
    /// The oldest of the readings that prove it; `None` where some port was not read, or where there is none.
    pub(super) fn proven_at(&self) -> Option<Timestamp> {
        let readings = self.ports.iter().map(|it| match &it.ground {
            Ground::Reading(proof) => Some(proof.read_at),
            Ground::Word(_) => None,
        });
        readings.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// What the machine is, in words: `isolated` only of one that was read to be.
    pub(super) fn called(&self) -> String {
        let unproven: Vec<String> = self.ports.iter().filter(|it| !it.is_proven()).map(|it| format!("{}/{}", it.switch, it.port)).collect();
        if unproven.is_empty() {
            return "isolated".to_owned();
        }
        format!("taken for isolated on an operator's word ({})", unproven.join(", "))
    }

    /// The line of the machine's history when its tenant is rid of it: how grave, what, and how each port came to be free.
    pub(super) fn line(&self) -> (Severity, String, Value) {
        let ports: Vec<Value> = self.ports.iter().map(FreePort::detail).collect();
        let texts: Vec<String> = self.ports.iter().map(FreePort::text).collect();
        let mut detail = json!({"ports": ports, "reason": texts.join("; ")});
        let unproven = self.ports.iter().filter(|it| !it.is_proven()).count();
        let (severity, event) = match (self.proven_at(), unproven) {
            (Some(at), _) => {
                detail["read_at"] = json!(at.iso_micros());
                (Severity::Info, format!("isolation proven at {} by read-back", at.iso_micros()))
            }
            (None, 0) => (Severity::Info, "released; no switch port of it is known, so none was read".to_owned()),
            (None, some) => {
                let all = self.ports.len();
                (Severity::Warning, format!("released without proof of isolation of {some} of its {all} switch ports"))
            }
        };
        (severity, event, detail)
    }
}

impl Machine<'_> {
    /// The cable ends of the machine, each with its switch.
    async fn cables(&self) -> Result<Vec<(Object<Switch>, LocalLink)>, Fault> {
        let switches = self.cx.store.list(&Query::<Switch>::new()).await?;
        let mut out = Vec::new();
        for card in &self.cards {
            let Some(link) = &card.desired.local_link_connection else { continue };
            let switch = fabric::find_switch(&switches, link)
                .ok_or_else(|| Fault::Outside(format!("no switch of ours is at the other end of {}", card.desired.address)))?;
            out.push((switch.clone(), link.clone()));
        }
        Ok(out)
    }

    /// Whether every switch port of the machine is held by nobody and was read back as isolated, or freed by an operator: by what each,
    /// else what is awaited. Of a machine whose network nobody manages there is nothing to prove.
    pub(super) async fn isolation(&self) -> Result<Result<Isolation, String>, Fault> {
        let mut out = Isolation::default();
        if !self.is_wired() {
            return Ok(Ok(out));
        }
        // What it still holds counts, whatever cards it has by now: one may have been deleted or re-cabled since.
        let holders = self.node.desired.vifs.iter().map(ToString::to_string).chain([self.ramdisk_port_id().to_string()]);
        if let Some(row) = self.cx.store.list(&Query::<SwitchPort>::new().column("holder", holders)).await?.first() {
            let (port, switch) = (&row.desired.port, &row.desired.switch);
            return Ok(Err(format!("{port} of {switch} is held until it is read back as isolated")));
        }
        for (switch, link) in self.cables().await? {
            let id = names::row_of(&switch, &link.port_id);
            let row = match self.cx.store.get::<SwitchPort>(&id).await? {
                Some(row) => row,
                None => {
                    crate::port::adopt(self.cx, &switch.id, &names::name(&switch, &link.port_id)).await?;
                    return Ok(Err(format!("{} of {} is being read for the first time", link.port_id, switch.id)));
                }
            };
            let Some(port) = FreePort::of(&row) else {
                return Ok(Err(format!("{} of {} is in quarantine until it is read back as isolated", link.port_id, switch.id)));
            };
            out.ports.push(port);
        }
        Ok(Ok(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, ground: Ground) -> FreePort {
        FreePort { switch: Id::parse("leaf1").unwrap(), port: name.into(), ground }
    }

    fn read(at: i64) -> Ground {
        Ground::Reading(Proof { read_at: Timestamp(at), reading: 7 })
    }

    #[test]
    fn only_readings_prove() {
        let word = || Ground::Word(Forced { by: "u1".into(), reason: "it burned down".into(), at: Timestamp(3_000_000) });
        let both = Isolation { ports: vec![port("p1", read(2_000_000)), port("p2", read(1_000_000))] };
        assert_eq!((both.proven_at(), both.called().as_str()), (Some(Timestamp(1_000_000)), "isolated"));
        let (severity, event, detail) = both.line();
        assert_eq!(
            (severity.as_str(), event.starts_with("isolation proven at 1970-01-01T00:00:01")),
            (Severity::Info.as_str(), true),
            "{event}"
        );
        assert_eq!((&detail["ports"][0]["reading"], &detail["ports"][1]["proven"]), (&json!(7), &json!(true)));

        for ports in [vec![port("p1", read(1_000_000)), port("p2", word())], vec![port("p2", word())]] {
            let some = Isolation { ports };
            assert_eq!((some.proven_at(), some.called().contains("leaf1/p2")), (None, true));
            let (severity, event, detail) = some.line();
            assert_eq!(severity.as_str(), Severity::Warning.as_str());
            assert!(event.starts_with("released without proof") && !event.contains("proven"), "{event}");
            assert_eq!(detail.get("read_at"), None);
            let said = detail["reason"].as_str().unwrap();
            assert!(said.contains("leaf1/p2 not proven") && said.contains("user u1 at 1970-01-01T00:00:03"), "{said}");
            assert_eq!(said.contains("leaf1/p1 read as isolated"), some.ports.len() == 2, "{said}");
        }
        let none = Isolation::default();
        assert_eq!(none.proven_at(), None);
        assert!(!none.line().1.contains("proven"), "nothing was read");
    }
}
