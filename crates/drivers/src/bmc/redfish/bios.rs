//! BIOS settings: read with their registry, written to the pending settings, verified after the restart that makes them hold
//! (Source: DMTF DSP0268, `Bios`, `AttributeRegistry`; DSP0266, "Settings resource").

use std::collections::HashMap;
use std::time::Duration;

use model::Timestamp;
use model::baremetal::{BiosSetting, Step};
use serde_json::{Map, Value, json};

use super::Redfish;
use super::connection::etag_of;
use crate::bmc::help::{as_bool, text_of};
use crate::bmc::{BmcError, StepProgress};

/// How long a machine may take to come up with its new settings, in seconds. Memory of terabytes is trained for half an hour.
const LIMIT_SECONDS: f64 = 3_600.0;
const LOOK: Duration = Duration::from_secs(15);
/// Most registries and settings looked at.
const REGISTRIES: usize = 64;
const SETTINGS: usize = 10_000;
/// How many settings a reset is watched by.
const WATCHED: usize = 64;

impl Redfish {
    async fn bios_resource(&self) -> Result<Value, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        match system["Bios"]["@odata.id"].as_str() {
            Some(path) => self.conn.read(path).await,
            None => Err(BmcError::Unsupported { what: "BIOS settings".into() }),
        }
    }

    /// What the registry says of each attribute; empty if there is none.
    async fn registry(&self, bios: &Value) -> Result<HashMap<String, Value>, BmcError> {
        let Some(name) = bios["AttributeRegistry"].as_str() else { return Ok(HashMap::new()) };
        let members = match self.conn.members(&format!("{}Registries", self.conn.root)).await {
            Ok(members) => members,
            Err(BmcError::Rejected { .. }) => return Ok(HashMap::new()),
            Err(error) => return Err(error),
        };
        let short = name.split(".v").next().unwrap_or(name);
        let by_name = |it: &&String| it.contains(short);
        let (named, others): (Vec<&String>, Vec<&String>) = members.iter().partition(by_name);
        for path in named.into_iter().chain(others).take(REGISTRIES) {
            let Some(file) = self.conn.maybe(path).await? else { continue };
            if file["Registry"] != name && file["Id"] != name && file["Registry"] != short {
                continue;
            }
            let places = file["Location"].as_array().map(Vec::as_slice).unwrap_or_default();
            let english = places.iter().find(|it| it["Language"].as_str().is_some_and(|it| it.starts_with("en")));
            let Some(uri) = english.or(places.first()).and_then(|it| it["Uri"].as_str().or_else(|| it["Uri"]["extref"].as_str())) else {
                continue;
            };
            let Some(mut registry) = self.conn.maybe(uri).await? else { continue };
            let entries = registry.pointer_mut("/RegistryEntries/Attributes").map(Value::take).unwrap_or_default();
            let Value::Array(entries) = entries else { return Ok(HashMap::new()) };
            let named = |it: Value| it["AttributeName"].as_str().map(str::to_owned).map(|name| (name, it));
            return Ok(entries.into_iter().take(SETTINGS).filter_map(named).collect());
        }
        Ok(HashMap::new())
    }

    pub(super) async fn read_bios(&self) -> Result<Vec<BiosSetting>, BmcError> {
        let bios = self.bios_resource().await?;
        let registry = self.registry(&bios).await?;
        let attributes = bios["Attributes"].as_object().into_iter().flatten().take(SETTINGS);
        Ok(attributes.map(|(name, value)| setting(name, value, registry.get(name))).collect())
    }

    /// Writes settings that hold from the next start.
    pub(super) async fn write_settings(&self, bios: &Value, attributes: &Map<String, Value>) -> Result<(), BmcError> {
        let settings = &bios["@Redfish.Settings"];
        let own = bios["@odata.id"].as_str().unwrap_or_default();
        let path = settings["SettingsObject"]["@odata.id"].as_str().unwrap_or(own);
        let mut body = Map::from_iter([("Attributes".to_owned(), Value::Object(attributes.clone()))]);
        let times = settings["SupportedApplyTimes"].as_array();
        if times.is_some_and(|it| it.iter().any(|it| it == "OnReset")) {
            body.insert("@Redfish.SettingsApplyTime".into(), json!({"ApplyTime": "OnReset"}));
        }
        let etag = self.conn.fetch(path).await.ok().and_then(|it| etag_of(&it));
        self.conn.patch(path, &Value::Object(body), etag.as_deref()).await.map(drop)
    }

    /// Whether these settings are to hold from the next start already.
    async fn is_pending(&self, bios: &Value, attributes: &Map<String, Value>) -> Result<bool, BmcError> {
        let own = bios["@odata.id"].as_str();
        let path = bios.pointer("/@Redfish.Settings/SettingsObject/@odata.id").and_then(Value::as_str);
        let Some(path) = path.filter(|it| Some(*it) != own) else { return Ok(false) };
        let pending = self.conn.maybe(path).await?.unwrap_or_default();
        Ok(attributes.iter().all(|(name, value)| pending["Attributes"][name.as_str()] == *value))
    }

    /// `bios.apply_configuration`.
    pub(super) async fn apply_bios(&self, step: &Step, memory: &Value) -> Result<StepProgress, BmcError> {
        let bios = self.bios_resource().await?;
        let now = &bios["Attributes"];
        let wanted = match memory["wanted"].as_object() {
            Some(wanted) => wanted.clone(),
            None => match self.wanted(step, &bios).await? {
                Ok(wanted) => wanted,
                Err(why) => return Ok(StepProgress::Failed(why)),
            },
        };
        let open: Map<String, Value> = wanted.iter().filter(|(name, value)| now[name.as_str()] != **value).map(pair).collect();
        if open.is_empty() {
            return Ok(StepProgress::Done);
        }
        let names = open.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let Some(since) = memory["since"].as_i64().map(Timestamp) else {
            if let Err(error) = self.write_settings(&bios, &open).await {
                // A process that died may have written them: a BMC that holds them for the next start takes no more until then
                // (Source: Dell, iDRAC: "Pending configuration values are already committed").
                let is_refusal = matches!(error, BmcError::Rejected { .. } | BmcError::Conflict { .. });
                if !is_refusal || !self.is_pending(&bios, &open).await? {
                    return Err(error);
                }
            }
            return Ok(StepProgress::Again {
                memory: json!({"wanted": wanted, "since": Timestamp::now().0}),
                after: LOOK,
                reason: format!("BIOS settings hold from the next start: {names}"),
                reboot: true,
            });
        };
        if Timestamp::now().seconds_since(since) > LIMIT_SECONDS {
            return Ok(StepProgress::Failed(format!("the BIOS settings {names} did not take the wanted values{}", refusals(&bios))));
        }
        let reason = format!("BIOS settings are not yet as wanted: {names}");
        Ok(StepProgress::Again { memory: memory.clone(), after: LOOK, reason, reboot: false })
    }

    /// The settings of a step as values of the types that the BIOS has them in.
    async fn wanted(&self, step: &Step, bios: &Value) -> Result<Result<Map<String, Value>, String>, BmcError> {
        let Some(list) = step.args.get("settings").and_then(Value::as_array).filter(|it| !it.is_empty()) else {
            return Ok(Err("bios.apply_configuration needs the argument settings, a list of {name, value}".into()));
        };
        let registry = self.registry(bios).await?;
        let mut wanted = Map::new();
        for item in list {
            let (Some(name), Some(value)) = (item["name"].as_str(), item.get("value")) else {
                return Ok(Err("each item of settings needs a name and a value".into()));
            };
            let (Some(now), entry) = (bios["Attributes"].get(name), registry.get(name)) else {
                return Ok(Err(format!("the BIOS has no setting {name}")));
            };
            if entry.is_some_and(|it| it["ReadOnly"] == true) {
                return Ok(Err(format!("the BIOS setting {name} cannot be changed")));
            }
            let Some(value) = typed(value, now, entry) else {
                return Ok(Err(format!("the BIOS setting {name} cannot be {}", text_of(value))));
            };
            wanted.insert(name.to_owned(), value);
        }
        Ok(Ok(wanted))
    }

    /// `bios.factory_reset`.
    pub(super) async fn reset_bios(&self, memory: &Value) -> Result<StepProgress, BmcError> {
        let bios = self.bios_resource().await?;
        let Some(since) = memory["since"].as_i64().map(Timestamp) else {
            let Some(target) = bios.pointer("/Actions/#Bios.ResetBios/target").and_then(Value::as_str) else {
                return Ok(StepProgress::Failed("the BMC cannot reset BIOS settings".into()));
            };
            // What differs from the defaults now shows afterwards that the reset happened.
            let registry = self.registry(&bios).await?;
            let watched: Map<String, Value> = registry
                .iter()
                .filter(|(name, entry)| is_changed(&bios["Attributes"][name.as_str()], entry))
                .map(|(name, entry)| (name.clone(), entry["DefaultValue"].clone()))
                .take(WATCHED)
                .collect();
            // Asked for already, perhaps by a process that died (Source: DMTF DSP0268, `Bios`, v1.2).
            if bios["ResetBiosToDefaultsPending"] != true {
                self.conn.post(target, &json!({})).await?;
            }
            return Ok(StepProgress::Again {
                memory: json!({"since": Timestamp::now().0, "watched": watched}),
                after: LOOK,
                reason: "BIOS settings are as made from the next start".into(),
                reboot: true,
            });
        };
        let watched = memory["watched"].as_object();
        // Not all of them: some defaults hold only under conditions that a registry does not say.
        let is_reset = watched.is_none_or(|it| it.is_empty() || it.iter().any(|(name, value)| bios["Attributes"][name.as_str()] == *value));
        if is_reset {
            return Ok(StepProgress::Done);
        }
        if Timestamp::now().seconds_since(since) > LIMIT_SECONDS {
            return Ok(StepProgress::Failed(format!("no BIOS setting went back to its default{}", refusals(&bios))));
        }
        let reason = "BIOS settings are not yet as made".into();
        Ok(StepProgress::Again { memory: memory.clone(), after: LOOK, reason, reboot: false })
    }
}

