//! Parts of ports as bodies say them: hardware addresses, address pairs, DHCP options, names in DNS, hints.

use std::collections::HashSet;
use std::net::IpAddr;

use http::StatusCode;
use model::net::{AddressPair, DhcpOption, FixedIp};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The domain of ports' names in DNS.
pub(super) const DNS_DOMAIN: &str = "cofferdam.internal.";
/// Most address pairs of one port, as Neutron's default has it.
const MOST_PAIRS: usize = 10;
/// Longest name in DNS, in characters.
const LONGEST_NAME: usize = 255;
/// DHCP options whose value may be empty.
const BLANK: [&str; 2] = ["router", "classless-static-route"];

/// A hardware address in the usual form: lower case, with colons.
pub(super) fn mac(v: &Value) -> Result<String, String> {
    let wrong = || match v {
        Value::String(text) => format!("'{text}' is not a valid MAC address"),
        other => format!("'{other}' is not a valid MAC address"),
    };
    let text = v.as_str().ok_or_else(wrong)?.to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = text.split(':').collect();
    let bytes: Vec<u8> = parts.iter().filter(|it| it.len() == 2).filter_map(|it| u8::from_str_radix(it, 16).ok()).collect();
    let is_plain = parts.iter().all(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
    if parts.len() == 6 && bytes.len() == 6 && is_plain && bytes.iter().any(|it| *it != 0) { Ok(text) } else { Err(wrong()) }
}

/// A hardware address that a port may have. Stricter than Neutron, which lets a port have a group's.
pub(super) fn card_mac(v: &Value) -> Result<String, String> {
    mac(v).and_then(|it| if is_group(&it) { Err(format!("'{it}' is not a valid MAC address")) } else { Ok(it) })
}

/// Whether it is the address of a group, such as of a multicast.
fn is_group(mac: &str) -> bool {
    mac.get(..2).and_then(|it| u8::from_str_radix(it, 16).ok()).is_some_and(|it| it & 1 == 1)
}

/// An id that is a UUID, with or without dashes.
///
/// # Errors
/// It is none.
pub(super) fn uuid<K>(value: &Value) -> Result<model::Id<K>, String> {
    let is_uuid = |text: &str| {
        let plain = text.replace('-', "");
        plain.len() == 32 && plain.bytes().all(|it| it.is_ascii_hexdigit()) && [32, 36].contains(&text.len())
    };
    let id = value.as_str().filter(|text| is_uuid(text)).and_then(model::Id::parse);
    id.ok_or_else(|| format!("'{}' is not a valid UUID", spelled(value)))
}

/// A new hardware address from Neutron's range.
pub(super) fn random_mac() -> Result<String, Failure> {
    let mut tail = [0_u8; 3];
    getrandom::fill(&mut tail).map_err(|error| Failure::Internal(error.to_string()))?;
    let [a, b, c] = tail;
    Ok(format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}"))
}

fn bad(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

fn plain(text: impl Into<String>) -> Failure {
    bad("HTTPBadRequest", text)
}

pub(super) fn spelled(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    }
}

/// `allowed_address_pairs` of a body, for a port of that hardware address.
///
/// # Errors
/// What is wrong with them. Source of the names: `neutron_lib/api/validators/allowedaddresspairs.py`.
pub(super) fn pairs(value: &Value, own_mac: &str) -> Result<Vec<AddressPair>, Failure> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let list = value.as_array().ok_or_else(|| plain("Allowed address pairs must be a list."))?;
    if list.len() > MOST_PAIRS {
        let text = format!("The number of allowed address pair exceeds the maximum {MOST_PAIRS}.");
        return Err(bad("AllowedAddressPairExhausted", text));
    }
    let mut seen = HashSet::new();
    let mut pairs = Vec::with_capacity(list.len());
    for it in list {
        let text = || format!("Invalid input for allowed_address_pairs. Reason: '{}' is not a dictionary.", spelled(it));
        let it = it.as_object().ok_or_else(|| plain(text()))?;
        let given = it.get("mac_address").map(mac).transpose().map_err(plain)?;
        let Some(address) = it.get("ip_address") else {
            return Err(bad("AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address"));
        };
        let address = address.as_str().ok_or_else(|| plain(format!("'{}' is not a valid IP address", spelled(address))))?.to_owned();
        let mac_address = given.clone().unwrap_or_else(|| own_mac.to_owned());
        if !seen.insert((mac_address.clone(), address.clone())) {
            let mac = given.as_deref().unwrap_or("None");
            let text = format!("Request contains duplicate address pair: mac_address {mac} ip_address {address}.");
            return Err(bad("DuplicateAddressPairInRequest", text));
        }
        let unknown: Vec<&str> = it.keys().map(String::as_str).filter(|key| *key != "mac_address" && *key != "ip_address").collect();
        if !unknown.is_empty() {
            return Err(plain(format!("Unrecognized attribute(s) '{}'", unknown.join(", "))));
        }
        let first: IpAddr = if address.contains('/') {
            let net: ipnet::IpNet = address.parse().map_err(|_| plain(format!("'{address}' is not a valid IP subnet")))?;
            net.addr()
        } else {
            address.parse().map_err(|_| plain(format!("'{address}' is not a valid IP address")))?
        };
        if first.is_multicast() {
            return Err(plain(format!("IP {address} is a multicast address, which is not supported.")));
        }
        if given.as_deref().is_some_and(is_group) {
            return Err(plain(format!("MAC address {mac_address} is a multicast address, which is not supported.")));
        }
        pairs.push(AddressPair { ip_address: address, mac_address });
    }
    Ok(pairs)
}

