//! Two `cofferdam serve` over one PostgreSQL, each the conductor of a group: nodes are worked on by their own group's and by no other,
//! and everybody sees which of them is alive.
#![cfg(test)]

#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::path::Path;
use std::time::Duration;

use http::Method;
use net::http::Request;
use serde_json::{Value, json};
use support::api::{Answer, Session, send};
use support::serve::{Serve, Setting};
use support::{database, say, wait_for};

/// How long a conductor counts as alive that is not heard of, and some.
const DEAD: Duration = Duration::from_secs(45);

struct Operator {
    base: String,
    token: String,
}

impl Operator {
    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}/baremetal/v1{path}", self.base);
        let request = match body {
            Some(body) => Request::json(method, url.as_str(), body),
            None => Request::new(method, url.as_str()),
        };
        let request = request.header("x-auth-token", &self.token).header("x-openstack-ironic-api-version", "1.95");
        send(request, Duration::from_secs(20)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.body
    }

    fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, Some(body))
    }

    /// Host names, groups and whether they are alive.
    fn conductors(&self) -> Vec<(String, String, bool)> {
        let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
        let all = self.get("/conductors?sort_key=hostname");
        let all = all["conductors"].as_array().unwrap();
        all.iter().map(|it| (text(it, "hostname"), text(it, "conductor_group"), it["alive"].as_bool().unwrap())).collect()
    }

    /// Enrols a node and has it managed; returns its id.
    fn managed(&self, group: &str) -> String {
        let body = json!({"driver": "fake-hardware", "conductor_group": group});
        let made = self.ask(Method::POST, "/nodes", Some(&body));
        assert_eq!(made.status, 201, "{}", made.text);
        let id = made.body["uuid"].as_str().unwrap().to_owned();
        assert_eq!(self.put(&format!("/nodes/{id}/states/provision"), &json!({"target": "manage"})).status, 202);
        self.until(&id, "provision_state", "manageable");
        id
    }

    fn until(&self, id: &str, field: &str, wanted: &str) {
        wait_for(&format!("{field} {wanted}"), Duration::from_secs(30), || {
            let node = self.get(&format!("/nodes/{id}"));
            if node[field] == wanted { Ok(()) } else { Err(format!("{}: {}", node[field], node["last_error"])) }
        });
    }

    /// The conductors that the node's history names for what was done by itself.
    fn workers(&self, id: &str) -> Vec<String> {
        let all = self.get(&format!("/nodes/{id}/history?detail=true"));
        let lines = all["history"].as_array().unwrap();
        let done = lines.iter().filter(|it| it["event"].as_str().unwrap().contains(" -> "));
        done.map(|it| it["conductor"].as_str().unwrap().to_owned()).collect()
    }
}

fn setting(dir: &Path, postgres: &database::Postgres, host: &str, group: &str) -> Setting {
    let config = dir.join(format!("{host}.toml"));
    std::fs::write(&config, format!("[baremetal]\nhost = \"{host}\"\nconductor_group = \"{group}\"\n")).unwrap();
    Setting { config: Some(config), database_url: Some(postgres.url.clone()), ..Setting::new(&dir.join(host)) }
}

fn line(host: &str, group: &str, alive: bool) -> (String, String, bool) {
    (host.to_owned(), group.to_owned(), alive)
}

