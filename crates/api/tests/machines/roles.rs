//! What each role may do, as Ironic answered the same requests: `fixtures/ironic_roles.json` was recorded of the release it names, with
//! its new defaults and scopes enforced.

use std::collections::BTreeMap;
use std::sync::Mutex;

use http::Method;
use model::baremetal::{ActionEnd, NodeAction, NodeActionObserved, Phase, ProvisionState};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Query;

use crate::desk::{Answer, Desk, Who};
use crate::world::{on_each, on_sqlite};

const NODES: &str = "/baremetal/v1/nodes";
/// The nodes the rows are about: whose they are, by their uuids.
const REC: &str = "00000001-0000-4000-8000-000000000000";
const LEASED: &str = "00000085-0000-4000-8000-000000000000";
const OWNED: &str = "00000084-0000-4000-8000-000000000000";

/// All of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    #[serde(rename = "ironic")]
    _ironic: String,
    /// Who asked, in the order of the answers.
    callers: Vec<String>,
    rows: Vec<Row>,
}

/// One request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// Method and path.
    send: String,
    /// `{demo}` stands for the project of those called `proj…`.
    body: Option<Value>,
    statuses: Vec<u16>,
    /// How many items a list had.
    counts: Option<Vec<Option<usize>>>,
}

impl Row {
    fn load() -> Recorded {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/fixtures/ironic_roles.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn parts(&self) -> (Method, &str) {
        let (method, path) = self.send.split_once(' ').unwrap();
        (method.parse().unwrap(), path)
    }
}

/// Where Cofferdam knowingly answers otherwise than Ironic does to all of its callers.
struct Exception {
    /// The beginning of the row's `send`.
    row: &'static str,
    /// Who asks.
    callers: &'static [&'static str],
    /// What it is answered here.
    status: u16,
    reason: &'static str,
}

/// Whoever administers a project administers the machines, as with Ironic as long as it honours its older rules; the recorded one did not.
const ADMINISTRATORS: [&str; 2] = ["projadmin", "admin"];

const EXCEPTIONS: &[Exception] = &[Exception {
    row: "GET /v1/runbooks/CUSTOM_RB1",
    callers: &["nobody", "projreader", "projmember", "projmanager", "other"],
    status: 404,
    reason: "whose runbook it is not is not told that there is one",
}];

/// What must be answered to a caller.
fn right(recorded: &Recorded, row: &Row, place: usize) -> u16 {
    let caller = recorded.callers[place].as_str();
    if let Some(it) = EXCEPTIONS.iter().find(|it| row.send.starts_with(it.row) && it.callers.contains(&caller)) {
        return it.status;
    }
    let place = if ADMINISTRATORS.contains(&caller) { recorded.callers.iter().position(|it| it == "sysadmin").unwrap() } else { place };
    match row.statuses[place] {
        // Ironic breaks where a token's scope is not the rule's.
        500 => 403,
        status => status,
    }
}

/// Somebody of that name whose token is for the system or for the project.
async fn caller(desk: &Desk, name: &str) -> Who {
    let role = match name {
        "admin" => return desk.admin.clone(),
        "nobody" => "norole",
        "other" => return desk.tenant("other", "other").await,
        _ => name.trim_start_matches("sys").trim_start_matches("proj"),
    };
    if !name.starts_with("sys") {
        return desk.somebody(name, "demo", role).await;
    }
    let user = json!({"user": {"name": name, "domain_id": "default", "password": "secret"}});
    let id = desk.post(&desk.admin, "/identity/v3/users", user).await.expect(201)["user"]["id"].as_str().unwrap().to_owned();
    let roles = desk.get(&desk.admin, &format!("/identity/v3/roles?name={role}")).await.expect(200);
    let role = roles["roles"][0]["id"].as_str().unwrap();
    let grant = format!("/identity/v3/system/users/{id}/roles/{role}");
    desk.call(&desk.admin, Method::PUT, &grant, &[], None).await.expect(204);
    let password = json!({"user": {"id": id, "password": "secret"}});
    let identity = json!({"methods": ["password"], "password": password});
    let body = json!({"auth": {"identity": identity, "scope": {"system": {"all": true}}}});
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    let answer = desk.call(&nobody, Method::POST, "/identity/v3/auth/tokens", &[], Some(body)).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    Who { token: answer.header("x-subject-token").to_owned(), project: String::new(), user: id }
}

