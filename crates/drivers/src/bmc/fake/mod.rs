//! Hardware that is not there (`fake-hardware`), and hardware that somebody looks after by hand (`manual-management`).
//!
//! Nobody can be asked, so what was ordered is what is. An order is remembered until the node's own row shows it (the engine stores
//! what it read); from then on the row speaks, so that another process that works on the node is believed too. What no row holds (boot
//! device, lights, media, settings) is remembered by this process alone. The answers, steps and methods are those of Ironic's fake
//! interfaces (Source: Ironic documentation, "Fake hardware type"); beyond them everything a machine can have can be tried out here.

mod delays;
mod table;

#[cfg(test)]
mod tests;

use model::baremetal::{BiosSetting, FirmwareComponent, Step};
use serde_json::{Map, Value, json};

use self::delays::FakeDelays;
use self::table::{Extra, Order};
use super::{
    Bmc, BmcError, BootChoice, BootDevice, BootMode, HardwareConfig, Indicator, Medium, OfferedStep, PowerAction, PowerState, Sensor,
    Stage, StepProgress, arg_bool, offered, text_of,
};
use crate::Fut;

/// A machine that is not there.
pub(super) struct Fake {
    node: String,
    seen: Option<PowerState>,
    properties: Map<String, Value>,
    target_raid_config: Map<String, Value>,
    delays: FakeDelays,
}

impl Fake {
    /// Opens it.
    ///
    /// # Errors
    /// `Config` if a delay is not one.
    pub(super) fn new(config: &HardwareConfig) -> Result<Self, BmcError> {
        Ok(Self {
            node: config.node.clone(),
            seen: config.power,
            properties: config.properties.clone(),
            target_raid_config: config.target_raid_config.clone(),
            delays: FakeDelays::read(&config.info)?,
        })
    }

    fn known(&self) -> PowerState {
        table::power(&self.node, self.seen).or(self.seen).unwrap_or(PowerState::Off)
    }

    fn extra<T>(&self, with: impl FnOnce(&mut Extra) -> T) -> T {
        table::extra(&self.node, with)
    }

    fn refused(&self, reason: impl Into<String>) -> BmcError {
        BmcError::Rejected { address: format!("fake://{}", self.node), reason: reason.into() }
    }

    /// What a step does once its delay is over.
    fn act(&self, step: &Step) -> Result<(), String> {
        match (step.interface.as_str(), step.step.as_str()) {
            ("deploy", "deploy") | ("vendor", "log_passthrough" | "trigger_servicewait") | ("bios", "cache_bios_settings") => Ok(()),
            ("bios", "apply_configuration") => {
                let wanted = settings_of(step)?;
                self.extra(|it| it.bios.extend(wanted));
                Ok(())
            }
            ("bios", "factory_reset") => {
                self.extra(|it| it.bios.clear());
                Ok(())
            }
            ("firmware", "update") => {
                let list =
                    step.args.get("settings").and_then(Value::as_array).ok_or("firmware.update needs the argument settings, a list")?;
                for item in list {
                    let component = item.get("component").and_then(Value::as_str).ok_or("each item of settings needs a component")?;
                    let url = item.get("url").and_then(Value::as_str).ok_or("each item of settings needs a url")?;
                    let version = url.rsplit('/').next().unwrap_or(url).to_owned();
                    self.extra(|it| it.firmware.insert(component.to_owned(), version));
                }
                Ok(())
            }
            ("raid", "create_configuration" | "apply_configuration") => {
                let wanted = step.args.get("raid_config").and_then(Value::as_object).unwrap_or(&self.target_raid_config);
                let disks = wanted.get("logical_disks").and_then(Value::as_array).ok_or("there is no target RAID configuration")?;
                let (root, others) = (arg_bool(step, "create_root_volume", true), arg_bool(step, "create_nonroot_volumes", true));
                let is_root = |it: &Value| it.get("is_root_volume").and_then(Value::as_bool).unwrap_or(false);
                let made: Vec<Value> = disks.iter().filter(|it| if is_root(it) { root } else { others }).cloned().collect();
                self.extra(|it| it.raid = made);
                Ok(())
            }
            ("raid", "delete_configuration") => {
                self.extra(|it| it.raid.clear());
                Ok(())
            }
            _ => Err(format!("there is no step {}.{} here", step.interface, step.step)),
        }
    }
}

/// `settings: [{name, value}]` of a step.
fn settings_of(step: &Step) -> Result<Vec<(String, String)>, String> {
    let list = step.args.get("settings").and_then(Value::as_array).ok_or("bios.apply_configuration needs the argument settings, a list")?;
    let mut out = Vec::new();
    for item in list {
        let name = item.get("name").and_then(Value::as_str).ok_or("each item of settings needs a name")?;
        let value = item.get("value").ok_or("each item of settings needs a value")?;
        out.push((name.to_owned(), text_of(value)));
    }
    Ok(out)
}

