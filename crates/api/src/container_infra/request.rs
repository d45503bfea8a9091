//! What a request for a template or a cluster says, before anything is looked up.

use model::Id;
use model::identity::Project;
use serde_json::{Map, Value};

use super::labels::{self, Labels};

/// Attributes of Magnum's that mean something this server does not do, with the values that ask for nothing and what to say to others.
pub(super) const REFUSED: &[(&str, &[&str], &str)] = &[
    ("fixed_network", &[], "each cluster gets a network of its own"),
    ("fixed_subnet", &[], "each cluster gets a network of its own; the label fixed_subnet_cidr chooses its addresses"),
    ("network_driver", &["\"docker\""], "machines carry Docker's own overlay networks"),
    ("volume_driver", &[], "there is no volume service"),
    ("docker_volume_size", &[], "containers live on the machine's own disk"),
    ("docker_storage_driver", &["\"overlay2\""], "only overlay2"),
    ("apiserver_port", &[], "the port is chosen by the server"),
    ("http_proxy", &["\"\""], "proxies are not set up on machines"),
    ("https_proxy", &["\"\""], "proxies are not set up on machines"),
    ("no_proxy", &["\"\""], "proxies are not set up on machines"),
    ("insecure_registry", &["\"\""], "registries are not set up on machines"),
    ("registry_enabled", &["false"], "registries are not set up on machines"),
    ("tls_disabled", &["false"], "the API of a cluster always asks for certificates"),
    ("master_lb_enabled", &["false"], "there is no load balancer"),
    ("floating_ip_enabled", &["false"], "there are no floating addresses"),
    ("driver", &["\"\""], "the driver follows from server type and orchestrator"),
    ("tags", &["\"\""], "templates have no tags"),
    ("discovery_url", &["\"\""], "managers are found without a discovery service"),
];

/// Refuses what asks for something this server does not do; an unknown attribute is `Err(None)`.
fn check_refused(key: &str, value: &Value) -> Result<(), Option<String>> {
    let (_, harmless, why) = REFUSED.iter().find(|(name, _, _)| *name == key).ok_or(None)?;
    let text = value.to_string();
    if value.is_null() || harmless.contains(&text.as_str()) {
        return Ok(());
    }
    Err(Some(format!("{key}: {why}")))
}

/// A name that machines can be named after.
pub(super) fn name(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let fits = bytes.next().is_some_and(|b| b.is_ascii_alphabetic()) && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if !fits {
        return Err(format!("'{text}' is not a name: a letter, then letters, digits, '_', '.' and '-'"));
    }
    if text.len() > 48 {
        return Err("machines are named after their cluster: its name has at most 48 characters".into());
    }
    Ok(text.to_owned())
}

fn text(key: &str, value: &Value, longest: usize) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() <= longest => Ok(Some(text.clone())),
        Value::String(_) => Err(format!("{key}: at most {longest} characters")),
        _ => Err(format!("{key}: a string")),
    }
}

fn flag(key: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(on) => Ok(*on),
        _ => Err(format!("{key}: true or false")),
    }
}

fn count(key: &str, value: &Value) -> Result<u32, String> {
    value.as_u64().and_then(|it| u32::try_from(it).ok()).ok_or_else(|| format!("{key}: a whole number, not negative"))
}

/// The wish for a template, as far as it can be judged alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TemplateRequest {
    pub name: Option<String>,
    pub coe: Option<String>,
    pub server_type: Option<String>,
    /// Names or ids.
    pub image: Option<String>,
    pub flavor: Option<String>,
    pub master_flavor: Option<String>,
    pub external_network: Option<String>,
    pub keypair: Option<String>,
    pub dns_nameserver: Option<String>,
    pub public: bool,
    pub hidden: bool,
    pub labels: Labels,
}

