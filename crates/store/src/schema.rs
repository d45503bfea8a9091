//! Tables and their versions.
//!
//! Every kind has a table of its own with the fixed columns of [`model::Object`] and one text column (`c_…`) for each of
//! [`Kind::COLUMNS`]; a new plain field of a resource needs no migration, a new filterable one does.

use model::net::access::{RbacAction, RbacPolicy, RbacPolicyDesired};
use model::{Id, Kind, Object, baremetal, container_infra, fabric, identity, image_compute, net};

use crate::StoreError;
use crate::backend::{Backend, Dialect};
use crate::batch::{Batch, json, used};
use crate::own;
use crate::query::{self, Query};
use crate::sql::{Step, Val};

/// The newest schema this binary knows.
pub const SCHEMA_VERSION: i64 = 7;

/// The table of a kind.
pub(crate) fn table<K: Kind>() -> String {
    format!("r_{}", K::NAME)
}

fn kind_ddl<K: Kind>(text: Dialect) -> Vec<String> {
    let table = table::<K>();
    let columns: String = K::COLUMNS.iter().map(|column| format!(", c_{} {text}", column.name)).collect();
    let mut ddl = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (id {text} PRIMARY KEY, project_id {text}, name {text} NOT NULL, \
             generation BIGINT NOT NULL, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT, deleted_at BIGINT, \
             desired {text} NOT NULL, observed {text} NOT NULL{columns})"
        ),
        format!("CREATE INDEX IF NOT EXISTS {table}_project ON {table} (project_id){}", text.where_set("project_id")),
        format!("CREATE INDEX IF NOT EXISTS {table}_name ON {table} (name)"),
        format!("CREATE INDEX IF NOT EXISTS {table}_created ON {table} (created_at, id)"),
    ];
    ddl.extend(K::COLUMNS.iter().filter_map(|column| index::<K>(column.name, text)));
    ddl
}

/// The index of a column, if it has one.
fn index<K: Kind>(column: &str, text: Dialect) -> Option<String> {
    let (table, is_set) = (table::<K>(), text.where_set(&format!("c_{column}")));
    (!K::SCANNED.contains(&column)).then(|| format!("CREATE INDEX IF NOT EXISTS {table}_{column} ON {table} (c_{column}){is_set}"))
}

/// All tables, as an empty store gets them.
fn tables(text: Dialect) -> Vec<String> {
    let mut ddl: Vec<String> = own::ALL.iter().flat_map(|table| table.ddl(text)).collect();
    ddl.extend(identity_2(text));
    ddl.extend(kind_ddl::<identity::Domain>(text));
    ddl.extend(kind_ddl::<identity::Project>(text));
    ddl.extend(kind_ddl::<identity::User>(text));
    ddl.extend(kind_ddl::<identity::Role>(text));
    ddl.extend(kind_ddl::<identity::Assignment>(text));
    ddl.extend(kind_ddl::<identity::Region>(text));
    ddl.extend(kind_ddl::<identity::Service>(text));
    ddl.extend(kind_ddl::<identity::Endpoint>(text));
    ddl.extend(kind_ddl::<net::Network>(text));
    ddl.extend(kind_ddl::<net::Subnet>(text));
    ddl.extend(kind_ddl::<net::Port>(text));
    ddl.extend(kind_ddl::<baremetal::Node>(text));
    ddl.extend(kind_ddl::<baremetal::BaremetalPort>(text));
    ddl.extend(kind_ddl::<baremetal::AgentSession>(text));
    ddl.extend(kind_ddl::<image_compute::Image>(text));
    ddl.extend(kind_ddl::<image_compute::Flavor>(text));
    ddl.extend(kind_ddl::<image_compute::Keypair>(text));
    ddl.extend(kind_ddl::<container_infra::ClusterTemplate>(text));
    ddl.extend(kind_ddl::<container_infra::Cluster>(text));
    ddl.extend(kind_ddl::<fabric::Switch>(text));
    ddl.extend(kind_ddl::<fabric::SwitchPort>(text));
    ddl.extend(network_3(text));
    ddl.extend(kinds_4(text));
    ddl.extend(kinds_6(text));
    ddl
}

