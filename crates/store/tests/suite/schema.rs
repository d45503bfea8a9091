//! Opening, versions, old rows, file modes.

use model::{Id, Kind, baremetal, container_infra, fabric, identity, image_compute, net};
use serde_json::{Value, json};
use store::{Query, SCHEMA_VERSION, Store, StoreError};

use crate::links;
use crate::things::{create, network, node, read};
use crate::world::{World, on_each, on_sqlite};

#[test]
fn opening_twice_is_fine() {
    on_each(async |world| {
        let net = network("net");
        create(&world.store, &net).await;
        let again = Store::open(&world.url).await.unwrap();
        assert_eq!(read(&again, &net.id).await.name, "net");
        assert_eq!(again.is_embedded(), !world.is_postgres());
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, SCHEMA_VERSION);
        create(&again, &network("other")).await;
    });
}

#[test]
fn several_that_open_an_empty_database_at_once_all_succeed() {
    on_each(async |world| {
        let url = match world.directory() {
            Some(directory) => format!("sqlite:{}", directory.join("fresh.db").display()),
            None => {
                world.raw("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
                world.url.clone()
            }
        };
        let opening: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { Store::open(&url).await })
            })
            .collect();
        for task in opening {
            let store = task.await.unwrap().unwrap();
            create(&store, &network("net")).await;
        }
    });
}

#[test]
fn a_store_from_the_future_is_refused_and_left_alone() {
    on_each(async |world| {
        let newer = SCHEMA_VERSION + 1;
        world.raw(&format!("UPDATE schema_version SET version = {newer}")).await;
        let error = Store::open(&world.url).await.err().expect("refused");
        assert!(matches!(error, StoreError::Newer { found, known } if found == newer && known == SCHEMA_VERSION));
        let text = error.to_string();
        assert!(text.contains("newer binary") && text.contains(&newer.to_string()) && text.contains(&SCHEMA_VERSION.to_string()), "{text}");
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, newer);
    });
}

#[test]
fn what_cannot_be_opened_says_so() {
    on_sqlite(async |world| {
        let missing = world.directory().unwrap().join("no/such/folder/store.db");
        for url in [format!("sqlite:{}", missing.display()), "sqlite::memory:".into(), "sqlite:".into(), "store.db".into()] {
            let error = Store::open(&url).await.err().expect("cannot be opened");
            assert!(matches!(error, StoreError::Open(_)), "{url}: {error:?}");
        }
        let not_ours = world.directory().unwrap().join("text.db");
        std::fs::write(&not_ours, "This is not a database, and long enough not to be taken for the header of one.".repeat(20)).unwrap();
        assert!(Store::open(&format!("sqlite:{}", not_ours.display())).await.is_err());
    });
}

#[cfg(unix)]
#[test]
fn the_file_and_what_lies_beside_it_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    on_sqlite(async |world| {
        let directory = world.directory().unwrap();
        create(&world.store, &network("net")).await;
        let check = || {
            let mut files = 0;
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{:?} has mode {mode:o}", entry.file_name());
                files += 1;
            }
            assert!(files >= 3, "the file, its log and its index");
        };
        check();
        // One that was made wider, by an earlier version or by hand, is narrowed.
        for entry in std::fs::read_dir(directory).unwrap() {
            std::fs::set_permissions(entry.unwrap().path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        let again = Store::open(&world.url).await.unwrap();
        create(&again, &network("other")).await;
        check();
    });
}

/// Takes away what version 3 had not.
async fn back_to_3(world: &World) {
    let mut sql = "DROP TABLE r_chassis; DROP TABLE r_runbook; UPDATE schema_version SET version = 3".to_owned();
    let mut drop_columns = |kind: &str, columns: Vec<&str>, had: &[&str]| {
        for column in columns.into_iter().filter(|it| !had.contains(it)) {
            sql.push_str(&format!("; DROP INDEX IF EXISTS r_{kind}_{column}; ALTER TABLE r_{kind} DROP COLUMN c_{column}"));
        }
    };
    let had = ["provision_state", "resource_class", "instance_uuid"];
    drop_columns("node", baremetal::Node::COLUMNS.iter().map(|it| it.name).collect(), &had);
    drop_columns("baremetal_port", baremetal::BaremetalPort::COLUMNS.iter().map(|it| it.name).collect(), &["node_id", "address"]);
    world.raw(&sql).await;
}

