//! The part of OpenConfig that layer 2 needs: which nodes there are, in which module, of which type.
//!
//! Source: OpenConfig, `openconfig-interfaces`, `-if-ethernet`, `-if-aggregate`, `-vlan`, `-network-instance`, `-lacp` (public models).

/// A module, for its namespace and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    Interfaces,
    Ethernet,
    Aggregate,
    Vlan,
    NetworkInstance,
    Lacp,
}

impl Module {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [Self::Interfaces, Self::Ethernet, Self::Aggregate, Self::Vlan, Self::NetworkInstance, Self::Lacp];

    /// Its name, as JSON qualifies with it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interfaces => "openconfig-interfaces",
            Self::Ethernet => "openconfig-if-ethernet",
            Self::Aggregate => "openconfig-if-aggregate",
            Self::Vlan => "openconfig-vlan",
            Self::NetworkInstance => "openconfig-network-instance",
            Self::Lacp => "openconfig-lacp",
        }
    }

    /// Its namespace, as XML qualifies with it.
    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::Interfaces => "http://openconfig.net/yang/interfaces",
            Self::Ethernet => "http://openconfig.net/yang/interfaces/ethernet",
            Self::Aggregate => "http://openconfig.net/yang/interfaces/aggregate",
            Self::Vlan => "http://openconfig.net/yang/vlan",
            Self::NetworkInstance => "http://openconfig.net/yang/network-instance",
            Self::Lacp => "http://openconfig.net/yang/lacp",
        }
    }

    /// Its revision, which is its semantic version for gNMI.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Interfaces => "2021-04-06",
            Self::Ethernet => "2021-07-07",
            Self::Aggregate => "2020-05-01",
            Self::Vlan => "2019-04-16",
            Self::NetworkInstance => "2021-07-22",
            Self::Lacp => "2018-11-21",
        }
    }
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    Text,
    Number(u64, u64),
    Boolean,
    OneOf(&'static [&'static str]),
    /// A name out of another module, the module's name and these names.
    Identity(&'static str, &'static [&'static str]),
    /// A VLAN or a range `10..20`.
    Vlans,
}

/// What a node is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node {
    Container(&'static [Def]),
    /// Its key and its nodes; the key is a leaf among them.
    List(&'static str, &'static [Def]),
    Leaf(Type),
    LeafList(Type),
}

/// A node with its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Def {
    pub(crate) name: &'static str,
    pub(crate) module: Module,
    pub(crate) node: Node,
}

const fn def(name: &'static str, module: Module, node: Node) -> Def {
    Def { name, module, node }
}

use Module::{Aggregate, Ethernet, Interfaces, Lacp, NetworkInstance, Vlan};
use Node::{Container, Leaf, LeafList, List};

const VLAN: Type = Type::Number(1, 4094);
const LAG_TYPE: Type = Type::OneOf(&["LACP", "STATIC"]);
const LACP_MODE: Type = Type::OneOf(&["ACTIVE", "PASSIVE"]);

const SWITCHED: &[Def] = &[
    def("interface-mode", Vlan, Leaf(Type::OneOf(&["ACCESS", "TRUNK"]))),
    def("native-vlan", Vlan, Leaf(VLAN)),
    def("access-vlan", Vlan, Leaf(VLAN)),
    def("trunk-vlans", Vlan, LeafList(Type::Vlans)),
];

const SWITCHED_VLAN: &[Def] = &[def("config", Vlan, Container(SWITCHED)), def("state", Vlan, Container(SWITCHED))];

const INTERFACE_CONFIG: &[Def] = &[
    def("name", Interfaces, Leaf(Type::Text)),
    def("type", Interfaces, Leaf(Type::Identity("iana-if-type", &["ethernetCsmacd", "ieee8023adLag", "l2vlan", "softwareLoopback"]))),
    def("mtu", Interfaces, Leaf(Type::Number(64, 65_535))),
    def("description", Interfaces, Leaf(Type::Text)),
    def("enabled", Interfaces, Leaf(Type::Boolean)),
];

const INTERFACE_STATE: &[Def] = &[
    def("name", Interfaces, Leaf(Type::Text)),
    def("type", Interfaces, Leaf(Type::Identity("iana-if-type", &[]))),
    def("mtu", Interfaces, Leaf(Type::Number(64, 65_535))),
    def("description", Interfaces, Leaf(Type::Text)),
    def("enabled", Interfaces, Leaf(Type::Boolean)),
    def("admin-status", Interfaces, Leaf(Type::Text)),
    def("oper-status", Interfaces, Leaf(Type::Text)),
    def("ifindex", Interfaces, Leaf(Type::Number(0, 4_294_967_295))),
];

const ETHERNET_CONFIG: &[Def] = &[
    def("auto-negotiate", Ethernet, Leaf(Type::Boolean)),
    def("duplex-mode", Ethernet, Leaf(Type::OneOf(&["FULL", "HALF"]))),
    def("port-speed", Ethernet, Leaf(Type::Text)),
    def("aggregate-id", Aggregate, Leaf(Type::Text)),
];

const AGGREGATION_CONFIG: &[Def] = &[def("lag-type", Aggregate, Leaf(LAG_TYPE)), def("min-links", Aggregate, Leaf(Type::Number(1, 64)))];