/// The world in which was asked.
struct Rack<'a> {
    desk: &'a Desk,
    /// An administrator of the system.
    operator: Who,
    demo: String,
}

impl Rack<'_> {
    /// Makes what is not there, and leaves all nodes at rest.
    async fn restore(&self) {
        let (desk, operator) = (self.desk, &self.operator);
        let fake = |uuid: &str, name: &str| json!({"uuid": uuid, "name": name, "driver": "fake-hardware"});
        let mut leased = fake(LEASED, "lessee-node");
        (leased["owner"], leased["lessee"]) = (json!("someone"), json!(self.demo));
        let mut owned = fake(OWNED, "proj-node");
        owned["owner"] = json!(self.demo);
        for (id, node, state) in [
            (REC, fake(REC, "rec-node"), ProvisionState::Available),
            (LEASED, leased, ProvisionState::Enroll),
            (OWNED, owned, ProvisionState::Enroll),
        ] {
            let path = format!("{NODES}/{id}");
            let found = desk.get(operator, &path).await;
            if found.status.as_u16() == 404 {
                desk.post(operator, NODES, node).await.expect(201);
            } else if found.body["lessee"] != node["lessee"] {
                let back = json!([{"op": "remove", "path": "/lessee"}]);
                desk.patch(operator, &path, back).await.expect(200);
                if node["lessee"].is_string() {
                    let back = json!([{"op": "add", "path": "/lessee", "value": node["lessee"]}]);
                    desk.patch(operator, &path, back).await.expect(200);
                }
            }
            desk.seen(id, state, Phase::Rest).await;
        }
        let card = "/baremetal/v1/ports/00000003-0000-4000-8000-000000000000";
        if desk.get(operator, card).await.status.as_u16() == 404 {
            let body = json!({"uuid": "00000003-0000-4000-8000-000000000000", "node_uuid": REC, "address": "52:54:00:12:34:56"});
            desk.post(operator, "/baremetal/v1/ports", body).await.expect(201);
        }
    }

    /// What is there but for the nodes.
    async fn furnish(&self) {
        let step = json!([{"interface": "bios", "step": "apply_configuration", "args": {"settings": []}, "order": 1}]);
        for (plural, body) in [
            ("ports", json!({"uuid": "00000086-0000-4000-8000-000000000000", "node_uuid": OWNED, "address": "52:54:00:ee:00:01"})),
            ("chassis", json!({"uuid": "00000002-0000-4000-8000-000000000000"})),
            ("allocations", json!({"name": "rec-alloc", "resource_class": "nothing"})),
            ("runbooks", json!({"name": "CUSTOM_RB1", "steps": step, "public": false})),
        ] {
            self.desk.post(&self.operator, &format!("/baremetal/v1/{plural}"), body).await.expect(201);
        }
    }

    /// Asks for one row.
    async fn ask(&self, who: &Who, row: &Row) -> Answer {
        let (method, path) = row.parts();
        let filled = row.body.as_ref().map(|it| it.to_string().replace("{demo}", &self.demo));
        let body = filled.map(|it| serde_json::from_str(&it).unwrap());
        let path = format!("/baremetal{path}");
        let answer = self.desk.call(who, method.clone(), &path, &[("openstack-api-version", "baremetal latest")], body);
        let answer = self.beside_an_engine(answer).await;
        if method != Method::GET && answer.status.is_success() {
            if let (201, Some(made)) = (answer.status.as_u16(), answer.body["uuid"].as_str()) {
                self.desk.delete(&self.operator, &format!("{path}/{made}")).await.expect(204);
            }
            self.restore().await;
        }
        answer
    }

    /// Has what is asked of controllers meanwhile done as the fake hardware does it.
    async fn beside_an_engine<T>(&self, request: impl Future<Output = T>) -> T {
        tokio::pin!(request);
        loop {
            tokio::select! {
                done = &mut request => return done,
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
            }
            for row in self.desk.app.store.list(&Query::<NodeAction>::new()).await.unwrap() {
                if row.observed.end.is_none() {
                    let end = Some(ActionEnd::Done { value: json!({"boot_device": "pxe", "persistent": false}) });
                    self.desk
                        .observe::<NodeAction>(row.id.as_str(), |it| it.observed = NodeActionObserved { begun: true, end: end.clone() })
                        .await;
                }
            }
        }
    }
}