/// The kinds of the network service that version 2 had not.
fn network_3(text: Dialect) -> Vec<String> {
    [
        kind_ddl::<net::NetworkSegment>(text),
        kind_ddl::<net::access::RbacPolicy>(text),
        kind_ddl::<net::access::Quota>(text),
        kind_ddl::<net::bgp::BgpPeer>(text),
        kind_ddl::<net::bgp::BgpSpeaker>(text),
        kind_ddl::<net::chains::FlowClassifier>(text),
        kind_ddl::<net::chains::PortChain>(text),
        kind_ddl::<net::chains::PortPair>(text),
        kind_ddl::<net::chains::PortPairGroup>(text),
        kind_ddl::<net::chains::ServiceGraph>(text),
        kind_ddl::<net::flavors::ServiceFlavor>(text),
        kind_ddl::<net::flavors::ServiceProfile>(text),
        kind_ddl::<net::metering::MeteringLabel>(text),
        kind_ddl::<net::metering::MeteringLabelRule>(text),
        kind_ddl::<net::metering::Log>(text),
        kind_ddl::<net::operation::Agent>(text),
        kind_ddl::<net::operation::AgentBinding>(text),
        kind_ddl::<net::operation::NetworkSegmentRange>(text),
        kind_ddl::<net::l2gw::L2Gateway>(text),
        kind_ddl::<net::l2gw::L2GatewayConnection>(text),
        kind_ddl::<net::l2gw::L2RemoteGateway>(text),
        kind_ddl::<net::l2gw::L2RemoteGatewayConnection>(text),
        kind_ddl::<net::l2gw::L2RemoteMac>(text),
        kind_ddl::<net::l3::Router>(text),
        kind_ddl::<net::l3::FloatingIp>(text),
        kind_ddl::<net::l3::PortForwarding>(text),
        kind_ddl::<net::l3::ConntrackHelper>(text),
        kind_ddl::<net::l3::NdpProxy>(text),
        kind_ddl::<net::l3::LocalIp>(text),
        kind_ddl::<net::l3::LocalIpAssociation>(text),
        kind_ddl::<net::pools::SubnetPool>(text),
        kind_ddl::<net::pools::AddressScope>(text),
        kind_ddl::<net::qos::QosPolicy>(text),
        kind_ddl::<net::security::SecurityGroup>(text),
        kind_ddl::<net::security::SecurityGroupRule>(text),
        kind_ddl::<net::security::AddressGroup>(text),
        kind_ddl::<net::security::DefaultSecurityGroupRule>(text),
        kind_ddl::<net::security::DefaultStatefulness>(text),
        kind_ddl::<net::trunk::Trunk>(text),
    ]
    .concat()
}

/// The kinds that version 3 had not.
fn kinds_4(text: Dialect) -> Vec<String> {
    [
        kind_ddl::<net::bgpvpn::Bgpvpn>(text),
        kind_ddl::<net::bgpvpn::BgpvpnNetworkAssociation>(text),
        kind_ddl::<net::bgpvpn::BgpvpnRouterAssociation>(text),
        kind_ddl::<net::bgpvpn::BgpvpnPortAssociation>(text),
        kind_ddl::<baremetal::Allocation>(text),
        kind_ddl::<baremetal::Chassis>(text),
        kind_ddl::<baremetal::DeployTemplate>(text),
        kind_ddl::<baremetal::InspectionRule>(text),
        kind_ddl::<baremetal::NodeAction>(text),
        kind_ddl::<baremetal::NodeBios>(text),
        kind_ddl::<baremetal::NodeFirmware>(text),
        kind_ddl::<baremetal::NodeInventory>(text),
        kind_ddl::<baremetal::Portgroup>(text),
        kind_ddl::<baremetal::Runbook>(text),
        kind_ddl::<baremetal::VolumeConnector>(text),
        kind_ddl::<baremetal::VolumeTarget>(text),
    ]
    .concat()
}

/// The kinds that version 5 had not.
fn kinds_6(text: Dialect) -> Vec<String> {
    [kind_ddl::<baremetal::Conductor>(text), kind_ddl::<baremetal::ConfigDrive>(text)].concat()
}

/// The kinds of identity that version 1 had not.
fn identity_2(text: Dialect) -> Vec<String> {
    [
        kind_ddl::<identity::Group>(text),
        kind_ddl::<identity::Membership>(text),
        kind_ddl::<identity::ImpliedRole>(text),
        kind_ddl::<identity::EndpointGroup>(text),
        kind_ddl::<identity::ProjectEndpoint>(text),
        kind_ddl::<identity::PolicyDocument>(text),
        kind_ddl::<identity::PolicyAssociation>(text),
        kind_ddl::<identity::Credential>(text),
        kind_ddl::<identity::ApplicationCredential>(text),
        kind_ddl::<identity::AccessRule>(text),
        kind_ddl::<identity::Trust>(text),
        kind_ddl::<identity::RegisteredLimit>(text),
        kind_ddl::<identity::Limit>(text),
        kind_ddl::<identity::IdentityProvider>(text),
        kind_ddl::<identity::Mapping>(text),
        kind_ddl::<identity::Protocol>(text),
        kind_ddl::<identity::ServiceProvider>(text),
        kind_ddl::<identity::OAuthConsumer>(text),
        kind_ddl::<identity::RevocationEvent>(text),
    ]
    .concat()
}

