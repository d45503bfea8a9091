//! Sensors and health (Source: DMTF DSP0268: `Thermal` and `Power`, later `EnvironmentMetrics` and `Sensor`).

use serde_json::Value;

use super::Redfish;
use super::connection::links;
use crate::bmc::{BmcError, Sensor};

/// Most chassis and sensors looked at.
const PARTS: usize = 8;
const SENSORS: usize = 256;

fn sensor(kind: &'static str, unit: &'static str, name: Option<&str>, value: &Value) -> Option<Sensor> {
    let value = value.as_f64().filter(|it| it.is_finite())?;
    Some(Sensor { kind, name: name.unwrap_or(kind).to_owned(), value, unit })
}

fn is_there(resource: &Value) -> bool {
    resource["Status"]["State"] != "Absent"
}

/// The readings of the older `Thermal`.
fn thermal(body: &Value) -> Vec<Sensor> {
    let list = |key: &str| body[key].as_array().cloned().unwrap_or_default().into_iter().filter(is_there);
    let heat = list("Temperatures")
        .filter_map(|it| sensor("temperature", "celsius", it["Name"].as_str(), &it["ReadingCelsius"]))
        .collect::<Vec<_>>();
    let fans = list("Fans").filter_map(|it| {
        let unit = if it["ReadingUnits"] == "Percent" { "percent" } else { "rpm" };
        sensor("fan", unit, it["Name"].as_str().or(it["FanName"].as_str()), &it["Reading"])
    });
    heat.into_iter().chain(fans).collect()
}

/// The readings of the older `Power`.
fn power(body: &Value) -> Vec<Sensor> {
    let list = |key: &str| body[key].as_array().cloned().unwrap_or_default().into_iter().filter(is_there);
    let whole = list("PowerControl").filter_map(|it| sensor("power", "watts", it["Name"].as_str(), &it["PowerConsumedWatts"]));
    let whole: Vec<Sensor> = whole.collect();
    let supplies = list("PowerSupplies").filter_map(|it| {
        let reading = ["PowerInputWatts", "LastPowerOutputWatts", "PowerOutputWatts"].into_iter().find(|key| it[*key].is_number())?;
        sensor("power", "watts", it["Name"].as_str(), &it[reading])
    });
    whole.into_iter().chain(supplies).collect()
}

/// One resource of the newer model.
fn modern(body: &Value) -> Option<Sensor> {
    let (kind, unit) = match (body["ReadingType"].as_str(), body["ReadingUnits"].as_str()) {
        (Some("Temperature"), _) => ("temperature", "celsius"),
        (Some("Power"), _) => ("power", "watts"),
        (Some("Rotational"), _) => ("fan", "rpm"),
        (Some("Percent"), _) if body["PhysicalContext"] == "Fan" => ("fan", "percent"),
        _ => return None,
    };
    if is_there(body) { sensor(kind, unit, body["Name"].as_str(), &body["Reading"]) } else { None }
}

/// What a chassis says of itself as a whole, newer model.
fn environment(body: &Value) -> Vec<Sensor> {
    let mut out = Vec::new();
    out.extend(sensor("temperature", "celsius", Some("chassis"), &body["TemperatureCelsius"]["Reading"]));
    out.extend(sensor("power", "watts", Some("chassis"), &body["PowerWatts"]["Reading"]));
    for fan in body["FanSpeedsPercent"].as_array().into_iter().flatten() {
        let name = fan["DeviceName"].as_str().or(fan["DataSourceUri"].as_str());
        out.extend(sensor("fan", "rpm", name, &fan["SpeedRPM"]).or_else(|| sensor("fan", "percent", name, &fan["Reading"])));
    }
    out
}

impl Redfish {
    pub(super) async fn read_health(&self) -> Result<Option<String>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let health = ["HealthRollup", "HealthRollUp", "Health"].into_iter().find_map(|it| system["Status"][it].as_str());
        Ok(health.filter(|it| ["OK", "Warning", "Critical"].contains(it)).map(str::to_owned))
    }

    pub(super) async fn read_sensors(&self) -> Result<Vec<Sensor>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let mut out = Vec::new();
        for path in links(&system["Links"]["Chassis"]).into_iter().take(PARTS) {
            let Some(chassis) = self.conn.maybe(&path).await? else { continue };
            let before = out.len();
            if let Some(path) = chassis["Thermal"]["@odata.id"].as_str() {
                out.extend(self.conn.maybe(path).await?.map(|it| thermal(&it)).unwrap_or_default());
            }
            if let Some(path) = chassis["Power"]["@odata.id"].as_str() {
                out.extend(self.conn.maybe(path).await?.map(|it| power(&it)).unwrap_or_default());
            }
            if out.len() == before
                && let Some(path) = chassis["Sensors"]["@odata.id"].as_str()
            {
                let mut members = self.conn.members(path).await.unwrap_or_default();
                members.truncate(SENSORS);
                out.extend(self.conn.all(&members).await?.iter().filter_map(modern));
            }
            if out.len() == before
                && let Some(path) = chassis["EnvironmentMetrics"]["@odata.id"].as_str()
            {
                out.extend(self.conn.maybe(path).await?.map(|it| environment(&it)).unwrap_or_default());
            }
        }
        out.truncate(SENSORS);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_and_new_readings() {
        let old = thermal(&json!({
            "Temperatures": [{"Name": "CPU1", "ReadingCelsius": 41}, {"Name": "x", "ReadingCelsius": null},
                {"Name": "CPU2", "ReadingCelsius": 0, "Status": {"State": "Absent"}}],
            "Fans": [{"Name": "F1", "Reading": 2100, "ReadingUnits": "RPM"}, {"FanName": "F2", "Reading": 30, "ReadingUnits": "Percent"}],
        }));
        assert_eq!(
            old.iter().map(|it| (it.name.as_str(), it.value, it.unit)).collect::<Vec<_>>(),
            [("CPU1", 41.0, "celsius"), ("F1", 2100.0, "rpm"), ("F2", 30.0, "percent")]
        );
        assert_eq!(power(&json!({"PowerControl": [{"PowerConsumedWatts": 344}]})).len(), 1);
        let new = modern(&json!({"Name": "Inlet", "ReadingType": "Temperature", "Reading": 21.5})).unwrap();
        assert_eq!((new.kind, new.value), ("temperature", 21.5));
        assert!(modern(&json!({"Name": "Volts", "ReadingType": "Voltage", "Reading": 12})).is_none());
        let chassis =
            json!({"TemperatureCelsius": {"Reading": 39}, "PowerWatts": {"Reading": 374}, "FanSpeedsPercent": [{"SpeedRPM": 2200}]});
        assert_eq!(environment(&chassis).len(), 3);
    }
}