impl Bmc for Fake {
    fn power(&self) -> Fut<'_, Result<PowerState, BmcError>> {
        Box::pin(async move {
            self.delays.power.wait().await;
            Ok(self.known())
        })
    }

    fn set_power(&self, action: PowerAction) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.power.wait().await;
            let state = match action {
                PowerAction::On | PowerAction::Reset => PowerState::On,
                PowerAction::Off | PowerAction::SoftOff => PowerState::Off,
            };
            table::order(&self.node, Order { state, seen: self.seen });
            Ok(())
        })
    }

    fn set_boot(&self, device: BootDevice, once: bool) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            self.extra(|it| it.boot = Some(BootChoice { device: Some(device), persistent: Some(!once) }));
            Ok(())
        })
    }

    fn boot_device(&self) -> Fut<'_, Result<BootChoice, BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            let first = BootChoice { device: Some(BootDevice::Pxe), persistent: Some(false) };
            Ok(self.extra(|it| it.boot).unwrap_or(first))
        })
    }

    fn supported_boot_devices(&self) -> Fut<'_, Result<Vec<BootDevice>, BmcError>> {
        Box::pin(async { Ok(vec![BootDevice::Pxe]) })
    }

    fn boot_mode(&self) -> Fut<'_, Result<Option<BootMode>, BmcError>> {
        Box::pin(async move { Ok(self.extra(|it| it.boot_mode)) })
    }

    fn set_boot_mode(&self, mode: BootMode) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            self.extra(|it| it.boot_mode = Some(mode));
            Ok(())
        })
    }

    fn secure_boot(&self) -> Fut<'_, Result<Option<bool>, BmcError>> {
        Box::pin(async move { Ok(self.extra(|it| it.secure_boot)) })
    }

    fn set_secure_boot(&self, on: bool) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            self.extra(|it| it.secure_boot = Some(on));
            Ok(())
        })
    }

    fn inject_nmi(&self) -> Fut<'_, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            Ok(())
        })
    }

    fn indicators(&self) -> Fut<'_, Result<Vec<Indicator>, BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            let led = self.extra(|it| it.led.clone()).unwrap_or_else(|| "ON".to_owned());
            let light = |component: &str, name: &str, state: String, states: &[&str]| Indicator {
                component: component.into(),
                name: name.into(),
                state,
                states: states.iter().map(|it| (*it).to_owned()).collect(),
            };
            Ok(vec![light("chassis", "led-0", "ON".into(), &["OFF", "ON"]), light("system", "led", led, &["BLINKING", "OFF", "ON"])])
        })
    }

    fn set_indicator<'a>(&'a self, component: &'a str, name: &'a str, state: &'a str) -> Fut<'a, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            match (component, name) {
                ("system", "led") if ["ON", "OFF", "BLINKING"].contains(&state) => {
                    self.extra(|it| it.led = Some(state.to_owned()));
                    Ok(())
                }
                ("system", "led") => Err(self.refused(format!("an indicator cannot be {state}"))),
                ("chassis", "led-0") => Err(BmcError::Unsupported { what: "switching the indicator led-0 of the chassis".into() }),
                _ => Err(self.refused(format!("there is no indicator {name} of {component}"))),
            }
        })
    }

    fn virtual_media(&self) -> Fut<'_, Result<Vec<Medium>, BmcError>> {
        Box::pin(async move {
            let media = self.extra(|it| it.media.clone());
            let place = |kind: &str| Medium {
                device_type: kind.to_owned(),
                image_url: media.get(kind).cloned(),
                inserted: media.contains_key(kind),
            };
            Ok(["cdrom", "floppy", "usb"].map(place).to_vec())
        })
    }

    fn insert_media<'a>(&'a self, device_type: &'a str, url: &'a str) -> Fut<'a, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            let kind = if device_type == "disk" { "usb" } else { device_type };
            if !["cdrom", "floppy", "usb"].contains(&kind) {
                return Err(self.refused(format!("there is no place for a medium of type {device_type}")));
            }
            self.extra(|it| it.media.insert(kind.to_owned(), url.to_owned()));
            Ok(())
        })
    }

    fn eject_media<'a>(&'a self, device_type: Option<&'a str>) -> Fut<'a, Result<(), BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            self.extra(|it| match device_type {
                Some(kind) => it.media.retain(|at, _| at != if kind == "disk" { "usb" } else { kind }),
                None => it.media.clear(),
            });
            Ok(())
        })
    }

    fn bios(&self) -> Fut<'_, Result<Vec<BiosSetting>, BmcError>> {
        Box::pin(async move {
            self.delays.bios.wait().await;
            let settings = self.extra(|it| it.bios.clone());
            Ok(settings.into_iter().map(|(name, value)| BiosSetting { name, value: Some(value), ..BiosSetting::default() }).collect())
        })
    }

    fn firmware(&self) -> Fut<'_, Result<Vec<FirmwareComponent>, BmcError>> {
        Box::pin(async move {
            self.delays.firmware.wait().await;
            let known = self.extra(|it| it.firmware.clone());
            Ok(known
                .into_iter()
                .map(|(component, version)| FirmwareComponent {
                    component,
                    initial_version: version.clone(),
                    current_version: Some(version.clone()),
                    last_version_flashed: Some(version),
                    ..FirmwareComponent::default()
                })
                .collect())
        })
    }

    fn raid(&self) -> Fut<'_, Result<Map<String, Value>, BmcError>> {
        Box::pin(async move {
            let disks = self.extra(|it| it.raid.clone());
            Ok(Map::from_iter([("logical_disks".to_owned(), Value::Array(disks))]))
        })
    }

    /// What the node's own properties claim, since there is nothing to look at.
    fn inventory(&self) -> Fut<'_, Result<Value, BmcError>> {
        Box::pin(async move {
            self.delays.inspect.wait().await;
            let number = |key: &str| match self.properties.get(key) {
                Some(Value::Number(it)) => it.as_u64().unwrap_or(0),
                Some(Value::String(it)) => it.trim().parse().unwrap_or(0),
                _ => 0,
            };
            let text = |key: &str, fallback: &str| self.properties.get(key).and_then(Value::as_str).unwrap_or(fallback).to_owned();
            let memory = number("memory_mb");
            let disk =
                json!({"name": "/dev/sda", "model": "fake", "size": number("local_gb").saturating_mul(1 << 30), "rotational": false});
            let mut inventory = json!({
                "cpu": {"count": number("cpus"), "architecture": text("cpu_arch", "x86_64"), "model_name": "fake", "flags": []},
                "memory": {"physical_mb": memory, "total": memory.saturating_mul(1 << 20)},
                "disks": if number("local_gb") > 0 { json!([disk]) } else { json!([]) },
                "interfaces": [],
                "system_vendor": {"manufacturer": text("vendor", "fake"), "product_name": "fake", "serial_number": self.node},
            });
            if let Some(mode) = self.extra(|it| it.boot_mode) {
                inventory["boot"] = json!({"current_boot_mode": mode.as_str()});
            }
            Ok(inventory)
        })
    }

    fn sensors(&self) -> Fut<'_, Result<Vec<Sensor>, BmcError>> {
        Box::pin(async move {
            self.delays.management.wait().await;
            Ok(Vec::new())
        })
    }

    fn steps(&self, stage: Stage) -> Vec<OfferedStep> {
        let settings = [("settings", "the settings, a list of {name, value}", true)];
        let components = [("settings", "what to write, a list of {component, url}", true)];
        let which = [
            ("create_root_volume", "whether the root volume is made", false),
            ("create_nonroot_volumes", "whether the other volumes are made", false),
        ];
        match stage {
            Stage::Clean => vec![
                offered("vendor", "log_passthrough", 1, &[]),
                offered("bios", "apply_configuration", 0, &settings),
                offered("bios", "factory_reset", 0, &[]),
                offered("bios", "cache_bios_settings", 0, &[]),
                offered("firmware", "update", 0, &components),
                offered("raid", "create_configuration", 0, &which),
                offered("raid", "delete_configuration", 0, &[]),
            ],
            Stage::Deploy => vec![offered("deploy", "deploy", 100, &[])],
            Stage::Service => vec![offered("vendor", "log_passthrough", 0, &[]), offered("vendor", "trigger_servicewait", 0, &[])],
        }
    }

    fn run_step<'a>(&'a self, step: &'a Step, memory: &'a Value) -> Fut<'a, Result<StepProgress, BmcError>> {
        Box::pin(async move {
            let now = model::Timestamp::now();
            let until = match memory.get("until").and_then(Value::as_f64) {
                Some(until) => until,
                None => match self.delays.of_step(&step.interface) {
                    delay if delay.is_zero() => 0.0,
                    delay => seconds(now) + delay.as_secs_f64(),
                },
            };
            let left = until - seconds(now);
            if left > 0.0 {
                return Ok(StepProgress::Again {
                    memory: json!({ "until": until }),
                    after: std::time::Duration::try_from_secs_f64(left).unwrap_or_default(),
                    reason: format!("{}.{} takes its time", step.interface, step.step),
                    reboot: false,
                });
            }
            Ok(self.act(step).map_or_else(StepProgress::Failed, |()| StepProgress::Done))
        })
    }

    fn vendor<'a>(&'a self, method: &'a str, _http_method: &'a str, body: &'a Value) -> Fut<'a, Result<Value, BmcError>> {
        Box::pin(async move {
            let wanted = match method {
                "second_method" => "kazoo",
                "third_method_sync" => "meow",
                "fourth_method_shared_lock" => "woof",
                "log_passthrough" => return Ok(Value::Null),
                _ => return Err(BmcError::Unsupported { what: format!("vendor method {method}") }),
            };
            let bar = body.get("bar").filter(|it| !it.is_null());
            let bar = bar.ok_or_else(|| self.refused(format!("Parameter 'bar' not passed to method '{method}'.")))?;
            self.delays.vendor.wait().await;
            Ok(Value::Bool(bar == wanted))
        })
    }
}

fn seconds(at: model::Timestamp) -> f64 {
    at.seconds_since(model::Timestamp::default())
}