/// What leads from a version to the next.
async fn after(version: i64, backend: &Backend, text: Dialect) -> Result<Vec<String>, StoreError> {
    Ok(match version {
        1 => from_1(text, backend.if_not_exists()),
        2 => from_2(backend, text).await?,
        3 => from_3(backend, text).await?,
        4 => from_4(backend, text).await?,
        5 => kinds_6(text),
        _ => from_6(text),
    })
}

/// From version 1: identity grew. The new columns are of what version 1 could not store, so none has a value yet.
fn from_1(text: Dialect, if_not_exists: &str) -> Vec<String> {
    let mut ddl = own::COUNTER.ddl(text);
    ddl.extend(identity_2(text));
    ddl.extend(column::<identity::Project>("parent_id", text, if_not_exists));
    ddl.extend(column::<identity::Role>("domain_id", text, if_not_exists));
    ddl.extend(column::<identity::Assignment>("group_id", text, if_not_exists));
    ddl.extend(column::<identity::Region>("parent_region_id", text, if_not_exists));
    ddl
}

/// A column that is new, and its index.
fn column<K: Kind>(name: &str, text: Dialect, if_not_exists: &str) -> Vec<String> {
    let add = format!("ALTER TABLE {} ADD COLUMN {if_not_exists} c_{name} {text}", table::<K>());
    [Some(add), index::<K>(name, text)].into_iter().flatten().collect()
}

/// From version 2: the network service grew.
async fn from_2(backend: &Backend, text: Dialect) -> Result<Vec<String>, StoreError> {
    let mut ddl: Vec<String> = [own::HOLE, own::HINT, own::LINK].iter().flat_map(|table| table.ddl(text)).collect();
    ddl.extend(network_3(text));
    ddl.extend(shared(backend).await?);
    ddl.extend(grown::<net::Network>(backend, text, &[]).await?);
    ddl.extend(grown::<net::Subnet>(backend, text, &["network_id"]).await?);
    ddl.extend(grown::<net::Port>(backend, text, &["network_id", "device_id", "mac_address"]).await?);
    // Gateways' addresses were kept from ports; since then they are their routers' ports', who take them.
    ddl.push("DELETE FROM allocation WHERE holder = 'gateway' AND pool LIKE 'ip:%'".to_owned());
    Ok(ddl)
}

/// From version 3: the bare-metal service grew.
async fn from_3(backend: &Backend, text: Dialect) -> Result<Vec<String>, StoreError> {
    let mut ddl = kinds_4(text);
    ddl.extend(grown::<baremetal::Node>(backend, text, &["provision_state", "resource_class", "instance_uuid"]).await?);
    ddl.extend(grown::<baremetal::BaremetalPort>(backend, text, &["node_id", "address"]).await?);
    Ok(ddl)
}

/// From version 4: switch ports are found by the VLANs they are to carry.
async fn from_4(backend: &Backend, text: Dialect) -> Result<Vec<String>, StoreError> {
    grown::<fabric::SwitchPort>(backend, text, &["switch", "holder"]).await
}

/// From version 6: what most writes write lies in its key, or has an index less.
fn from_6(text: Dialect) -> Vec<String> {
    let mut ddl: Vec<String> =
        baremetal::Node::SCANNED.iter().map(|column| format!("DROP INDEX IF EXISTS {}_{column}", table::<baremetal::Node>())).collect();
    if text.clustered().is_empty() {
        ddl.push("ALTER TABLE history DROP CONSTRAINT history_pkey, ADD PRIMARY KEY (kind, object_id, at, id)".into());
        ddl.push("DROP INDEX IF EXISTS history_object".into());
        return ddl;
    }
    ddl.extend(own::ALL.iter().flat_map(|table| table.anew(text)));
    ddl
}

/// What a kind gets that had these columns, no links and was not counted: the columns that are new, and for the objects that are there
/// the values of those, their links and their count. What is wanted of them is written anew, as today's types read it.
async fn grown<K: Kind>(backend: &Backend, text: Dialect, had: &[&str]) -> Result<Vec<String>, StoreError> {
    let table = table::<K>();
    let mut ddl = Vec::new();
    let new = || K::COLUMNS.iter().filter(|column| !had.contains(&column.name));
    for it in new() {
        ddl.extend(column::<K>(it.name, text, backend.if_not_exists()));
    }
    let (sql, params) = Query::<K>::new().with_deleted().render();
    for row in backend.query(sql, params).await? {
        let object = query::object::<K>(row)?;
        let mut sets = vec![format!("desired = {}", written(&json(&object.desired)))];
        sets.extend(new().map(|column| format!("c_{} = {}", column.name, written(&Val::from((column.value)(&object))))));
        ddl.push(format!("UPDATE {table} SET {} WHERE id = {}", sets.join(", "), written(&Val::from(object.id.as_str()))));
        ddl.extend(Batch::wishes().linked(&object).into_work().steps.iter().map(spelled_out));
    }
    ddl.extend(counted::<K>());
    Ok(ddl)
}