fn pair((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn is_changed(now: &Value, entry: &Value) -> bool {
    let (default, kind) = (&entry["DefaultValue"], entry["Type"].as_str());
    !now.is_null() && !default.is_null() && now != default && entry["ReadOnly"] != true && kind != Some("Password")
}

/// What the BMC says of settings that it did not take.
fn refusals(bios: &Value) -> String {
    let messages = bios.pointer("/@Redfish.Settings/Messages").and_then(Value::as_array);
    let said: Vec<&str> = messages.into_iter().flatten().filter_map(|it| it["Message"].as_str()).take(5).collect();
    if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) }
}

/// A value as the attribute has it; `None` if it cannot be.
fn typed(value: &Value, now: &Value, entry: Option<&Value>) -> Option<Value> {
    let kind = entry.and_then(|it| it["Type"].as_str());
    let out = match (kind, now) {
        (Some("Integer"), _) | (None, Value::Number(_)) => match value {
            Value::Number(_) => value.clone(),
            _ => json!(text_of(value).trim().parse::<i64>().ok()?),
        },
        (Some("Boolean"), _) | (None, Value::Bool(_)) => json!(as_bool(value)?),
        _ => json!(text_of(value)),
    };
    let Some(entry) = entry else { return Some(out) };
    if kind == Some("Enumeration") {
        let names: Vec<&str> = entry["Value"].as_array().into_iter().flatten().filter_map(|it| it["ValueName"].as_str()).collect();
        if !names.is_empty() && !names.iter().any(|it| out == **it) {
            return None;
        }
    }
    if let Some(number) = out.as_i64() {
        let within = |key: &str, is: fn(i64, i64) -> bool| entry[key].as_i64().is_none_or(|bound| is(number, bound));
        if !within("LowerBound", |it, bound| it >= bound) || !within("UpperBound", |it, bound| it <= bound) {
            return None;
        }
    }
    Some(out)
}

