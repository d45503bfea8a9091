//! Tables and their versions.
//!
//! Every kind has a table of its own with the fixed columns of [`model::Object`] and one text column (`c_…`) for each of
//! [`Kind::COLUMNS`]; a new plain field of a resource needs no migration, a new filterable one does.

use model::{Kind, baremetal, container_infra, fabric, identity, image_compute, net};

use crate::StoreError;
use crate::backend::Backend;

/// The newest schema this binary knows.
pub const SCHEMA_VERSION: i64 = 2;

/// The table of a kind.
pub(crate) fn table<K: Kind>() -> String {
    format!("r_{}", K::NAME)
}

fn kind_ddl<K: Kind>(text: &str) -> Vec<String> {
    let table = table::<K>();
    let columns: String = K::COLUMNS.iter().map(|column| format!(", c_{} {text}", column.name)).collect();
    let mut ddl = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (id {text} PRIMARY KEY, project_id {text}, name {text} NOT NULL, \
             generation BIGINT NOT NULL, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT, deleted_at BIGINT, \
             desired {text} NOT NULL, observed {text} NOT NULL{columns})"
        ),
        format!("CREATE INDEX IF NOT EXISTS {table}_project ON {table} (project_id)"),
        format!("CREATE INDEX IF NOT EXISTS {table}_name ON {table} (name)"),
        format!("CREATE INDEX IF NOT EXISTS {table}_created ON {table} (created_at, id)"),
    ];
    for column in K::COLUMNS {
        ddl.push(format!("CREATE INDEX IF NOT EXISTS {table}_{0} ON {table} (c_{0})", column.name));
    }
    ddl
}

/// All tables, as an empty store gets them.
fn tables(text: &str) -> Vec<String> {
    let mut ddl = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS allocation (pool {text} NOT NULL, value {text} NOT NULL, holder {text} NOT NULL, \
             quarantined_at BIGINT, PRIMARY KEY (pool, value))"
        ),
        "CREATE INDEX IF NOT EXISTS allocation_holder ON allocation (holder)".into(),
        format!(
            "CREATE TABLE IF NOT EXISTS work (kind {text} NOT NULL, id {text} NOT NULL, due_at BIGINT NOT NULL, wakes BIGINT NOT NULL, \
             worker {text}, lease_until BIGINT NOT NULL, epoch BIGINT NOT NULL, attempts BIGINT NOT NULL, PRIMARY KEY (kind, id))"
        ),
        "CREATE INDEX IF NOT EXISTS work_due ON work (due_at)".into(),
        format!(
            "CREATE TABLE IF NOT EXISTS history (id {text} PRIMARY KEY, kind {text} NOT NULL, object_id {text} NOT NULL, \
             at BIGINT NOT NULL, severity {text} NOT NULL, event {text} NOT NULL, detail {text} NOT NULL)"
        ),
        "CREATE INDEX IF NOT EXISTS history_object ON history (kind, object_id, at)".into(),
        format!("CREATE TABLE IF NOT EXISTS setting (key {text} PRIMARY KEY, value {text} NOT NULL)"),
    ];
    ddl.extend(counters(text));
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
    ddl
}

fn counters(text: &str) -> Vec<String> {
    vec![format!("CREATE TABLE IF NOT EXISTS counter (name {text} PRIMARY KEY, value BIGINT NOT NULL)")]
}

/// The kinds of identity that version 1 had not.
fn identity_2(text: &str) -> Vec<String> {
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

/// From version 1: identity grew. The new columns are of what version 1 could not store, so none has a value yet.
fn from_1(text: &str, if_not_exists: &str) -> Vec<String> {
    let mut ddl = counters(text);
    ddl.extend(identity_2(text));
    for (table, column) in [
        (table::<identity::Project>(), "parent_id"),
        (table::<identity::Role>(), "domain_id"),
        (table::<identity::Assignment>(), "group_id"),
        (table::<identity::Region>(), "parent_region_id"),
    ] {
        ddl.push(format!("ALTER TABLE {table} ADD COLUMN {if_not_exists} c_{column} {text}"));
        ddl.push(format!("CREATE INDEX IF NOT EXISTS {table}_{column} ON {table} (c_{column})"));
    }
    ddl
}

/// Brings the tables to [`SCHEMA_VERSION`]; refuses a store from the future.
pub(crate) async fn migrate(backend: &Backend) -> Result<(), StoreError> {
    let make = "CREATE TABLE IF NOT EXISTS schema_version (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)";
    backend.ddl(vec![make.to_owned()]).await?;
    let rows = backend.query("SELECT version FROM schema_version".into(), vec![]).await?;
    let found = rows.first().and_then(|row| row.int(0)).unwrap_or(0);
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer { found, known: SCHEMA_VERSION });
    }
    let text = backend.text_type().await?;
    let mut ddl = match found {
        SCHEMA_VERSION => return Ok(()),
        1 => from_1(text, backend.if_not_exists()),
        _ => tables(text),
    };
    // In the same transaction: tables and the version they have never disagree.
    ddl.push(record(SCHEMA_VERSION));
    backend.ddl(ddl).await
}

fn record(version: i64) -> String {
    format!("INSERT INTO schema_version (one, version) VALUES (1, {version}) ON CONFLICT (one) DO UPDATE SET version = excluded.version")
}
