//! What `cofferdam lab probe --json` reports, made ready to be judged.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::matrix::{Kind, Place, Sample, Way};
use super::steps::Owners;

/// The report: who was there, and what arrived.
#[derive(Deserialize)]
pub(crate) struct Report {
    endpoints: Vec<Endpoint>,
    results: Vec<Measured>,
}

#[derive(Deserialize)]
struct Endpoint {
    name: String,
    machine: String,
    #[serde(default)]
    container: Option<String>,
    #[serde(default)]
    addresses: Vec<String>,
}

#[derive(Deserialize)]
struct Measured {
    from: String,
    to: String,
    kind: String,
    sent: u64,
    received: u64,
}

impl Report {
    pub(crate) fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("the report of `cofferdam lab probe` is not understood")
    }

    /// Names each place after its owner, as the APIs know it, and checks that everything owned was measured.
    ///
    /// # Errors
    /// A machine that belongs to a tenant is missing, has not the address that the APIs say, or has no container.
    pub(crate) fn judgeable(&self, owners: &Owners) -> Result<(Vec<Place>, Vec<Sample>)> {
        for (machine, owned) in owners {
            let of_machine = || self.endpoints.iter().filter(|it| it.machine == *machine);
            let Some(itself) = of_machine().find(|it| it.container.is_none()) else {
                bail!("machine {machine} of {} was not probed", owned.tenant);
            };
            if !itself.addresses.iter().any(|it| it.split('/').next() == Some(owned.address.as_str())) {
                bail!("machine {machine} of {} has addresses {:?}, not {} as the APIs say", owned.tenant, itself.addresses, owned.address);
            }
            if !of_machine().any(|it| it.container.is_some()) {
                bail!("machine {machine} of {} runs no container", owned.tenant);
            }
        }
        let mut order: Vec<&Endpoint> = self.endpoints.iter().collect();
        let tenant = |it: &Endpoint| owners.get(&it.machine).map(|owned| owned.tenant.clone());
        order.sort_by_key(|it| (tenant(it).is_none(), tenant(it), it.container.is_some(), it.machine.clone(), it.container.clone()));
        let places = order.iter().map(|it| {
            let owner = tenant(it);
            let kind = if it.container.is_some() { Kind::Container } else { Kind::Machine };
            let port = owners.get(&it.machine).filter(|_| kind == Kind::Machine).map(|owned| owned.port.clone());
            Place { label: label(owner.as_deref(), it), kind, tenant: owner, port }
        });
        let index: BTreeMap<&str, usize> = order.iter().enumerate().map(|(index, it)| (it.name.as_str(), index)).collect();
        let find = |name: &str| index.get(name).copied().with_context(|| format!("the probe speaks of {name}, which it does not list"));
        let samples = self.results.iter().map(|it| {
            let way = match it.kind.as_str() {
                "l2" => Way::L2,
                "udp" => Way::Udp,
                "service" => Way::Service,
                other => bail!("the probe speaks of {other} packets"),
            };
            Ok(Sample { from: find(&it.from)?, to: find(&it.to)?, way, sent: it.sent, received: it.received })
        });
        Ok((places.collect(), samples.collect::<Result<_>>()?))
    }
}

/// `finance/m1`, `finance/m1/web-1`. The demo's containers have their tenant in their names: said once is enough, unless it is not
/// the tenant whose machine it is.
fn label(owner: Option<&str>, endpoint: &Endpoint) -> String {
    let mut label = format!("{}/{}", owner.unwrap_or("-"), endpoint.machine);
    if let Some(container) = &endpoint.container {
        let short = owner.and_then(|owner| container.strip_prefix(owner)?.strip_prefix('-'));
        label.push('/');
        label.push_str(short.unwrap_or(container));
    }
    label
}

#[cfg(test)]
mod tests {
    use super::super::matrix;
    use super::super::steps::Owned;
    use super::*;

    const REPORT: &str = r#"{"endpoints": [
        {"name": "m2", "machine": "m2", "container": null, "addresses": ["10.0.0.2/24"], "mac": "52:54:00:00:00:02", "pid": 7},
        {"name": "m1", "machine": "m1", "addresses": ["10.0.0.2"]},
        {"name": "m1/finance-web-1", "machine": "m1", "container": "finance-web-1", "addresses": ["10.0.1.3/24", "172.18.0.3/16"]},
        {"name": "m2/medical-web-1", "machine": "m2", "container": "medical-web-1", "addresses": []}],
        "results": [{"from": "m1", "to": "m2", "kind": "udp", "sent": 4, "received": 1}], "duration_ms": 3}"#;

    fn owners() -> Owners {
        let owned = |tenant: &str| Owned { tenant: tenant.into(), address: "10.0.0.2".into(), port: "p".into() };
        BTreeMap::from([("m1".to_owned(), owned("finance")), ("m2".to_owned(), owned("medical"))])
    }

    #[test]
    fn places_are_named_after_their_owners() {
        let (places, samples) = Report::read(REPORT).unwrap().judgeable(&owners()).unwrap();
        let labels: Vec<&str> = places.iter().map(|it| it.label.as_str()).collect();
        assert_eq!(labels, ["finance/m1", "finance/m1/web-1", "medical/m2", "medical/m2/web-1"]);
        assert_eq!(samples, [Sample { from: 0, to: 2, way: Way::Udp, sent: 4, received: 1 }]);
        let verdict = matrix::evaluate(&places, &samples);
        assert!(verdict.tenants[0].line.contains("LEAKING to medical: finance/m1 -> medical/m2 (udp)"), "{}", verdict.tenants[0].line);
    }

    #[test]
    fn what_the_apis_and_the_probe_disagree_about_is_an_error() {
        let report = Report::read(REPORT).unwrap();
        let mut others = owners();
        others.insert("m3".into(), Owned { tenant: "finance".into(), address: "10.0.0.4".into(), port: "p".into() });
        assert!(report.judgeable(&others).unwrap_err().to_string().contains("m3 of finance was not probed"));
        let mut others = owners();
        others.insert("m1".into(), Owned { tenant: "finance".into(), address: "10.0.0.9".into(), port: "p".into() });
        assert!(report.judgeable(&others).unwrap_err().to_string().contains("not 10.0.0.9"));
        let bare = Report::read(&REPORT.replace("\"container\": \"finance-web-1\"", "\"container\": null")).unwrap();
        assert!(bare.judgeable(&owners()).unwrap_err().to_string().contains("runs no container"));
        let (places, _) = report.judgeable(&Owners::new()).unwrap();
        assert!(places.iter().all(|it| it.tenant.is_none() && it.label.starts_with("-/")));
    }

    #[test]
    fn unknown_names_and_ways_are_errors() {
        for (from, to) in [("\"to\": \"m2\"", "\"to\": \"m9\""), ("\"udp\"", "\"carrier pigeon\"")] {
            assert!(Report::read(&REPORT.replace(from, to)).unwrap().judgeable(&owners()).is_err(), "{to}");
        }
        assert!(Report::read("{}").is_err());
    }
}