impl TemplateRequest {
    /// Attributes that a patch may change.
    pub(super) const CHANGEABLE: &'static [&'static str] = &[
        "name",
        "image_id",
        "flavor_id",
        "master_flavor_id",
        "external_network_id",
        "keypair_id",
        "dns_nameserver",
        "public",
        "hidden",
        "labels",
    ];

    /// Sets an attribute, `Null` meaning none.
    ///
    /// # Errors
    /// Words that name what does not fit.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "name" => self.name = text(key, value, 255)?,
            "coe" => {
                self.coe = text(key, value, 32)?;
                if let Some(other) = self.coe.as_deref().filter(|it| *it != "swarm-mode") {
                    return Err(format!("coe: '{other}' is not offered; there is: swarm-mode"));
                }
            }
            "server_type" => {
                self.server_type = text(key, value, 32)?;
                if let Some(other) = self.server_type.as_deref().filter(|it| *it != "bm") {
                    return Err(format!("server_type: '{other}' is not offered; there is: bm"));
                }
            }
            "image_id" => self.image = text(key, value, 255)?,
            "flavor_id" => self.flavor = text(key, value, 255)?,
            "master_flavor_id" => self.master_flavor = text(key, value, 255)?,
            "external_network_id" => self.external_network = text(key, value, 255)?,
            "keypair_id" => self.keypair = text(key, value, 255)?,
            "dns_nameserver" => {
                self.dns_nameserver = text(key, value, 255)?;
                for server in self.dns_nameserver.iter().flat_map(|list| list.split(',')) {
                    if server.trim().parse::<std::net::IpAddr>().is_err() {
                        return Err(format!("dns_nameserver: '{server}' is not an address"));
                    }
                }
            }
            "public" => self.public = flag(key, value)?,
            "hidden" => self.hidden = flag(key, value)?,
            "labels" => {
                self.labels = labels::read(value)?;
                labels::cidr(&self.labels, 1)?;
            }
            _ => check_refused(key, value).map_err(|why| why.unwrap_or_else(|| format!("Unknown attribute for argument: {key}")))?,
        }
        Ok(())
    }

    /// Reads the body of a creation.
    ///
    /// # Errors
    /// Words that name what does not fit or is missing.
    pub(super) fn read(body: &Map<String, Value>) -> Result<Self, String> {
        let mut out = Self::default();
        for (key, value) in body {
            out.set(key, value)?;
        }
        for (given, key) in [(out.coe.is_some(), "coe"), (out.image.is_some(), "image_id")] {
            if !given {
                return Err(format!("{key}: mandatory"));
            }
        }
        // Magnum's own default is virtual machines, which are not here: the wish must be said.
        if out.server_type.is_none() {
            return Err("server_type: must be 'bm': this server makes clusters of bare-metal machines only".into());
        }
        Ok(out)
    }
}

/// The wish for a cluster, as far as it can be judged alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClusterRequest {
    pub name: String,
    /// Name or id.
    pub template: String,
    pub keypair: Option<String>,
    pub master_count: u32,
    pub node_count: u32,
    /// Names or ids.
    pub flavor: Option<String>,
    pub master_flavor: Option<String>,
    /// `None`: the template's.
    pub labels: Option<Labels>,
    pub merge_labels: bool,
    pub create_timeout_minutes: u32,
}

/// Most workers of a cluster.
const MAX_NODES: u32 = 1000;