#[test]
fn a_store_of_version_3_is_brought_up() {
    on_each(async |world| {
        let node = node("m1", Some("baremetal"));
        create(&world.store, &node).await;
        back_to_3(world).await;
        // As version 3 wrote it: what is new has its default.
        let old = "{\"driver\":\"redfish\",\"resource_class\":\"baremetal\"}";
        world.raw(&format!("UPDATE r_node SET desired = '{old}' WHERE id = '{}'", node.id)).await;
        let again = Store::open(&world.url).await.unwrap();
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, SCHEMA_VERSION);
        let found = again.list(&Query::<baremetal::Node>::new().column("driver", ["redfish".to_owned()])).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].desired.resource_class.as_deref()), ("m1", Some("baremetal")));
        assert_eq!(again.count(&Query::<baremetal::Chassis>::new()).await.unwrap(), 0);
    });
}

#[test]
fn a_store_of_version_4_is_brought_up() {
    use model::fabric::{PortUse, SwitchPort, SwitchPortDesired};
    on_each(async |world| {
        let (switch, vlan) = (Id::parse("leaf1").unwrap(), net::VlanId::new(101).unwrap());
        let desired = SwitchPortDesired {
            switch: switch.clone(),
            port: "p1".into(),
            wanted: PortUse::Access(vlan),
            holder: None,
            since: model::Timestamp::now(),
            lag: None,
            forced: None,
        };
        let row = model::Object::new(SwitchPortDesired::id_of(&switch, "p1"), None, "leaf1/p1", desired);
        create(&world.store, &row).await;
        assert_eq!(world.store.linked_values::<SwitchPort>("vlan").await.unwrap(), ["101"]);
        world.raw("DELETE FROM link WHERE kind = 'switch_port'; UPDATE schema_version SET version = 4").await;
        let again = Store::open(&world.url).await.unwrap();
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, SCHEMA_VERSION);
        assert_eq!(again.linked_values::<SwitchPort>("vlan").await.unwrap(), ["101"], "found by its VLAN");
    });
}

#[test]
fn a_store_of_version_5_is_brought_up() {
    on_each(async |world| {
        world.raw("DROP TABLE r_conductor; DROP TABLE r_config_drive; UPDATE schema_version SET version = 5").await;
        let store = Store::open(&world.url).await.unwrap();
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, SCHEMA_VERSION);
        assert!(store.list(&Query::<baremetal::Conductor>::new()).await.unwrap().is_empty());
        assert!(store.list(&Query::<baremetal::ConfigDrive>::new()).await.unwrap().is_empty());
    });
}

/// The tables of version 6 whose rows lay apart from their keys.
const TABLES_6: &str = "DROP TABLE history; CREATE TABLE history (id TEXT PRIMARY KEY, kind TEXT NOT NULL, object_id TEXT NOT NULL, \
     at BIGINT NOT NULL, severity TEXT NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL); \
     CREATE INDEX history_object ON history (kind, object_id, at); \
     DROP TABLE allocation; CREATE TABLE allocation (pool TEXT NOT NULL, value TEXT NOT NULL, holder TEXT NOT NULL, \
     quarantined_at BIGINT, PRIMARY KEY (pool, value)); CREATE INDEX allocation_holder ON allocation (holder); \
     DROP TABLE link; CREATE TABLE link (kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL, \
     PRIMARY KEY (kind, name, value, id)); CREATE INDEX link_object ON link (kind, id, name, value); \
     CREATE INDEX r_node_driver ON r_node (c_driver); CREATE INDEX r_node_conductor_group ON r_node (c_conductor_group)";

