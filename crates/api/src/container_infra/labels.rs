//! Labels of templates and clusters.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde_json::Value;

/// Label that chooses the addresses of a cluster's network.
pub(super) const CIDR_LABEL: &str = "fixed_subnet_cidr";
const DEFAULT_CIDR: &str = "10.0.0.0/24";

/// Labels by name.
pub(super) type Labels = BTreeMap<String, String>;

/// Reads labels: an object of strings, numbers and booleans.
///
/// # Errors
/// Something else, or too much of it.
pub(super) fn read(value: &Value) -> Result<Labels, String> {
    let map = match value {
        Value::Null => return Ok(Labels::new()),
        Value::Object(map) => map,
        _ => return Err("labels: is an object".into()),
    };
    if map.len() > 256 {
        return Err("labels: there are at most 256".into());
    }
    map.iter()
        .map(|(key, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(it) => it.to_string(),
                Value::Number(it) => it.to_string(),
                _ => return Err(format!("labels: the value of '{key}' is a string, a number or a boolean")),
            };
            if key.is_empty() || key.len() > 255 || text.len() > 4096 {
                return Err(format!("labels: '{key}' or its value is too long"));
            }
            Ok((key.clone(), text))
        })
        .collect()
}

/// The addresses that labels choose for a cluster's network with room for so many machines.
///
/// # Errors
/// Not a network, or one with too little room.
pub(super) fn cidr(labels: &Labels, machines: u32) -> Result<Ipv4Net, String> {
    let text = labels.get(CIDR_LABEL).map_or(DEFAULT_CIDR, String::as_str);
    let net: Ipv4Net = text.parse().map_err(|_| format!("label {CIDR_LABEL}: '{text}' is not an IPv4 network"))?;
    let address = net.network();
    if net.trunc() != net || address.is_loopback() || address.is_multicast() || address.is_link_local() || address.octets()[0] == 0 {
        return Err(format!("label {CIDR_LABEL}: '{text}' is not a network that machines can have"));
    }
    if !(8..=28).contains(&net.prefix_len()) {
        return Err(format!("label {CIDR_LABEL}: '{text}' is not between /8 and /28"));
    }
    // Network, broadcast, router and the control plane's own port need four.
    let room = 2_u64.pow(u32::from(32 - net.prefix_len())) - 4;
    if u64::from(machines) > room {
        return Err(format!("label {CIDR_LABEL}: '{text}' has room for {room} machines, not for {machines}"));
    }
    Ok(net)
}

/// How a cluster's labels differ from its template's.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// In both, with another value; the value is the template's.
    pub overridden: Labels,
    /// Only in the cluster.
    pub added: Labels,
    /// Only in the template.
    pub skipped: Labels,
}

pub(super) fn difference(template: &Labels, cluster: &Labels) -> Difference {
    let mut out = Difference::default();
    for (key, value) in template {
        match cluster.get(key) {
            None => drop(out.skipped.insert(key.clone(), value.clone())),
            Some(own) if own != value => drop(out.overridden.insert(key.clone(), value.clone())),
            Some(_) => {}
        }
    }
    out.added = cluster.iter().filter(|(key, _)| !template.contains_key(*key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_text() {
        let labels = read(&json!({"a": 1, "b": true, "c": "x"})).unwrap();
        assert_eq!(labels.into_values().collect::<Vec<_>>(), ["1", "true", "x"]);
        assert!(read(&json!({"a": [1]})).is_err());
        assert!(read(&json!(["a"])).is_err());
        assert!(read(&Value::Null).unwrap().is_empty());
    }

    #[test]
    fn networks_that_fit() {
        let of = |text: &str| Labels::from([(CIDR_LABEL.to_owned(), text.to_owned())]);
        assert_eq!(cidr(&Labels::new(), 3).unwrap().to_string(), "10.0.0.0/24");
        assert_eq!(cidr(&of("10.8.0.0/28"), 12).unwrap().to_string(), "10.8.0.0/28");
        for bad in ["10.8.0.0/28x", "10.0.0.1/24", "127.0.0.0/24", "224.0.0.0/24", "10.0.0.0/30", "0.0.0.0/8", "fd00::/64"] {
            assert!(cidr(&of(bad), 1).is_err(), "{bad}");
        }
        assert!(cidr(&of("10.8.0.0/28"), 13).is_err());
    }

    #[test]
    fn differences() {
        let labels = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Labels>();
        let found =
            difference(&labels(&[("same", "1"), ("other", "1"), ("gone", "1")]), &labels(&[("same", "1"), ("other", "2"), ("new", "3")]));
        assert_eq!(found.overridden, labels(&[("other", "1")]));
        assert_eq!(found.added, labels(&[("new", "3")]));
        assert_eq!(found.skipped, labels(&[("gone", "1")]));
    }
}
