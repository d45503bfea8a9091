//! Lights of the system, its chassis and its drives (Source: DMTF DSP0268: `IndicatorLED`, later `LocationIndicatorActive`).

use serde_json::{Value, json};

use super::Redfish;
use super::connection::links;
use crate::bmc::{BmcError, Indicator};

/// Most chassis and storage subsystems that are looked at.
const PARTS: usize = 16;

struct Light {
    indicator: Indicator,
    path: String,
    /// Whether it is the older property.
    led: bool,
}

fn light(component: &str, name: String, path: String, resource: &Value) -> Option<Light> {
    let (state, led) = match (resource["IndicatorLED"].as_str(), resource["LocationIndicatorActive"].as_bool()) {
        (Some("Lit"), _) => ("ON", true),
        (Some("Blinking"), _) => ("BLINKING", true),
        (Some("Off"), _) => ("OFF", true),
        (None, Some(true)) => ("ON", false),
        (None, Some(false)) => ("OFF", false),
        (Some(_), _) => ("UNKNOWN", true),
        (None, None) => return None,
    };
    let states: &[&str] = if led { &["BLINKING", "OFF", "ON"] } else { &["OFF", "ON"] };
    let states = states.iter().map(|it| (*it).to_owned()).collect();
    Some(Light { indicator: Indicator { component: component.to_owned(), name, state: state.to_owned(), states }, path, led })
}

fn name_of(resource: &Value) -> Option<String> {
    ["UUID", "Id"].iter().find_map(|it| resource[*it].as_str()).map(str::to_owned)
}

impl Redfish {
    async fn lights(&self, component: Option<&str>) -> Result<Vec<Light>, BmcError> {
        let path = self.system().await?.to_owned();
        let system = self.conn.read(&path).await?;
        let wants = |it: &str| component.is_none_or(|component| component == it);
        let mut lights = Vec::new();
        if wants("system")
            && let Some(name) = name_of(&system)
        {
            lights.extend(light("system", name, path, &system));
        }
        if wants("chassis") {
            for path in links(&system["Links"]["Chassis"]).into_iter().take(PARTS) {
                let chassis = self.conn.maybe(&path).await?.unwrap_or_default();
                if let Some(name) = name_of(&chassis) {
                    lights.extend(light("chassis", name, path, &chassis));
                }
            }
        }
        if wants("disk") {
            for storage in self.conn.each(&system, "Storage").await?.iter().take(PARTS) {
                for path in links(&storage["Drives"]) {
                    let drive = self.conn.maybe(&path).await?.unwrap_or_default();
                    if let (Some(storage), Some(drive_id)) = (storage["Id"].as_str(), drive["Id"].as_str()) {
                        lights.extend(light("disk", format!("{storage}:{drive_id}"), path, &drive));
                    }
                }
            }
        }
        Ok(lights)
    }

    pub(super) async fn read_indicators(&self) -> Result<Vec<Indicator>, BmcError> {
        Ok(self.lights(None).await?.into_iter().map(|it| it.indicator).collect())
    }

    pub(super) async fn switch_indicator(&self, component: &str, name: &str, state: &str) -> Result<(), BmcError> {
        let lights = self.lights(Some(component)).await?;
        let Some(light) = lights.iter().find(|it| it.indicator.name == name) else {
            return Err(self.conn.rejected(format!("Unknown indicator {name} for component {component}")));
        };
        let change = match (light.led, state) {
            (true, "ON") => json!({"IndicatorLED": "Lit"}),
            (true, "OFF") => json!({"IndicatorLED": "Off"}),
            (true, "BLINKING") => json!({"IndicatorLED": "Blinking"}),
            (false, "ON") => json!({"LocationIndicatorActive": true}),
            (false, "OFF") => json!({"LocationIndicatorActive": false}),
            _ => return Err(BmcError::Unsupported { what: format!("the state {state} of indicator {name} of {component}") }),
        };
        self.conn.patch(&light.path, &change, None).await.map(drop)
    }
}