fn setting(name: &str, value: &Value, entry: Option<&Value>) -> BiosSetting {
    let shown = (!value.is_null()).then(|| text_of(value));
    let Some(entry) = entry else { return BiosSetting { name: name.to_owned(), value: shown, ..BiosSetting::default() } };
    let values = entry["Value"].as_array().filter(|it| !it.is_empty());
    BiosSetting {
        name: name.to_owned(),
        value: shown,
        attribute_type: entry["Type"].as_str().map(str::to_owned),
        allowable_values: values.map(|it| it.iter().filter_map(|it| it["ValueName"].as_str().map(str::to_owned)).collect()),
        lower_bound: entry["LowerBound"].as_i64(),
        upper_bound: entry["UpperBound"].as_i64(),
        min_length: entry["MinLength"].as_i64(),
        max_length: entry["MaxLength"].as_i64(),
        read_only: entry["ReadOnly"].as_bool(),
        reset_required: entry["ResetRequired"].as_bool(),
        unique: entry["IsSystemUniqueProperty"].as_bool(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_what_the_attribute_is() {
        let entry = json!({"Type": "Integer", "LowerBound": 1, "UpperBound": 8});
        assert_eq!(typed(&json!("4"), &json!(2), Some(&entry)), Some(json!(4)));
        assert_eq!(typed(&json!(9), &json!(2), Some(&entry)), None);
        assert_eq!(typed(&json!("x"), &json!(2), None), None);
        assert_eq!(typed(&json!("True"), &json!(false), None), Some(json!(true)));
        let choice = json!({"Type": "Enumeration", "Value": [{"ValueName": "Enabled"}, {"ValueName": "Disabled"}]});
        assert_eq!(typed(&json!("Enabled"), &json!("Disabled"), Some(&choice)), Some(json!("Enabled")));
        assert_eq!(typed(&json!("On"), &json!("Disabled"), Some(&choice)), None);
    }
}