/// An entry of `extra_dhcp_opts`.
struct Given {
    name: String,
    value: Option<String>,
    version: u8,
}

fn option(value: &Value) -> Option<Given> {
    let it = value.as_object()?;
    if it.keys().any(|key| !["opt_name", "opt_value", "ip_version"].contains(&key.as_str())) {
        return None;
    }
    let is_line = |text: &str, most: usize| text.chars().count() <= most && !text.contains(['\n', '\r', '\0']);
    let name = it.get("opt_name")?.as_str().filter(|name| is_line(name, 64) && !name.trim().is_empty())?;
    let value = match it.get("opt_value")? {
        Value::Null => None,
        Value::String(text) if is_line(text, 255) && (!text.trim().is_empty() || BLANK.contains(&name)) => Some(text.clone()),
        _ => return None,
    };
    let version = match it.get("ip_version") {
        None => 4,
        Some(given) => match given.as_u64().or_else(|| given.as_str().and_then(|it| it.parse().ok())) {
            Some(4) => 4,
            Some(6) => 6,
            _ => return None,
        },
    };
    Some(Given { name: name.to_owned(), value, version })
}

/// The options of a port that has these and is to have those of a body beside them: by name and version of IP; null takes one away.
///
/// # Errors
/// The body's make no sense.
pub(super) fn dhcp_options(has: &[DhcpOption], value: &Value) -> Result<Vec<DhcpOption>, Failure> {
    let wrong = |why: String| bad("InvalidInput", format!("Invalid input for operation: {why}."));
    let mut options = has.to_vec();
    let list = match value {
        Value::Null => return Ok(options),
        Value::Array(list) => list,
        other => return Err(wrong(format!("'{}' is not a list", spelled(other)))),
    };
    for it in list {
        let given = option(it).ok_or_else(|| wrong(format!("No valid key specs matched for: {it}")))?;
        let place = options.iter().position(|it| it.opt_name == given.name && it.ip_version == given.version);
        match (place, given.value) {
            (Some(at), None) => drop(options.remove(at)),
            (None, None) => {}
            (Some(at), Some(value)) => {
                if let Some(option) = options.get_mut(at) {
                    option.opt_value = value;
                }
            }
            (None, Some(opt_value)) => options.push(DhcpOption { opt_name: given.name, opt_value, ip_version: given.version }),
        }
    }
    Ok(options)
}

/// A name of labels (RFC 1123), possibly ending with a dot; in lower case.
fn labels(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let wrong = |why: String| format!("'{name}' not a valid PQDN or FQDN. Reason: {why}");
    let trimmed = name.strip_suffix('.').unwrap_or(&name);
    if trimmed.chars().count() > LONGEST_NAME {
        return Err(wrong(format!("'{trimmed}' exceeds the {LONGEST_NAME} character FQDN limit")));
    }
    let labels: Vec<&str> = trimmed.split('.').collect();
    for label in &labels {
        if label.is_empty() {
            return Err(wrong("Encountered an empty component".into()));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(wrong(format!("Name '{label}' must not start or end with a hyphen")));
        }
        if label.len() > 63 || !label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
            return Err(wrong(format!("Name '{label}' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen")));
        }
    }
    if labels.len() > 1 && labels.last().is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit())) {
        return Err(wrong(format!("TLD '{}' must not be all numeric", labels.last().unwrap_or(&""))));
    }
    Ok(name)
}