#[test]
fn everybody_may_do_what_it_may_at_ironic() {
    let recorded = Row::load();
    let differences = Mutex::new(Vec::new());
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        desk.post(&desk.admin, "/identity/v3/roles", json!({"role": {"name": "norole"}})).await.expect(201);
        let mut callers = BTreeMap::new();
        for name in &recorded.callers {
            callers.insert(name.as_str(), caller(&desk, name).await);
        }
        let rack = Rack { desk: &desk, operator: callers["sysadmin"].clone(), demo: callers["projreader"].project.clone() };
        rack.restore().await;
        rack.furnish().await;
        for row in &recorded.rows {
            for (place, name) in recorded.callers.iter().enumerate() {
                let answer = rack.ask(&callers[name.as_str()], row).await;
                let (got, wanted) = (answer.status.as_u16(), right(&recorded, row, place));
                let body = row.body.as_ref().map(Value::to_string).unwrap_or_default();
                if got != wanted {
                    let told = format!("{} {body} by {name}: {got} and not {wanted}: {}", row.send, answer.error());
                    differences.lock().unwrap().push(told);
                }
                // How many there are is of another world where all are seen.
                let counted = row.counts.as_ref().and_then(|it| it[place]).filter(|_| got == 200);
                let limited = !name.starts_with("sys") && !ADMINISTRATORS.contains(&name.as_str());
                let shown = answer.body.as_object().and_then(|it| it.values().find_map(Value::as_array)).map(Vec::len);
                if limited && counted.is_some() && counted != shown {
                    differences.lock().unwrap().push(format!("{} by {name}: {shown:?} items and not {counted:?}", row.send));
                }
            }
        }
    });
    let told = differences.into_inner().unwrap();
    let cells = recorded.rows.len() * recorded.callers.len();
    assert!(told.is_empty(), "{} of {cells} cells differ from Ironic:\n{}", told.len(), told.join("\n"));
}

#[test]
fn exceptions_are_of_rows_that_are_there_and_differ() {
    let recorded = Row::load();
    for it in EXCEPTIONS {
        let rows: Vec<&Row> = recorded.rows.iter().filter(|row| row.send.starts_with(it.row)).collect();
        assert!(!rows.is_empty() && it.reason.len() > 20, "{}", it.row);
        for caller in it.callers {
            let place = recorded.callers.iter().position(|name| name == caller).unwrap();
            assert!(rows.iter().all(|row| row.statuses[place] != it.status), "{} by {caller}", it.row);
        }
    }
}

#[test]
fn redacted_fields_of_leased_machines() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let reader = desk.somebody("ria", "demo", "reader").await;
        let id = desk.machine("m1").await;
        let path = format!("{NODES}/{id}");
        let lease = json!([{"op": "add", "path": "/lessee", "value": reader.project}]);
        desk.patch(&desk.admin, &path, lease).await.expect(200);
        let shown = desk.get(&reader, &path).await.expect(200);
        for (field, words) in [
            ("/driver_info/content", "** Redacted - requires baremetal:node:get:driver_info permission. **"),
            ("/driver_internal_info/content", "** Redacted - Requires baremetal:node:get:driver_internal_info permission. **"),
        ] {
            assert_eq!(shown.pointer(field), Some(&json!(words)), "{shown}");
        }
        let own = json!([{"op": "add", "path": "/owner", "value": reader.project}]);
        desk.patch(&desk.admin, &path, own).await.expect(200);
        let shown = desk.get(&reader, &path).await.expect(200);
        assert_eq!(shown["driver_info"]["redfish_password"], "******", "{shown}");
    });
}