#[test]
fn a_store_of_version_6_is_brought_up() {
    on_each(async |world| {
        let node = node("m1", None);
        create(&world.store, &node).await;
        world.raw(TABLES_6).await;
        let line = |id: &str, at: u32| format!("INSERT INTO history VALUES ('{id}', 'node', '{}', {at}, 'INFO', '{id}', '{{}}')", node.id);
        let held = "INSERT INTO allocation VALUES ('p', 'a', 'x', NULL); INSERT INTO allocation VALUES ('p', 'b', 'x', 7); \
                    INSERT INTO link VALUES ('switch_port', 'vlan', '101', 'leaf1/p1')";
        world.raw(&format!("{}; {}; {held}; UPDATE schema_version SET version = 6", line("l1", 1), line("l2", 2))).await;
        let again = Store::open(&world.url).await.unwrap();
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, SCHEMA_VERSION);
        let catalog = if world.is_postgres() { "pg_indexes WHERE indexname" } else { "sqlite_master WHERE name" };
        let left = "('r_node_driver', 'r_node_conductor_group', 'history_object', 'history_anew', 'allocation_anew')";
        assert_eq!(world.raw_number(&format!("SELECT COUNT(*) FROM {catalog} IN {left}")).await, 0);
        assert_eq!(world.raw_number(&format!("SELECT COUNT(*) FROM {catalog} = 'allocation_holder'")).await, 1);
        let lines = again.history("node", node.id.as_str(), 10).await.unwrap();
        assert_eq!(lines.iter().map(|it| (it.event.as_str(), it.at.0)).collect::<Vec<_>>(), [("l2", 2), ("l1", 1)]);
        assert_eq!(world.raw_number("SELECT COUNT(*) FROM allocation WHERE holder = 'x'").await, 2);
        assert_eq!(world.raw_number("SELECT quarantined_at FROM allocation WHERE value = 'b'").await, 7);
        assert_eq!(again.linked_values::<fabric::SwitchPort>("vlan").await.unwrap(), ["101"]);
        let taken = again.apply(store::Batch::wishes().hold("p", "a", "y")).await.unwrap_err();
        assert!(matches!(taken, StoreError::Taken { .. }), "{taken:?}");
        again.apply(store::Batch::wishes().hold("p", "c", "y").history(&node.id, store::Severity::Info, "l3", &json!({}))).await.unwrap();
        assert_eq!(again.history("node", node.id.as_str(), 1).await.unwrap()[0].event, "l3");
    });
}

/// Takes away what version 2 had not.
async fn back_to_2(world: &World) {
    back_to_3(world).await;
    let mut sql = "DROP TABLE hole; DROP TABLE hint; DROP TABLE link; UPDATE schema_version SET version = 2".to_owned();
    for kind in ["network_segment", "rbac_policy", "network_quota", "subnetpool", "security_group", "security_group_rule"] {
        sql.push_str(&format!("; DROP TABLE r_{kind}"));
    }
    let mut drop_columns = |kind: &str, columns: Vec<&str>, had: &[&str]| {
        for column in columns.into_iter().filter(|it| !had.contains(it)) {
            sql.push_str(&format!("; DROP INDEX IF EXISTS r_{kind}_{column}; ALTER TABLE r_{kind} DROP COLUMN c_{column}"));
        }
    };
    drop_columns("network", net::Network::COLUMNS.iter().map(|it| it.name).collect(), &[]);
    drop_columns("subnet", net::Subnet::COLUMNS.iter().map(|it| it.name).collect(), &["network_id"]);
    drop_columns("port", net::Port::COLUMNS.iter().map(|it| it.name).collect(), &["network_id", "device_id", "mac_address"]);
    world.raw(&sql).await;
}

#[test]
fn a_store_of_version_2_is_brought_up() {
    on_each(async |world| {
        let (mut shared, plain, external) = (network("it's"), network("plain"), network("external"));
        shared.project_id = Some(Id::parse("owner").unwrap());
        for it in [&shared, &plain, &external] {
            create(&world.store, it).await;
        }
        let mut port = links::port(&plain.id, "p", &["10.0.0.1", "2001:db8::1"]);
        port.desired.device_owner = "compute:nova".into();
        create(&world.store, &port).await;
        let gone = links::port(&plain.id, "p", &[]);
        create(&world.store, &gone).await;
        world.store.apply(store::Batch::wishes().mark_deleted(&gone)).await.unwrap();
        back_to_2(world).await;
        let old = |flags: &str| {
            format!(
                "{{\"admin_state_up\":true,{flags}\"description\":\"it''s\",\"mtu\":1500,\"port_security_enabled\":true,\"segment\":{{\"physical_network\":\"physnet1\",\"vlan\":101}}}}"
            )
        };
        for (it, flags) in [
            (&shared, "\"shared\":true,\"external\":false,"),
            (&plain, "\"shared\":false,"),
            (&external, "\"shared\":true,\"external\":true,"),
        ] {
            world.raw(&format!("UPDATE r_network SET desired = '{}' WHERE id = '{}'", old(flags), it.id)).await;
        }
        world.raw("DELETE FROM counter").await;

        // Several replicas at once.
        let opening: Vec<_> = (0..4)
            .map(|_| {
                let url = world.url.clone();
                tokio::spawn(async move { Store::open(&url).await })
            })
            .collect();
        let mut stores = Vec::new();
        for task in opening {
            stores.push(task.await.unwrap().unwrap());
        }
        let again = stores.remove(0);
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, SCHEMA_VERSION);
        assert_eq!(again.usage("network", "finance").await.unwrap(), 2);
        assert_eq!(again.usage("port", "p").await.unwrap(), 1);
        let found = again.list(&Query::<net::Port>::new().linked("ip_address", ["2001:db8::1".to_owned()])).await.unwrap();
        assert_eq!(found.into_iter().map(|it| it.id).collect::<Vec<_>>(), [port.id.clone()]);
        let found = again.list(&Query::<net::Port>::new().column("device_owner", ["compute:nova".to_owned()])).await.unwrap();
        assert_eq!(found.len(), 1);
        let one = read(&again, &shared.id).await;
        assert_eq!((one.name.as_str(), one.desired.description.as_str(), one.revision), ("it's", "it's", 1));
        assert_eq!(one.desired.segments, read(&again, &shared.id).await.desired.segments, "what had no id has one now, for good");
        let policies = again.list(&Query::<net::access::RbacPolicy>::new().column("object_id", [external.id.to_string()])).await.unwrap();
        let actions: std::collections::BTreeSet<_> = policies.iter().map(|it| it.desired.action.as_str()).collect();
        assert_eq!(actions, ["access_as_external", "access_as_shared"].into());
        assert_eq!(again.count(&Query::<net::access::RbacPolicy>::new()).await.unwrap(), 3);
        assert_eq!(again.usage("rbac_policy", "owner").await.unwrap(), 1);
    });
}