/// A port's `dns_name`: a name below [`DNS_DOMAIN`], with or without it.
///
/// # Errors
/// It is none.
pub(super) fn dns_name(value: &Value) -> Result<String, String> {
    let text = crate::resource::value::text(value, LONGEST_NAME)?;
    if text.is_empty() {
        return Ok(text);
    }
    let name = labels(&text)?;
    let higher = format!(".{DNS_DOMAIN}");
    if name.ends_with('.') && !(name.len() > higher.len() && name.ends_with(&higher)) {
        return Err(format!(
            "The dns_name passed is a FQDN. Its higher level labels must be equal to the dns_domain option in neutron.conf, that has been \
             set to '{DNS_DOMAIN}'. It must also include one or more valid DNS labels to the left of '{DNS_DOMAIN}'"
        ));
    }
    if !name.ends_with('.') && name.len() + higher.len() > LONGEST_NAME {
        return Err(format!("'{name}' below '{DNS_DOMAIN}' exceeds the {LONGEST_NAME} character FQDN limit"));
    }
    Ok(name)
}

/// A `dns_domain`: it ends with a dot.
///
/// # Errors
/// It is none.
pub(super) fn dns_domain(value: &Value) -> Result<String, String> {
    let text = crate::resource::value::text(value, LONGEST_NAME)?;
    if text.is_empty() {
        return Ok(text);
    }
    if !text.ends_with('.') {
        return Err(format!("'{text}' is not a FQDN"));
    }
    labels(&text)
}

/// By what names a port's addresses are known: `dns_assignment`.
pub(super) fn dns_assignment(dns_name: &str, addresses: &[FixedIp]) -> Value {
    let one = |it: &FixedIp| {
        let address = it.ip_address.to_string();
        let (hostname, fqdn) = if dns_name.is_empty() {
            let hostname = format!("host-{}", address.replace(['.', ':'], "-"));
            let fqdn = format!("{hostname}.{DNS_DOMAIN}");
            (hostname, fqdn)
        } else if dns_name.ends_with('.') {
            (dns_name.to_owned(), dns_name.to_owned())
        } else {
            (dns_name.to_owned(), format!("{dns_name}.{DNS_DOMAIN}"))
        };
        json!({"ip_address": address, "hostname": hostname, "fqdn": fqdn})
    };
    addresses.iter().map(one).collect()
}

/// `hints`: `{"openvswitch": {"other_config": {"tx-steering": "thread" or "hash"}}}`, or none.
///
/// # Errors
/// They are others.
pub(super) fn hints(value: &Value) -> Result<Option<Value>, String> {
    let mut at = match value {
        Value::Null => return Ok(None),
        other => other,
    };
    for key in ["openvswitch", "other_config", "tx-steering"] {
        let map = at.as_object().ok_or_else(|| format!("'{}' is not a dictionary", spelled(at)))?;
        let unknown: Vec<&str> = map.keys().map(String::as_str).filter(|it| *it != key).collect();
        if !unknown.is_empty() {
            return Err(format!("Unexpected keys supplied: {}", unknown.join(", ")));
        }
        match map.get(key) {
            Some(below) => at = below,
            None => return Ok(Some(value.clone())),
        }
    }
    match at.as_str() {
        Some("thread" | "hash") => Ok(Some(value.clone())),
        _ => Err(format!("{} is not in valid_values", spelled(at))),
    }
}

/// One of these texts.
///
/// # Errors
/// It is none of them.
pub(super) fn one_of(value: &Value, allowed: &[&str]) -> Result<String, String> {
    match value.as_str().filter(|it| allowed.contains(it)) {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("{} is not in valid_values", spelled(value))),
    }
}

