//! Rules of security groups: what is wrong with one, and when two say the same. Source of what is refused and of what counts as the same:
//! `neutron/db/securitygroups_db.py`.

use ipnet::IpNet;
use model::net::security::{Ethertype, RuleMatch};

use crate::prefixes::normalise;

/// Protocols that have names: the name and the number (IANA's registry of protocol numbers).
pub const PROTOCOLS: [(&str, u8); 25] = [
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", ICMP),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", ICMP_V6),
    ("icmpv6", ICMP_V6),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
/// Protocols that have ports.
const WITH_PORTS: [u8; 5] = [33, 132, 6, 17, 136];
/// Protocols of IPv6 alone.
const V6_ONLY: [u8; 6] = [41, 44, ICMP_V6, 59, 60, 43];

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ports without a protocol.
    PortsWithoutProtocol,
    /// Port 0.
    PortZero,
    /// The least port is above the greatest, or one of them is missing.
    PortRange,
    /// Ports of a protocol of that number, which has none.
    PortsOf(u8),
    /// An ICMP type above 255.
    IcmpType(u16),
    /// An ICMP code above 255.
    IcmpCode(u16),
    /// An ICMP code without a type.
    IcmpCodeAlone(u16),
    /// A prefix of the other kind of packets.
    PrefixOf(Ethertype, IpNet),
    /// A protocol of IPv6 in IPv4 packets.
    ProtocolOf(Ethertype, String),
    /// More than one of prefix, group and address group.
    ManyRemotes,
}

/// The number of a protocol that is named or numbered.
pub fn protocol_number(protocol: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(name, _)| *name == protocol).map(|(_, number)| *number).or_else(|| protocol.parse().ok())
}

/// A prefix as clients write it (see [`normalise`]), with the bits behind it as they are.
pub fn prefix(text: &str) -> Option<IpNet> {
    let length = normalise(text)?.prefix_len();
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    IpNet::new(address.parse().ok()?, length).ok()
}

/// Puts a rule the way it is stored: ICMP of IPv6 by its own name or number, all ports as none.
pub fn make_canonical(rule: &mut RuleMatch) {
    if rule.ethertype == Ethertype::IPv6 {
        match rule.protocol.as_deref() {
            Some("icmp" | "icmpv6") => rule.protocol = Some("ipv6-icmp".to_owned()),
            Some("1") => rule.protocol = Some(ICMP_V6.to_string()),
            _ => {}
        }
    }
    if (rule.port_range_min, rule.port_range_max) == (Some(1), Some(u16::MAX)) {
        (rule.port_range_min, rule.port_range_max) = (None, None);
    }
}

/// Says what is wrong with a rule that is canonical.
///
/// # Errors
/// The first fault, in the order in which Neutron looks for them.
pub fn check(rule: &RuleMatch) -> Result<(), Fault> {
    check_ports(rule)?;
    if let Some(prefix) = rule.remote_ip_prefix {
        let fits = matches!((rule.ethertype, prefix), (Ethertype::IPv4, IpNet::V4(_)) | (Ethertype::IPv6, IpNet::V6(_)));
        if !fits {
            return Err(Fault::PrefixOf(rule.ethertype, prefix));
        }
    }
    if let (Ethertype::IPv4, Some(protocol)) = (rule.ethertype, &rule.protocol)
        && protocol_number(protocol).is_some_and(|number| V6_ONLY.contains(&number))
    {
        return Err(Fault::ProtocolOf(rule.ethertype, protocol.clone()));
    }
    let remotes = [rule.remote_ip_prefix.is_some(), rule.remote_group_id.is_some(), rule.remote_address_group_id.is_some()];
    if remotes.into_iter().filter(|it| *it).count() > 1 { Err(Fault::ManyRemotes) } else { Ok(()) }
}

