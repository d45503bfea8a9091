//! Two `cofferdam serve` over one PostgreSQL: what many clients do at both at once comes out as if there were one.
#![cfg(test)]

#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use support::api::{Answer, Service, Session, admin_password};
use support::chance::Chance;
use support::serve::{Serve, Setting};
use support::{block, database, say};

/// Clients of each server.
const CLIENTS: usize = 8;
/// Calls of each client.
const CALLS: usize = 36;
/// What all clients together may have.
const LIMITS: [(&str, usize); 3] = [("network", 9), ("port", 40), ("security_group", 3)];

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// Asks; what is refused is refused for one of these reasons and no other.
fn ask(who: &Session, method: &Method, path: &str, body: &Value, reasons: &[&str]) -> Option<Answer> {
    let answer = who.call_once(method.clone(), Service::Network, path, if body.is_null() { None } else { Some(body) });
    if answer.is_success() {
        return Some(answer);
    }
    let kind = answer.body["NeutronError"]["type"].as_str().unwrap_or_default();
    assert!(reasons.contains(&kind), "{method} {path} {body}: {} {}", answer.status, answer.text);
    None
}

/// A port's addresses.
fn addresses(port: &Value) -> Vec<String> {
    port["fixed_ips"].as_array().unwrap().iter().map(|it| it["ip_address"].as_str().unwrap().to_owned()).collect()
}

/// What a client has in the end.
#[derive(Default)]
struct Left {
    networks: Vec<String>,
    /// With their addresses.
    ports: BTreeMap<String, Vec<String>>,
    refused: usize,
}

/// One client's calls, one after another.
fn client(who: &Session, blue: &str, script: Vec<(u64, u64)>) -> Left {
    let mut left = Left::default();
    for (act, roll) in script {
        let fixed_ips = json!([{"ip_address": format!("10.0.0.{}", 2 + roll / 3)}]);
        match act {
            // More than the quota has room for.
            0..=4 => {
                let mut port = json!({"network_id": blue});
                if roll % 3 == 0 {
                    port["fixed_ips"] = fixed_ips;
                }
                match ask(who, &Method::POST, "/ports", &json!({ "port": port }), &["OverQuota", "IpAddressAlreadyAllocated"]) {
                    Some(made) => drop(left.ports.insert(id(&made.body["port"]), addresses(&made.body["port"]))),
                    None => left.refused += 1,
                }
            }
            5 => {
                let ports = json!({"ports": [{"network_id": blue}, {"network_id": blue}, {"network_id": blue}]});
                match ask(who, &Method::POST, "/ports", &ports, &["OverQuota"]) {
                    Some(made) => left.ports.extend(made.body["ports"].as_array().unwrap().iter().map(|it| (id(it), addresses(it)))),
                    None => left.refused += 1,
                }
            }
            6 | 7 => match ask(who, &Method::POST, "/networks", &json!({"network": {}}), &["OverQuota"]) {
                Some(made) => left.networks.push(id(&made.body["network"])),
                None => left.refused += 1,
            },
            8 => {
                let Some((port, has)) = left.ports.iter_mut().next() else { continue };
                let path = format!("/ports/{port}");
                let body = json!({"port": {"fixed_ips": fixed_ips}});
                if let Some(moved) = ask(who, &Method::PUT, &path, &body, &["IpAddressAlreadyAllocated"]) {
                    *has = addresses(&moved.body["port"]);
                }
            }
            9 | 10 => {
                if let Some((port, _)) = left.ports.pop_last() {
                    ask(who, &Method::DELETE, &format!("/ports/{port}"), &Value::Null, &[]);
                }
            }
            _ => {
                if let Some(network) = left.networks.pop() {
                    ask(who, &Method::DELETE, &format!("/networks/{network}"), &Value::Null, &[]);
                }
            }
        }
    }
    left
}

/// Sees that nothing is there twice nor too often, whoever looks where.
fn check(who: &Session, admin: &Session, details: &str) {
    let ports = who.list(Service::Network, "/ports");
    let networks = admin.list(Service::Network, "/networks");
    let distinct = |what: &str, all: Vec<String>| {
        let set: BTreeSet<&String> = all.iter().collect();
        assert_eq!(set.len(), all.len(), "{what} twice: {all:?}");
    };
    distinct("an address", ports.iter().flat_map(addresses).collect());
    distinct("a MAC address", ports.iter().map(|it| it["mac_address"].to_string()).collect());
    distinct("a segmentation id", networks.iter().map(|it| it["provider:segmentation_id"].to_string()).collect());
    let quota = admin.get(Service::Network, details)["quota"].take();
    for (resource, limit) in LIMITS {
        let used = quota[resource]["used"].as_u64().unwrap();
        assert!(used <= u64::try_from(limit).unwrap(), "{used} of {limit} {resource}s");
    }
    assert!(ports.len() <= LIMITS[1].1, "{} ports", ports.len());
}

/// Who is logged in on another project, at that server.
fn tenant(serve: &Serve, password: &str) -> Session {
    Session::open(&serve.setting.base(), "admin", password, "finance")
}

