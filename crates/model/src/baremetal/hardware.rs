//! Hardware types and the interfaces of which they are made (Source: Ironic documentation, "Enabling drivers and hardware types").

use serde::{Deserialize, Serialize};

/// One side of what is done to a machine, of which a node chooses an implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// BIOS settings.
    Bios,
    /// How its ramdisk is booted.
    Boot,
    /// Its serial or graphical console.
    Console,
    /// How an image gets onto it.
    Deploy,
    /// Its firmware.
    Firmware,
    /// How its hardware is looked at.
    Inspect,
    /// Boot device and mode, indicators, sensors.
    Management,
    /// How it is joined to networks.
    Network,
    /// Its power.
    Power,
    /// Its RAID sets.
    Raid,
    /// How it is rescued.
    Rescue,
    /// Its volumes.
    Storage,
    /// What only its vendor has.
    Vendor,
}

impl Interface {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Bios,
        Self::Boot,
        Self::Console,
        Self::Deploy,
        Self::Firmware,
        Self::Inspect,
        Self::Management,
        Self::Network,
        Self::Power,
        Self::Raid,
        Self::Rescue,
        Self::Storage,
        Self::Vendor,
    ];

    /// As it is spelled in `{}_interface`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Boot => "boot",
            Self::Console => "console",
            Self::Deploy => "deploy",
            Self::Firmware => "firmware",
            Self::Inspect => "inspect",
            Self::Management => "management",
            Self::Network => "network",
            Self::Power => "power",
            Self::Raid => "raid",
            Self::Rescue => "rescue",
            Self::Storage => "storage",
            Self::Vendor => "vendor",
        }
    }

    /// The minor of the version 1.N that brought the field.
    pub fn since(self) -> u16 {
        match self {
            Self::Network => 20,
            Self::Storage => 33,
            Self::Rescue => 38,
            Self::Bios => 40,
            Self::Firmware => 86,
            _ => 31,
        }
    }
}

/// A driver as a node names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardwareType {
    /// Its name.
    pub name: &'static str,
    /// For each interface the implementations one can choose; the first is the default.
    pub interfaces: &'static [(Interface, &'static [&'static str])],
}

impl HardwareType {
    /// The implementations of an interface.
    pub fn enabled(&self, interface: Interface) -> &'static [&'static str] {
        self.interfaces.iter().find(|it| it.0 == interface).map_or(&[], |it| it.1)
    }

    /// The implementation that a node has which chose none.
    pub fn default_of(&self, interface: Interface) -> Option<&'static str> {
        self.enabled(interface).first().copied()
    }
}

/// The hardware types there are.
pub const TYPES: &[HardwareType] = &[
    HardwareType {
        name: "redfish",
        interfaces: &[
            (Interface::Bios, &["redfish", "no-bios"]),
            (Interface::Boot, &["ipxe", "pxe", "http-ipxe", "http", "redfish-virtual-media"]),
            (Interface::Console, &["no-console"]),
            (Interface::Deploy, &["direct", "ramdisk", "custom-agent", "noop"]),
            (Interface::Firmware, &["redfish", "no-firmware"]),
            (Interface::Inspect, &["agent", "redfish", "no-inspect"]),
            (Interface::Management, &["redfish", "noop"]),
            (Interface::Network, &["neutron", "noop"]),
            (Interface::Power, &["redfish"]),
            (Interface::Raid, &["redfish", "agent", "no-raid"]),
            (Interface::Rescue, &["agent", "no-rescue"]),
            (Interface::Storage, &["noop"]),
            (Interface::Vendor, &["redfish", "no-vendor"]),
        ],
    },
    HardwareType {
        name: "ipmi",
        interfaces: &[
            (Interface::Bios, &["no-bios"]),
            (Interface::Boot, &["ipxe", "pxe", "http-ipxe", "http"]),
            (Interface::Console, &["no-console", "ipmitool-socat"]),
            (Interface::Deploy, &["direct", "ramdisk", "custom-agent", "noop"]),
            (Interface::Firmware, &["no-firmware"]),
            (Interface::Inspect, &["agent", "no-inspect"]),
            (Interface::Management, &["ipmitool", "noop"]),
            (Interface::Network, &["neutron", "noop"]),
            (Interface::Power, &["ipmitool"]),
            (Interface::Raid, &["no-raid", "agent"]),
            (Interface::Rescue, &["agent", "no-rescue"]),
            (Interface::Storage, &["noop"]),
            (Interface::Vendor, &["ipmitool", "no-vendor"]),
        ],
    },
    HardwareType {
        name: "manual-management",
        interfaces: &[
            (Interface::Bios, &["no-bios"]),
            (Interface::Boot, &["ipxe", "pxe", "http-ipxe", "http"]),
            (Interface::Console, &["no-console"]),
            (Interface::Deploy, &["direct", "ramdisk", "custom-agent", "noop"]),
            (Interface::Firmware, &["no-firmware"]),
            (Interface::Inspect, &["agent", "no-inspect"]),
            (Interface::Management, &["noop"]),
            (Interface::Network, &["neutron", "noop"]),
            (Interface::Power, &["fake"]),
            (Interface::Raid, &["no-raid", "agent"]),
            (Interface::Rescue, &["agent", "no-rescue"]),
            (Interface::Storage, &["noop"]),
            (Interface::Vendor, &["no-vendor"]),
        ],
    },
    HardwareType {
        name: "fake-hardware",
        interfaces: &[
            (Interface::Bios, &["fake", "no-bios"]),
            (Interface::Boot, &["fake", "ipxe", "pxe"]),
            (Interface::Console, &["fake", "no-console"]),
            (Interface::Deploy, &["fake", "direct", "ramdisk", "custom-agent", "noop"]),
            (Interface::Firmware, &["fake", "no-firmware"]),
            (Interface::Inspect, &["fake", "agent", "no-inspect"]),
            (Interface::Management, &["fake", "noop"]),
            (Interface::Network, &["noop", "neutron"]),
            (Interface::Power, &["fake"]),
            (Interface::Raid, &["fake", "agent", "no-raid"]),
            (Interface::Rescue, &["fake", "agent", "no-rescue"]),
            (Interface::Storage, &["noop", "fake"]),
            (Interface::Vendor, &["fake", "no-vendor"]),
        ],
    },
];

/// The hardware type of that name.
pub fn hardware_type(name: &str) -> Option<&'static HardwareType> {
    TYPES.iter().find(|it| it.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_every_interface_once() {
        for it in TYPES {
            for interface in Interface::ALL {
                assert_eq!(it.interfaces.iter().filter(|(kind, _)| kind == interface).count(), 1, "{} {interface:?}", it.name);
                assert!(it.default_of(*interface).is_some());
            }
        }
    }
}