/// The values that a filter by `fixed_ips` has for a key: `key=value`.
pub(super) fn values_of<'a>(wanted: &'a [String], key: &'a str) -> impl Iterator<Item = &'a str> {
    wanted.iter().filter_map(move |it| it.split_once('=').filter(|(name, _)| *name == key).map(|(_, value)| value))
}

/// Whether one of a port's addresses has one of the values of each key: `subnet_id=…`, `ip_address=…`; whether one of them has one of the
/// texts `ip_address_substr=…` in it.
pub(super) fn fixed_ips_fit(has: &Value, wanted: &[String]) -> bool {
    let ips = || has.as_array().into_iter().flatten();
    let text = |ip: &Value, key: &str| ip.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_one = |ip: &Value, key: &'static str| {
        let own = text(ip, key);
        let mut values = values_of(wanted, key).peekable();
        values.peek().is_none() || values.any(|value| own.as_deref() == Some(value))
    };
    let named = ["ip_address", "subnet_id"].iter().any(|key| values_of(wanted, key).next().is_some());
    if named && !ips().any(|ip| is_one(ip, "ip_address") && is_one(ip, "subnet_id")) {
        return false;
    }
    let mut parts = values_of(wanted, "ip_address_substr").peekable();
    parts.peek().is_none() || parts.any(|part| ips().any(|ip| text(ip, "ip_address").is_some_and(|it| it.contains(part))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(failure: &Failure) -> &str {
        match failure {
            Failure::Named { kind, .. } => kind,
            _ => "",
        }
    }

    #[test]
    fn macs() {
        assert_eq!(mac(&json!("52-54-00-AB-cd-ef")), Ok("52:54:00:ab:cd:ef".into()));
        for wrong in [
            "",
            "00:00:00:00:00:00",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "52:54:0:ab:cd:ef",
            "zz:54:00:ab:cd:ef",
            "+2:54:00:ab:cd:ef",
        ] {
            assert!(mac(&json!(wrong)).is_err(), "{wrong}");
        }
        assert!(is_group("01:00:5e:00:00:01") && !is_group("fa:16:3e:00:00:01"));
        assert!(mac(&json!(random_mac().unwrap())).is_ok());
    }

    #[test]
    fn address_pairs() {
        let own = "fa:16:3e:00:00:01";
        let good = pairs(&json!([{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.0/24", "mac_address": "FA-16-3E-00-00-02"}]), own);
        let good = good.unwrap();
        assert_eq!(good[0], AddressPair { ip_address: "10.0.0.5".into(), mac_address: own.into() });
        assert_eq!(good[1].mac_address, "fa:16:3e:00:00:02");
        let many: Vec<Value> = (0..11).map(|at| json!({"ip_address": format!("10.0.0.{at}")})).collect();
        assert_eq!(pairs(&json!(null), own).unwrap(), []);
        for (wrong, class) in [
            (json!("x"), "HTTPBadRequest"),
            (json!(["x"]), "HTTPBadRequest"),
            (json!([{"mac_address": own}]), "AllowedAddressPairsMissingIP"),
            (json!([{"ip_address": "10.0.0.300"}]), "HTTPBadRequest"),
            (json!([{"ip_address": 5}]), "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.0.1/33"}]), "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.0.1", "colour": "blue"}]), "HTTPBadRequest"),
            (json!([{"ip_address": "224.0.0.1"}]), "HTTPBadRequest"),
            (json!([{"ip_address": "ff02::1"}]), "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.0.1", "mac_address": "01:00:5e:00:00:01"}]), "HTTPBadRequest"),
            (json!([{"ip_address": "10.0.0.1"}, {"ip_address": "10.0.0.1"}]), "DuplicateAddressPairInRequest"),
            (json!([{"ip_address": "10.0.0.1"}, {"ip_address": "10.0.0.1", "mac_address": own}]), "DuplicateAddressPairInRequest"),
            (json!(many), "AllowedAddressPairExhausted"),
        ] {
            assert_eq!(kind(&pairs(&wrong, own).unwrap_err()), class, "{wrong}");
        }
    }

    #[test]
    fn dhcp_options_are_merged() {
        let with = |has: &[DhcpOption], value: Value| dhcp_options(has, &value).unwrap();
        let has = with(
            &[],
            json!([{"opt_name": "bootfile-name", "opt_value": "a"}, {"opt_name": "router", "opt_value": ""}, {"opt_name": "x", "opt_value": null}]),
        );
        assert_eq!(has.len(), 2);
        let has = with(
            &has,
            json!([{"opt_name": "bootfile-name", "opt_value": "b"}, {"opt_name": "bootfile-name", "opt_value": "c", "ip_version": "6"}]),
        );
        let shown: Vec<_> = has.iter().map(|it| (it.opt_name.as_str(), it.opt_value.as_str(), it.ip_version)).collect();
        assert_eq!(shown, [("bootfile-name", "b", 4), ("router", "", 4), ("bootfile-name", "c", 6)]);
        let has = with(&has, json!([{"opt_name": "bootfile-name", "opt_value": null}]));
        assert_eq!(has.len(), 2);
        assert_eq!(with(&has, json!(null)), has);
        assert_eq!(with(&has, json!([])), has);
        for wrong in [
            json!("x"),
            json!(["x"]),
            json!([{"opt_value": "c"}]),
            json!([{"opt_name": "x"}]),
            json!([{"opt_name": "x", "opt_value": ""}]),
            json!([{"opt_name": "x", "opt_value": "a\nb"}]),
            json!([{"opt_name": "x", "opt_value": "c", "ip_version": 5}]),
            json!([{"opt_name": "x", "opt_value": "c", "colour": "blue"}]),
        ] {
            assert_eq!(kind(&dhcp_options(&[], &wrong).unwrap_err()), "InvalidInput", "{wrong}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(dns_name(&json!("Web1")), Ok("web1".into()));
        assert_eq!(dns_name(&json!(format!("web1.{DNS_DOMAIN}"))), Ok(format!("web1.{DNS_DOMAIN}")));
        for wrong in ["a_", "-a", "a-", "a..b", "a.1", "web1.example.org.", DNS_DOMAIN, &"a".repeat(64)] {
            assert!(dns_name(&json!(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(dns_domain(&json!("Example.org.")), Ok("example.org.".into()));
        assert!(dns_domain(&json!("example.org")).is_err());
        let at = |ip: &str| FixedIp { subnet_id: model::Id::random(), ip_address: ip.parse().unwrap() };
        assert_eq!(dns_assignment("", &[at("10.0.0.5")])[0]["hostname"], "host-10-0-0-5");
        assert_eq!(dns_assignment("", &[at("2001:db8::1")])[0]["fqdn"], format!("host-2001-db8--1.{DNS_DOMAIN}"));
        assert_eq!(dns_assignment("web", &[at("10.0.0.5")])[0]["fqdn"], format!("web.{DNS_DOMAIN}"));
    }

    #[test]
    fn hints_have_one_form() {
        assert_eq!(hints(&json!(null)), Ok(None));
        for good in [json!({}), json!({"openvswitch": {}}), json!({"openvswitch": {"other_config": {"tx-steering": "hash"}}})] {
            assert_eq!(hints(&good), Ok(Some(good.clone())));
        }
        for wrong in [json!("x"), json!({"x": 1}), json!({"openvswitch": {"other_config": {"tx-steering": "x"}}})] {
            assert!(hints(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_by_address() {
        let has = json!([{"subnet_id": "s", "ip_address": "10.0.0.5"}, {"subnet_id": "t", "ip_address": "10.0.1.6"}]);
        let fits = |wanted: &[&str]| fixed_ips_fit(&has, &wanted.iter().map(ToString::to_string).collect::<Vec<_>>());
        for fitting in [
            &["ip_address=10.0.0.5"][..],
            &["ip_address=10.0.0.9", "ip_address=10.0.1.6"],
            &["subnet_id=s", "ip_address=10.0.0.5"],
            &["ip_address_substr=0.1."],
            &["ip_address_substr=9.9", "ip_address_substr=.5"],
            &["ip_address_substr=0.1.", "subnet_id=s"],
        ] {
            assert!(fits(fitting), "{fitting:?}");
        }
        for other in [&["ip_address=10.0.0.9"][..], &["subnet_id=t", "ip_address=10.0.0.5"], &["ip_address_substr=9"], &["subnet_id=u"]] {
            assert!(!fits(other), "{other:?}");
        }
        assert!(!fixed_ips_fit(&json!([]), &["ip_address=10.0.0.5".into()]));
    }
}