#[test]
fn two_servers_over_one_database() {
    let Some(postgres) = database::Postgres::new() else {
        say("skipped: COFFERDAM_TEST_POSTGRES is not set");
        return;
    };
    let dir = tempfile::Builder::new().prefix("cofferdam-two-").tempdir().unwrap();
    let setting = |name: &str| Setting { database_url: Some(postgres.url.clone()), ..Setting::new(&dir.path().join(name)) };
    let one = Serve::start(setting("one"));
    let two = Serve::start(setting("two"));
    let password = admin_password(&one.setting.state_dir);
    let admin = Session::admin(&one.setting.base(), &one.setting.state_dir);
    let project = id(&admin.create(Service::Identity, "/projects", "project", &json!({"project": {"name": "finance"}})));
    let user = id(&admin.list(Service::Identity, "/users?name=admin")[0]);
    let role = id(&admin.list(Service::Identity, "/roles?name=member")[0]);
    let path = format!("/projects/{project}/users/{user}/roles/{role}");
    assert_eq!(admin.call_once(Method::PUT, Service::Identity, &path, None).status, 204);
    let limits: serde_json::Map<String, Value> = LIMITS.iter().map(|it| (it.0.to_owned(), json!(it.1))).collect();
    ask(&admin, &Method::PUT, &format!("/quotas/{project}"), &json!({ "quota": limits }), &[]);
    let details = format!("/quotas/{project}/details");

    let finance = [tenant(&one, &password), tenant(&two, &password)];
    let blue = id(&finance[0].create(Service::Network, "/networks", "network", &json!({"network": {"name": "blue"}})));
    let subnet = json!({"subnet": {"network_id": blue, "ip_version": 4, "cidr": "10.0.0.0/24"}});
    let subnet = id(&ask(&finance[1], &Method::POST, "/subnets", &subnet, &[]).unwrap().body["subnet"]);

    let mut chance = Chance::seeded();
    let mut script = || (0..CALLS).map(|_| (chance.below(12), chance.below(180))).collect::<Vec<_>>();
    let scripts: Vec<_> = (0..2 * CLIENTS).map(|_| script()).collect();
    let is_done = AtomicBool::new(false);
    let left: Vec<Left> = std::thread::scope(|scope| {
        let (admin, finance, blue, details, is_done) = (&admin, &finance, blue.as_str(), details.as_str(), &is_done);
        let watcher = scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                check(&finance[1], admin, details);
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let clients = scripts.into_iter().enumerate();
        let clients: Vec<_> = clients.map(|(n, script)| scope.spawn(move || client(&finance[n % 2], blue, script))).collect();
        let left: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_done.store(true, Ordering::Relaxed);
        assert!(watcher.join().is_ok(), "what was there meanwhile");
        left.into_iter().map(|it| it.unwrap_or_else(|_| panic!("a client failed"))).collect()
    });
    assert!(left.iter().map(|it| it.refused).sum::<usize>() > 0, "the quota was never full");

    // Both servers tell the same, and it is what the clients were told.
    let mut networks: BTreeSet<String> = left.iter().flat_map(|it| it.networks.clone()).collect();
    networks.insert(blue.clone());
    let ports: BTreeMap<String, Vec<String>> = left.into_iter().flat_map(|it| it.ports).collect();
    for who in &finance {
        check(who, &admin, &details);
        assert_eq!(who.list(Service::Network, "/networks").iter().map(id).collect::<BTreeSet<_>>(), networks);
        let listed: BTreeMap<_, _> = who.list(Service::Network, "/ports").iter().map(|it| (id(it), addresses(it))).collect();
        assert_eq!(listed, ports);
    }
    let used = |resource: &str| admin.get(Service::Network, &details)["quota"][resource]["used"].clone();
    assert_eq!((used("network"), used("port")), (json!(networks.len()), json!(ports.len())));
    assert_eq!(held(&postgres.url, &format!("ip:{subnet}")), ports.values().map(Vec::len).sum::<usize>());

    // What one made, the other deletes, and nothing stays.
    for (n, port) in ports.keys().enumerate() {
        ask(&finance[n % 2], &Method::DELETE, &format!("/ports/{port}"), &Value::Null, &[]);
    }
    for (n, network) in networks.iter().enumerate() {
        ask(&finance[n % 2], &Method::DELETE, &format!("/networks/{network}"), &Value::Null, &[]);
    }
    assert_eq!((used("network"), used("port"), used("subnet")), (json!(0), json!(0), json!(0)));
    for pool in [format!("ip:{subnet}"), format!("mac:{blue}")] {
        assert_eq!(held(&postgres.url, &pool), 0, "{pool}");
    }
}

/// How many values of a pool are held.
fn held(url: &str, pool: &str) -> usize {
    block(async {
        let (client, line) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(line);
        let count: i64 = client.query_one("SELECT COUNT(*) FROM allocation WHERE pool = $1", &[&pool]).await.unwrap().get(0);
        usize::try_from(count).unwrap()
    })
}