#[test]
fn a_store_of_version_1_is_brought_up() {
    on_each(async |world| {
        let net = network("net");
        create(&world.store, &net).await;
        back_to_2(world).await;
        // Back to what version 1 had.
        world
            .raw(
                "DROP TABLE counter; DROP TABLE r_groups; DROP TABLE r_trust; \
                 DROP INDEX r_project_parent_id; ALTER TABLE r_project DROP COLUMN c_parent_id; \
                 DROP INDEX r_role_domain_id; ALTER TABLE r_role DROP COLUMN c_domain_id; \
                 DROP INDEX r_assignment_group_id; ALTER TABLE r_assignment DROP COLUMN c_group_id; \
                 DROP INDEX r_region_parent_region_id; ALTER TABLE r_region DROP COLUMN c_parent_region_id; \
                 UPDATE schema_version SET version = 1",
            )
            .await;
        let again = Store::open(&world.url).await.unwrap();
        assert_eq!(world.raw_number("SELECT version FROM schema_version").await, SCHEMA_VERSION);
        assert_eq!(read(&again, &net.id).await.name, "net");
        assert_eq!(again.counter("any").await.unwrap(), 0);
        again.apply(store::Batch::wishes().bump("any").bump("any")).await.unwrap();
        assert_eq!(again.counter("any").await.unwrap(), 2);
        let group =
            identity::GroupDesired { domain_id: Id::parse("default").unwrap(), description: String::new(), extra: Default::default() };
        let group = model::Object::<identity::Group>::new(Id::random_hex(), None, "g", group);
        let given =
            identity::AssignmentDesired::new(Id::random_hex(), identity::Actor::Group(group.id.clone()), identity::Target::System, false);
        let given = model::Object::<identity::Assignment>::new(given.id(), None, "", given);
        again.apply(store::Batch::wishes().create(&group).create(&given)).await.unwrap();
        let found = again.list(&store::Query::<identity::Assignment>::new().column("group_id", [group.id.to_string()])).await.unwrap();
        assert_eq!(found.len(), 1);
    });
}