fn check_ports(rule: &RuleMatch) -> Result<(), Fault> {
    let (least, greatest) = (rule.port_range_min, rule.port_range_max);
    if least.is_none() && greatest.is_none() {
        return Ok(());
    }
    let Some(protocol) = &rule.protocol else { return Err(Fault::PortsWithoutProtocol) };
    // What is stored names or numbers a protocol; 255 is reserved and has no ports.
    let number = protocol_number(protocol).unwrap_or(u8::MAX);
    match number {
        it if WITH_PORTS.contains(&it) => match (least, greatest) {
            (Some(0), _) | (_, Some(0)) => Err(Fault::PortZero),
            (Some(least), Some(greatest)) if least <= greatest => Ok(()),
            _ => Err(Fault::PortRange),
        },
        ICMP | ICMP_V6 => match (least, greatest) {
            (Some(kind), _) if kind > 255 => Err(Fault::IcmpType(kind)),
            (_, Some(code)) if code > 255 => Err(Fault::IcmpCode(code)),
            (None, Some(code)) => Err(Fault::IcmpCodeAlone(code)),
            _ => Ok(()),
        },
        other => Err(Fault::PortsOf(other)),
    }
}

/// The same text for two rules exactly if they let the same through: protocols by number, a prefix of everything as none. `hopopt` and `ip`,
/// both of number 0, are two, and so are prefixes that differ only behind their length, as in Neutron.
pub fn normal_form(rule: &RuleMatch) -> String {
    let mut rule = rule.clone();
    make_canonical(&mut rule);
    let mut out = format!("{}_{}", rule.direction.as_str(), rule.ethertype.as_str());
    let mut put = |part: Option<String>| {
        out.push('_');
        out.push_str(part.as_deref().unwrap_or("+"));
    };
    put(rule.protocol.map(|it| match it.as_str() {
        "hopopt" => it,
        _ => protocol_number(&it).map_or(it, |number| number.to_string()),
    }));
    put(rule.port_range_min.map(|it| it.to_string()));
    put(rule.port_range_max.map(|it| it.to_string()));
    put(rule.remote_ip_prefix.filter(|it| it.prefix_len() > 0).map(|it| it.to_string()));
    put(rule.remote_group_id.map(|it| it.to_string()));
    put(rule.remote_address_group_id.map(|it| it.to_string()));
    out
}

#[cfg(test)]
mod tests {
    use model::Id;
    use model::net::security::Direction;
    use proptest::prelude::*;

    use super::*;

    fn tcp(least: Option<u16>, greatest: Option<u16>) -> RuleMatch {
        let all = RuleMatch::all(Direction::Ingress, Ethertype::IPv4);
        RuleMatch { protocol: Some("tcp".into()), port_range_min: least, port_range_max: greatest, ..all }
    }

    fn of(protocol: &str, ethertype: Ethertype, least: Option<u16>, greatest: Option<u16>) -> RuleMatch {
        RuleMatch { protocol: Some(protocol.into()), ethertype, ..tcp(least, greatest) }
    }

    #[test]
    fn faults_are_found() {
        use Ethertype::{IPv4, IPv6};
        let four: IpNet = "10.0.0.0/8".parse().unwrap();
        let none = RuleMatch { protocol: None, ..tcp(Some(1), Some(2)) };
        let foreign = RuleMatch { remote_ip_prefix: Some(four), ..of("tcp", IPv6, None, None) };
        let many = RuleMatch { remote_ip_prefix: Some(four), remote_group_id: Some(Id::random()), ..tcp(None, None) };
        let cases = [
            (tcp(None, None), Ok(())),
            (tcp(Some(1), Some(65535)), Ok(())),
            (tcp(Some(2), Some(1)), Err(Fault::PortRange)),
            (tcp(Some(2), None), Err(Fault::PortRange)),
            (tcp(Some(0), Some(1)), Err(Fault::PortZero)),
            (none, Err(Fault::PortsWithoutProtocol)),
            (of("ah", IPv4, Some(1), Some(2)), Err(Fault::PortsOf(51))),
            (of("51", IPv4, Some(1), Some(2)), Err(Fault::PortsOf(51))),
            (of("136", IPv4, Some(1), Some(2)), Ok(())),
            (of("icmp", IPv4, Some(256), None), Err(Fault::IcmpType(256))),
            (of("icmp", IPv4, Some(0), Some(256)), Err(Fault::IcmpCode(256))),
            (of("icmp", IPv4, None, Some(3)), Err(Fault::IcmpCodeAlone(3))),
            (of("icmp", IPv4, Some(0), Some(0)), Ok(())),
            (of("ipv6-icmp", IPv6, Some(128), None), Ok(())),
            (of("58", IPv4, None, None), Err(Fault::ProtocolOf(IPv4, "58".into()))),
            (of("ipv6-opts", IPv4, None, None), Err(Fault::ProtocolOf(IPv4, "ipv6-opts".into()))),
            (foreign, Err(Fault::PrefixOf(IPv6, four))),
            (many, Err(Fault::ManyRemotes)),
        ];
        for (rule, expected) in cases {
            assert_eq!(check(&rule), expected, "{rule:?}");
        }
    }