#[test]
fn each_group_is_worked_on_by_its_own() {
    let Some(postgres) = database::Postgres::new() else {
        say("skipped: COFFERDAM_TEST_POSTGRES is not set");
        return;
    };
    let dir = tempfile::Builder::new().prefix("cofferdam-conductors-").tempdir().unwrap();
    let one = Serve::start(setting(dir.path(), &postgres, "a.example", ""));
    let admin = Session::admin(&one.setting.base(), &one.setting.state_dir);
    let at = |serve: &Serve| Operator { base: serve.setting.base(), token: admin.token.clone() };
    let a = at(&one);
    assert_eq!(a.conductors(), [line("a.example", "", true)]);
    let refused = a.ask(Method::POST, "/nodes", Some(&json!({"driver": "fake-hardware", "conductor_group": "rack2"})));
    assert!(refused.status == 400 && refused.text.contains("No valid host was found"), "{}", refused.text);

    let two = Serve::start(setting(dir.path(), &postgres, "b.example", "rack2"));
    let b = at(&two);
    let both = [line("a.example", "", true), line("b.example", "rack2", true)];
    assert_eq!((a.conductors(), b.conductors()), (both.to_vec(), both.to_vec()));
    assert!(setting(dir.path(), &postgres, "c", "rack2").config.is_some_and(|config| {
        std::fs::write(&config, "[baremetal]\nhost = \"b.example\"\n").is_ok()
            && Setting { config: Some(config), database_url: Some(postgres.url.clone()), ..Setting::new(&dir.path().join("c")) }
                .refused()
                .contains("b.example")
    }));

    // Whoever is asked, each does its own.
    wait_for("the new group is known at both", Duration::from_secs(5), || {
        let hosts = a.get("/drivers/fake-hardware")["hosts"].clone();
        if hosts == json!(["a.example", "b.example"]) { Ok(()) } else { Err(hosts.to_string()) }
    });
    let (of_none, of_rack) = (b.managed(""), a.managed("rack2"));
    assert!(a.workers(&of_none).iter().all(|it| it == "a.example") && !a.workers(&of_none).is_empty(), "{:?}", a.workers(&of_none));
    assert!(b.workers(&of_rack).iter().all(|it| it == "b.example") && !b.workers(&of_rack).is_empty(), "{:?}", b.workers(&of_rack));
    assert_eq!(a.get(&format!("/nodes/{of_rack}"))["conductor"], "b.example");
    let of_b = a.get("/nodes?conductor=b.example");
    assert!(of_b["nodes"].as_array().unwrap().iter().all(|it| it["uuid"] == of_rack.as_str()), "{of_b}");

    // It is killed: what was asked stays undone, nobody else does it, and after a while nothing more is taken.
    two.kill();
    let power = json!({"target": "power on"});
    assert_eq!(a.put(&format!("/nodes/{of_rack}/states/power"), &power).status, 202);
    wait_for("the dead conductor is seen dead", DEAD, || {
        let all = a.conductors();
        if all == [line("a.example", "", true), line("b.example", "rack2", false)] { Ok(()) } else { Err(format!("{all:?}")) }
    });
    wait_for("its node has nobody", Duration::from_secs(5), || {
        let conductor = a.get(&format!("/nodes/{of_rack}"))["conductor"].clone();
        if conductor.is_null() { Ok(()) } else { Err(conductor.to_string()) }
    });
    assert_eq!(a.get(&format!("/nodes/{of_rack}"))["target_power_state"], "power on");
    let refused = a.put(&format!("/nodes/{of_rack}/states/provision"), &json!({"target": "inspect"}));
    assert!(refused.status == 404 && refused.text.contains("rack2"), "{}", refused.text);
    assert_eq!(a.put(&format!("/nodes/{of_none}/states/power"), &power).status, 202);
    a.until(&of_none, "power_state", "power on");

    // It comes back under its name and does what was left; told to end, it is dead at once.
    two.spawn();
    two.await_ready();
    a.until(&of_rack, "power_state", "power on");
    assert_eq!(a.conductors(), both);
    assert!(two.terminate().success());
    assert_eq!(a.conductors()[1], line("b.example", "rack2", false));
    assert_eq!(held(&postgres.url), 2, "both are remembered");
}

/// How many conductors the store has.
fn held(url: &str) -> i64 {
    support::block(async {
        let (client, line) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(line);
        client.query_one("SELECT COUNT(*) FROM r_conductor", &[]).await.unwrap().get(0)
    })
}