impl ClusterRequest {
    /// Reads the body of a creation.
    ///
    /// # Errors
    /// Words that name what does not fit or is missing.
    pub(super) fn read(body: &Map<String, Value>) -> Result<Self, String> {
        let mut out = Self {
            name: format!("cluster-{}", Id::<Project>::random().short()),
            template: String::new(),
            keypair: None,
            master_count: 1,
            node_count: 1,
            flavor: None,
            master_flavor: None,
            labels: None,
            merge_labels: false,
            create_timeout_minutes: 60,
        };
        for (key, value) in body {
            match key.as_str() {
                "name" => {
                    if let Some(given) = text(key, value, 242)? {
                        out.name = name(&given)?;
                    }
                }
                "cluster_template_id" => out.template = text(key, value, 255)?.unwrap_or_default(),
                "keypair" => out.keypair = text(key, value, 255)?.filter(|it| !it.is_empty()),
                "master_count" => out.master_count = count(key, value)?,
                "node_count" => out.node_count = count(key, value)?,
                "flavor_id" => out.flavor = text(key, value, 255)?,
                "master_flavor_id" => out.master_flavor = text(key, value, 255)?,
                "labels" if value.is_null() => {}
                "labels" => out.labels = Some(labels::read(value)?),
                "merge_labels" => out.merge_labels = flag(key, value)?,
                "create_timeout" if value.is_null() => {}
                "create_timeout" => out.create_timeout_minutes = count(key, value)?,
                _ => check_refused(key, value).map_err(|why| why.unwrap_or_else(|| format!("Unknown attribute for argument: {key}")))?,
            }
        }
        if out.template.is_empty() {
            return Err("cluster_template_id: mandatory".into());
        }
        match out.master_count {
            1 => {}
            n if n % 2 == 0 => return Err("master_count: managers vote, so their number is odd".into()),
            _ => return Err("master_count: a cluster here has one manager".into()),
        }
        if out.node_count == 0 {
            return Err("node_count: from 1".into());
        }
        if out.node_count > MAX_NODES {
            return Err(format!("node_count: at most {MAX_NODES}"));
        }
        if out.create_timeout_minutes > 7 * 24 * 60 {
            return Err("create_timeout: at most a week, in minutes; 0 for none".into());
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(value: Value) -> Result<TemplateRequest, String> {
        TemplateRequest::read(value.as_object().unwrap())
    }

    fn cluster(value: Value) -> Result<ClusterRequest, String> {
        ClusterRequest::read(value.as_object().unwrap())
    }

    #[test]
    fn what_the_command_line_client_sends_is_taken() {
        let read = template(json!({
            "name": "t", "image_id": "debian", "keypair_id": null, "external_network_id": null, "coe": "swarm-mode", "fixed_network": null,
            "fixed_subnet": null, "network_driver": null, "volume_driver": null, "driver": null, "dns_nameserver": "8.8.8.8",
            "flavor_id": "bm", "master_flavor_id": null, "docker_volume_size": null, "docker_storage_driver": "overlay2",
            "http_proxy": null, "https_proxy": null, "no_proxy": null, "labels": {}, "tls_disabled": false, "public": false,
            "registry_enabled": false, "insecure_registry": null, "server_type": "bm", "master_lb_enabled": false,
        }));
        assert_eq!(read.unwrap().flavor.as_deref(), Some("bm"));
        let read = cluster(json!({
            "cluster_template_id": "t", "create_timeout": 60, "discovery_url": null, "keypair": null, "master_count": 1, "name": "finance",
            "node_count": 2,
        }));
        assert_eq!(read.unwrap().node_count, 2);
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_the_reason() {
        let base = json!({"name": "t", "image_id": "i", "coe": "swarm-mode", "server_type": "bm"});
        for (key, value, word) in [
            ("coe", json!("kubernetes"), "swarm-mode"),
            ("server_type", json!("vm"), "bm"),
            ("tls_disabled", json!(true), "certificates"),
            ("fixed_network", json!("n"), "network of its own"),
            ("master_lb_enabled", json!(true), "load balancer"),
            ("dns_nameserver", json!("dns"), "not an address"),
            ("labels", json!({"fixed_subnet_cidr": "10.0.0.0/40"}), "fixed_subnet_cidr"),
            ("public", json!("yes"), "true or false"),
            ("colour", json!("red"), "Unknown attribute"),
            ("image_id", Value::Null, "mandatory"),
            ("server_type", Value::Null, "bm"),
        ] {
            let mut body = base.clone();
            body[key] = value;
            let why = template(body).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
        for (key, value, word) in [
            ("name", json!("1a"), "not a name"),
            ("name", json!("a b"), "not a name"),
            ("name", json!("a".repeat(49)), "48"),
            ("master_count", json!(2), "odd"),
            ("master_count", json!(3), "one manager"),
            ("node_count", json!(0), "from 1"),
            ("node_count", json!(1001), "1000"),
            ("node_count", json!(-1), "whole number"),
            ("floating_ip_enabled", json!(true), "floating"),
            ("create_timeout", json!("x"), "whole number"),
            ("cluster_template_id", Value::Null, "mandatory"),
            ("status", json!("CREATE_COMPLETE"), "Unknown attribute"),
        ] {
            let mut body = json!({"cluster_template_id": "t"});
            body[key] = value;
            let why = cluster(body).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