    #[test]
    fn prefixes_keep_their_bits() {
        let cases = [
            ("10.0.0.5/24", Some("10.0.0.5/24")),
            ("10.0.0.7", Some("10.0.0.7/32")),
            ("10.0.0.0/255.255.0.0", Some("10.0.0.0/16")),
            ("2001:DB8::1/64", Some("2001:db8::1/64")),
            ("10.0.0.0/33", None),
            ("10.0.0.300", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(prefix(text).map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
    }

    fn spelled() -> impl Strategy<Value = RuleMatch> {
        let protocols = proptest::sample::select(vec![
            None,
            Some("tcp"),
            Some("6"),
            Some("udp"),
            Some("17"),
            Some("icmp"),
            Some("1"),
            Some("icmpv6"),
            Some("ipv6-icmp"),
            Some("58"),
            Some("ip"),
            Some("0"),
            Some("200"),
        ]);
        let ports = proptest::sample::select(vec![None, Some((1, 65535)), Some((1, 1)), Some((1, 2)), Some((2, 2))]);
        let prefixes = proptest::sample::select(vec![None, Some("0.0.0.0/0"), Some("::/0"), Some("10.0.0.0/8"), Some("10.0.0.0/9")]);
        let (direction, ethertype) = (any::<bool>(), any::<bool>());
        (direction, ethertype, protocols, ports, prefixes).prop_map(|(ingress, four, protocol, ports, prefix)| RuleMatch {
            direction: if ingress { Direction::Ingress } else { Direction::Egress },
            ethertype: if four { Ethertype::IPv4 } else { Ethertype::IPv6 },
            protocol: protocol.map(str::to_owned),
            port_range_min: ports.map(|it| it.0),
            port_range_max: ports.map(|it| it.1),
            remote_ip_prefix: prefix.map(|it| it.parse().unwrap()),
            remote_group_id: None,
            remote_address_group_id: None,
        })
    }

    /// What a rule lets through of a few packets, by its definition alone: (protocol, port, first byte of the address).
    fn lets_through(rule: &RuleMatch) -> Vec<bool> {
        let number = |it: &str| match (it, rule.ethertype) {
            ("icmp" | "1", Ethertype::IPv6) => 58,
            _ => protocol_number(it).unwrap(),
        };
        let mut out = Vec::new();
        for protocol in [0_u8, 1, 6, 17, 58, 200] {
            for port in [1_u16, 2, 3] {
                for address in ["10.0.0.1", "10.200.0.1", "11.0.0.1"] {
                    let address: std::net::IpAddr = address.parse().unwrap();
                    let ports = rule.port_range_min.is_none_or(|it| it <= port) && rule.port_range_max.is_none_or(|it| port <= it);
                    let prefix = rule.remote_ip_prefix.is_none_or(|it| it.prefix_len() == 0 || it.contains(&address));
                    out.push(rule.protocol.as_deref().is_none_or(|it| number(it) == protocol) && ports && prefix);
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn the_same_is_the_same_and_nothing_else(a in spelled(), b in spelled()) {
            let same = a.direction == b.direction && a.ethertype == b.ethertype && lets_through(&a) == lets_through(&b);
            prop_assert_eq!(normal_form(&a) == normal_form(&b), same, "{:?} {:?}", a, b);
        }

        #[test]
        fn the_normal_form_is_that_of_what_is_stored(mut rule in spelled()) {
            let before = normal_form(&rule);
            make_canonical(&mut rule);
            prop_assert_eq!(&before, &normal_form(&rule));
            make_canonical(&mut rule);
            prop_assert_eq!(before, normal_form(&rule));
        }
    }
}
