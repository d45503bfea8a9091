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
            let label = [Some(owner.as_deref().unwrap_or("-")), Some(it.machine.as_str()), it.container.as_deref()];
            Place {
                label: label.into_iter().flatten().collect::<Vec<_>>().join("/"),
                kind: if it.container.is_some() { Kind::Container } else { Kind::Machine },
                tenant: owner,
            }
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