const INTERFACE: &[Def] = &[
    def("name", Interfaces, Leaf(Type::Text)),
    def("config", Interfaces, Container(INTERFACE_CONFIG)),
    def("state", Interfaces, Container(INTERFACE_STATE)),
    def(
        "ethernet",
        Ethernet,
        Container(&[
            def("config", Ethernet, Container(ETHERNET_CONFIG)),
            def("state", Ethernet, Container(ETHERNET_CONFIG)),
            def("switched-vlan", Vlan, Container(SWITCHED_VLAN)),
        ]),
    ),
    def(
        "aggregation",
        Aggregate,
        Container(&[
            def("config", Aggregate, Container(AGGREGATION_CONFIG)),
            def("state", Aggregate, Container(AGGREGATION_CONFIG)),
            def("switched-vlan", Vlan, Container(SWITCHED_VLAN)),
        ]),
    ),
];

const VLAN_CONFIG: &[Def] = &[
    def("vlan-id", NetworkInstance, Leaf(VLAN)),
    def("name", NetworkInstance, Leaf(Type::Text)),
    def("status", NetworkInstance, Leaf(Type::OneOf(&["ACTIVE", "SUSPENDED"]))),
];

const INSTANCE_CONFIG: &[Def] = &[
    def("name", NetworkInstance, Leaf(Type::Text)),
    def("type", NetworkInstance, Leaf(Type::Identity("openconfig-network-instance-types", &["DEFAULT_INSTANCE", "L2VSI", "L3VRF"]))),
    def("enabled", NetworkInstance, Leaf(Type::Boolean)),
    def("description", NetworkInstance, Leaf(Type::Text)),
];

const INSTANCE: &[Def] = &[
    def("name", NetworkInstance, Leaf(Type::Text)),
    def("config", NetworkInstance, Container(INSTANCE_CONFIG)),
    def("state", NetworkInstance, Container(INSTANCE_CONFIG)),
    def(
        "vlans",
        NetworkInstance,
        Container(&[def(
            "vlan",
            NetworkInstance,
            List(
                "vlan-id",
                &[
                    def("vlan-id", NetworkInstance, Leaf(VLAN)),
                    def("config", NetworkInstance, Container(VLAN_CONFIG)),
                    def("state", NetworkInstance, Container(VLAN_CONFIG)),
                ],
            ),
        )]),
    ),
];

const LACP_CONFIG: &[Def] = &[
    def("name", Lacp, Leaf(Type::Text)),
    def("interval", Lacp, Leaf(Type::OneOf(&["FAST", "SLOW"]))),
    def("lacp-mode", Lacp, Leaf(LACP_MODE)),
];

/// The nodes at the top.
pub(crate) const ROOT: &[Def] = &[
    def("interfaces", Interfaces, Container(&[def("interface", Interfaces, List("name", INTERFACE))])),
    def("network-instances", NetworkInstance, Container(&[def("network-instance", NetworkInstance, List("name", INSTANCE))])),
    def(
        "lacp",
        Lacp,
        Container(&[def(
            "interfaces",
            Lacp,
            Container(&[def(
                "interface",
                Lacp,
                List(
                    "name",
                    &[
                        def("name", Lacp, Leaf(Type::Text)),
                        def("config", Lacp, Container(LACP_CONFIG)),
                        def("state", Lacp, Container(LACP_CONFIG)),
                    ],
                ),
            )]),
        )]),
    ),
];

/// The node of a name.
pub(crate) fn find(defs: &'static [Def], name: &str) -> Option<&'static Def> {
    defs.iter().find(|it| it.name == name)
}

impl Type {
    /// Takes a value as text (XML, keys).
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(self, text: &str) -> Result<serde_json::Value, String> {
        use serde_json::json;
        let text = text.trim();
        let wrong = || format!("\"{text}\" is not a valid value");
        match self {
            Self::Text => Ok(json!(text)),
            Self::Number(low, high) => match text.parse::<u64>() {
                Ok(it) if (low..=high).contains(&it) => Ok(json!(it)),
                Ok(_) => Err(format!("\"{text}\" is out of range {low}..{high}")),
                Err(_) => Err(wrong()),
            },
            Self::Boolean => match text {
                "true" => Ok(json!(true)),
                "false" => Ok(json!(false)),
                _ => Err(wrong()),
            },
            Self::OneOf(all) => {
                let plain = text.rsplit_once(':').map_or(text, |it| it.1);
                if all.contains(&plain) { Ok(json!(plain)) } else { Err(wrong()) }
            }
            Self::Identity(module, all) => {
                let plain = text.rsplit_once(':').map_or(text, |it| it.1);
                if all.is_empty() || all.contains(&plain) { Ok(json!(format!("{module}:{plain}"))) } else { Err(wrong()) }
            }
            Self::Vlans => match text.split_once("..") {
                None => Self::Number(1, 4094).parse(text),
                Some((low, high)) => {
                    let number = |it: &str| it.parse::<u16>().ok().filter(|it| (1..=4094).contains(it));
                    let range = number(low).zip(number(high)).filter(|(low, high)| low < high);
                    if range.is_some() { Ok(json!(text)) } else { Err(wrong()) }
                }
            },
        }
    }

    /// Takes a value as JSON has it.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn take(self, value: &serde_json::Value) -> Result<serde_json::Value, String> {
        use serde_json::Value;
        match (self, value) {
            (Self::Text | Self::OneOf(_) | Self::Identity(..) | Self::Vlans, Value::String(text)) => self.parse(text),
            (Self::Number(..) | Self::Vlans, Value::Number(number)) => self.parse(&number.to_string()),
            (Self::Boolean, Value::Bool(_)) => Ok(value.clone()),
            _ => Err(format!("{value} is of the wrong type")),
        }
    }
}