/// Puts rows as an earlier version wrote them into the tables, then reads them as today's types.
#[test]
fn rows_of_version_1_load() {
    on_each(async |world| {
        let rows: Vec<Value> = serde_json::from_str(include_str!("../fixtures/rows-v1.json")).unwrap();
        for row in &rows {
            world.raw(&insert(row)).await;
        }
        let mut loaded = 0;
        loaded += load::<identity::Domain>(world, &rows).await;
        loaded += load::<identity::Project>(world, &rows).await;
        loaded += load::<identity::User>(world, &rows).await;
        loaded += load::<identity::Role>(world, &rows).await;
        loaded += load::<identity::Assignment>(world, &rows).await;
        loaded += load::<identity::Region>(world, &rows).await;
        loaded += load::<identity::Service>(world, &rows).await;
        loaded += load::<identity::Endpoint>(world, &rows).await;
        loaded += load::<net::Network>(world, &rows).await;
        loaded += load::<net::Subnet>(world, &rows).await;
        loaded += load::<net::Port>(world, &rows).await;
        loaded += load::<baremetal::Node>(world, &rows).await;
        loaded += load::<baremetal::BaremetalPort>(world, &rows).await;
        loaded += load::<baremetal::AgentSession>(world, &rows).await;
        loaded += load::<image_compute::Image>(world, &rows).await;
        loaded += load::<image_compute::Flavor>(world, &rows).await;
        loaded += load::<image_compute::Keypair>(world, &rows).await;
        loaded += load::<container_infra::ClusterTemplate>(world, &rows).await;
        loaded += load::<container_infra::Cluster>(world, &rows).await;
        loaded += load::<fabric::Switch>(world, &rows).await;
        loaded += load::<fabric::SwitchPort>(world, &rows).await;
        assert_eq!(loaded, rows.len(), "every row of the fixture belongs to a kind");
    });
}

fn text(row: &Value, key: &str) -> String {
    row[key].as_str().map_or_else(|| "NULL".into(), |it| format!("'{}'", it.replace('\'', "''")))
}

fn insert(row: &Value) -> String {
    let (kind, json) = (row["kind"].as_str().unwrap(), |key: &str| row[key].to_string().replace('\'', "''"));
    format!(
        "INSERT INTO r_{kind} (id, project_id, name, generation, revision, created_at, updated_at, deleted_at, desired, observed) \
         VALUES ({}, {}, {}, 1, 1, 1795258140000001, NULL, NULL, '{}', '{}')",
        text(row, "id"),
        text(row, "project_id"),
        text(row, "name"),
        json("desired"),
        json("observed"),
    )
}

/// Whether all of `old` is in `new`.
fn contains(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => old.iter().all(|(key, old)| new.get(key).is_some_and(|new| contains(new, old))),
        (Value::Array(new), Value::Array(old)) => new.len() == old.len() && new.iter().zip(old).all(|(new, old)| contains(new, old)),
        (new, old) => new == old,
    }
}

fn is_as_at_first(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => ["", "rest", "enroll"].contains(&text.as_str()),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_as_at_first),
    }
}

async fn load<K: Kind>(world: &World, rows: &[Value]) -> usize {
    let mine: Vec<&Value> = rows.iter().filter(|row| row["kind"] == K::NAME).collect();
    assert!(!mine.is_empty(), "no row of kind {} in the fixture", K::NAME);
    for row in &mine {
        let id = Id::<K>::parse(row["id"].as_str().unwrap()).unwrap();
        let found = world.store.get(&id).await.unwrap_or_else(|error| panic!("{error}")).unwrap();
        // What was written then is still there when it is written again; new fields may stand beside it.
        let mut then = row["desired"].clone();
        if let (Some(map), "users") = (then.as_object_mut(), K::NAME) {
            // Tokens of version 1 are of a form that no longer opens: none is left to be void.
            map.remove("tokens_not_before");
        }
        if let (Some(map), "network") = (then.as_object_mut(), K::NAME) {
            // RBAC policies say so since, and there may be several segments.
            map.remove("shared");
            map.remove("external");
            let segment = map.remove("segment").unwrap();
            let now = &serde_json::to_value(&found.desired).unwrap()["segments"][0];
            assert_eq!((&now["physical_network"], &now["segmentation_id"]), (&segment["physical_network"], &segment["vlan"]));
        }
        if let (Some(map), "port") = (then.as_object_mut(), K::NAME) {
            // What is empty is not written any more.
            map.retain(|_, value| *value != json!("") && *value != json!([]) && *value != json!({}));
        }
        let mut seen = row["observed"].clone();
        for map in [&mut then, &mut seen].into_iter().filter_map(Value::as_object_mut).filter(|_| K::NAME == "node") {
            // Neither is what is as it was at first.
            map.retain(|_, value| !is_as_at_first(value));
        }
        assert!(contains(&serde_json::to_value(&found.desired).unwrap(), &then), "{} {id}: {:?}", K::NAME, found.desired);
        assert!(contains(&serde_json::to_value(&found.observed).unwrap(), &seen), "{} {id}: {:?}", K::NAME, found.observed);
        for column in K::COLUMNS {
            drop((column.value)(&found));
        }
    }
    mine.len()
}