/// Counts the objects of a kind for their projects.
fn counted<K: Kind>() -> Option<String> {
    K::USAGE.map(|resource| {
        format!(
            "INSERT INTO counter (name, value) SELECT '{}' || project_id, COUNT(*) FROM {} \
             WHERE project_id IS NOT NULL AND deleted_at IS NULL GROUP BY project_id \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            used(resource, ""),
            table::<K>()
        )
    })
}

/// Networks of version 2 said themselves that they were for all, or external; since then RBAC policies say so.
async fn shared(backend: &Backend) -> Result<Vec<String>, StoreError> {
    let mut ddl = Vec::new();
    let sql = "SELECT id, project_id, desired FROM r_network WHERE deleted_at IS NULL ORDER BY id";
    for row in backend.query(sql.into(), vec![]).await? {
        let desired: serde_json::Value = row.text(2).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let network = row.text(0).unwrap_or_default();
        for (field, action) in [("shared", RbacAction::AccessAsShared), ("external", RbacAction::AccessAsExternal)] {
            if desired.get(field).and_then(serde_json::Value::as_bool) == Some(true) {
                let policy = RbacPolicyDesired { object_type: "network".into(), object_id: network.clone(), action, target: None };
                let project = row.text(1).and_then(|id| Id::parse(&id));
                let id = Id::derived(&format!("{} {network}", action.as_str()));
                let policy = Object::<RbacPolicy>::new(id, project, "", policy);
                ddl.extend(Batch::wishes().create(&policy).into_work().steps.iter().map(spelled_out));
            }
        }
    }
    ddl.extend(counted::<RbacPolicy>());
    Ok(ddl)
}

/// A value as a statement names it that cannot have parameters.
fn written(value: &Val) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\0', "").replace('\'', "''"));
    match value {
        Val::Text(text) => quoted(text),
        Val::Int(number) => number.to_string(),
        Val::FromNow(micros) => model::Timestamp::now().0.saturating_add(*micros).to_string(),
        Val::List(texts) => texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "),
        Val::NoText | Val::NoInt => "NULL".into(),
    }
}

/// A step as a statement without parameters.
fn spelled_out(step: &Step) -> String {
    let text = step.sql.replace("FROM_NOW(", "(");
    let mut parts = text.split('$');
    let mut sql = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it: char| !it.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at_checked(end).unwrap_or((part, ""));
        let value = number.parse::<usize>().ok().and_then(|it| it.checked_sub(1)).and_then(|it| step.params.get(it));
        sql.push_str(&value.map_or_else(|| "NULL".into(), written));
        sql.push_str(rest);
    }
    sql
}

/// Brings the tables to [`SCHEMA_VERSION`]; refuses a store from the future.
pub(crate) async fn migrate(backend: &Backend) -> Result<(), StoreError> {
    let make = "CREATE TABLE IF NOT EXISTS schema_version (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)";
    backend.ddl(vec![make.to_owned()]).await?;
    let text = backend.dialect().await?;
    let mut found = version(backend).await?;
    loop {
        let ddl = match found {
            SCHEMA_VERSION => return Ok(()),
            newer if newer > SCHEMA_VERSION => return Err(StoreError::Newer { found, known: SCHEMA_VERSION }),
            old @ 1..SCHEMA_VERSION => {
                let mut ddl = Vec::new();
                for version in old..SCHEMA_VERSION {
                    ddl.extend(after(version, backend, text).await?);
                }
                ddl
            }
            _ => tables(text),
        };
        // In the same transaction: tables and the version they have never disagree.
        let done = backend.ddl([vec![unchanged(found)], ddl, vec![record(SCHEMA_VERSION)]].concat()).await;
        match (done, version(backend).await?) {
            // Another replica was first.
            (Err(_), now) if now != found => found = now,
            (done, _) => return done,
        }
    }
}

async fn version(backend: &Backend) -> Result<i64, StoreError> {
    let rows = backend.query("SELECT version FROM schema_version".into(), vec![]).await?;
    Ok(rows.first().and_then(|row| row.int(0)).unwrap_or(0))
}

/// Fails if the version is no longer the one that was found: what was read of the objects since may be old. Of a division by 0 one
/// database makes a fault, the other a NULL, which the column does not take.
fn unchanged(found: i64) -> String {
    format!("UPDATE schema_version SET version = version / (CASE WHEN version = {found} THEN 1 ELSE 0 END)")
}

fn record(version: i64) -> String {
    format!("INSERT INTO schema_version (one, version) VALUES (1, {version}) ON CONFLICT (one) DO UPDATE SET version = excluded.version")
}
