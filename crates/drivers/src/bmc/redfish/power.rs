//! Power and interrupts (Source: DMTF DSP0268, `ComputerSystem`, `PowerState` and `Reset`).

use serde_json::{Value, json};

use super::Redfish;
use crate::bmc::{BmcError, PowerAction, PowerState};

impl Redfish {
    pub(super) async fn power_state(&self) -> Result<PowerState, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        match system["PowerState"].as_str() {
            Some("On") => Ok(PowerState::On),
            Some("Off") => Ok(PowerState::Off),
            Some("PoweringOn" | "PoweringOff" | "Paused") => Ok(PowerState::Changing),
            other => Err(self.conn.protocol(format!("its PowerState is {other:?}"))),
        }
    }

    pub(super) async fn change_power(&self, action: PowerAction) -> Result<(), BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let state = system["PowerState"].as_str().unwrap_or_default();
        let words: &[&str] = match (action, state) {
            (PowerAction::On, "On" | "PoweringOn")
            | (PowerAction::Off | PowerAction::SoftOff, "Off")
            | (PowerAction::SoftOff, "PoweringOff") => return Ok(()),
            (PowerAction::On, "Paused") => &["Resume", "On", "ForceOn"],
            (PowerAction::On, _) | (PowerAction::Reset, "Off") => &["On", "ForceOn"],
            (PowerAction::Off, _) => &["ForceOff"],
            (PowerAction::SoftOff, _) => &["GracefulShutdown", "PushPowerButton"],
            (PowerAction::Reset, _) => &["ForceRestart", "PowerCycle", "FullPowerCycle", "GracefulRestart"],
        };
        self.reset(&system, words).await
    }

    pub(super) async fn interrupt(&self) -> Result<(), BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        self.reset(&system, &["Nmi"]).await
    }

    /// Posts the first of `words` that the machine takes; if it does not tell, the first.
    async fn reset(&self, system: &Value, words: &[&str]) -> Result<(), BmcError> {
        let action = &system["Actions"]["#ComputerSystem.Reset"];
        let allowed = self.allowable(action, "ResetType").await?;
        let word = match &allowed {
            None => words.first(),
            Some(allowed) => words.iter().find(|it| allowed.iter().any(|word| word == *it)),
        };
        let Some(word) = word else {
            return Err(BmcError::Unsupported {
                what: format!("a reset of type {}; it takes {:?}", words.join(" or "), allowed.unwrap_or_default()),
            });
        };
        let target = action["target"].as_str().map(str::to_owned);
        let path = self.system().await?.trim_end_matches('/');
        let target = target.unwrap_or_else(|| format!("{path}/Actions/ComputerSystem.Reset"));
        self.conn.post(&target, &json!({ "ResetType": word })).await.map(drop)
    }

    /// What an argument of an action may be, if the BMC tells: beside the action, or in its `ActionInfo`.
    async fn allowable(&self, action: &Value, argument: &str) -> Result<Option<Vec<String>>, BmcError> {
        let texts = |list: &Value| -> Option<Vec<String>> {
            let texts: Vec<String> = list.as_array()?.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
            (!texts.is_empty()).then_some(texts)
        };
        if let Some(found) = texts(&action[format!("{argument}@Redfish.AllowableValues")]) {
            return Ok(Some(found));
        }
        let Some(info) = action["@Redfish.ActionInfo"].as_str() else { return Ok(None) };
        let info = self.conn.maybe(info).await?.unwrap_or_default();
        let parameter = info["Parameters"].as_array().into_iter().flatten().find(|it| it["Name"] == argument);
        Ok(parameter.and_then(|it| texts(&it["AllowableValues"])))
    }
}
