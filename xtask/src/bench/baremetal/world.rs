//! What is measured of a bare metal service: the operations, what each needs to be there first, and what it leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::bench::client::{Connection, Target};
use crate::bench::load::Work;
use crate::bench::parallel::parallel;
use crate::bench::session::Admin;

/// How many nodes the lists have that are measured.
pub(crate) const LISTED: usize = 1000;
/// What the names of all that is made for one row of the table begin with; gone when the row is done.
const PREFIX: &str = "bench-run-";
/// What the names of the listed nodes begin with; in another's cloud they stay, since they take minutes to make.
const LIST_PREFIX: &str = "bench-list-";
/// How many of the listed nodes are shown and changed.
const SHOWN: usize = 256;
/// The header of the version, and the version: what Metal3 asks for is older.
const VERSION: (&str, &str) = ("X-OpenStack-Ironic-API-Version", "1.95");

/// What is measured, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A node of fake hardware.
    Create,
    /// A page of a thousand, in short.
    List,
    /// The same whole.
    ListDetail,
    /// One node.
    Show,
    /// Another word in a node's `extra`.
    Patch,
    /// A node, gone.
    Delete,
}

impl Operation {
    pub(crate) const ALL: [Self; 6] = [Self::Create, Self::List, Self::ListDetail, Self::Show, Self::Patch, Self::Delete];

    /// As the table has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "POST node",
            Self::List => "GET 1,000 nodes",
            Self::ListDetail => "GET 1,000 nodes, detail",
            Self::Show => "GET node",
            Self::Patch => "PATCH node (extra)",
            Self::Delete => "DELETE node",
        }
    }

    /// How often it is done in one row at most: what it makes must be tidied up.
    pub(crate) fn most(self, pace: Pace) -> usize {
        match (self, pace) {
            (Self::Create, Pace::Fast) => 10_000,
            (Self::Create, Pace::Slow) => 300,
            (Self::Delete, Pace::Fast) => 5000,
            (Self::Delete, Pace::Slow) => 100,
            (Self::List | Self::ListDetail | Self::Show | Self::Patch, _) => usize::MAX,
        }
    }
}

/// What a service can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Thousands of nodes in a moment.
    Fast,
    /// Some a second.
    Slow,
}

/// In what one logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The administrator's project.
    Project,
    /// The whole: most of Ironic's interface wants it.
    System,
}

/// Where a service is and who asks.
#[derive(Clone)]
pub(crate) struct Place {
    /// The identity service.
    pub(crate) identity: String,
    /// Who.
    pub(crate) admin: Admin,
    /// See [`Scope`].
    pub(crate) scope: Scope,
    /// The bare metal service, if the catalog is not to be asked.
    pub(crate) endpoint: Option<String>,
}

/// A service, ready to be measured.
pub(crate) struct World {
    /// Where it is.
    pub(crate) target: Arc<Target>,
    place: Place,
    /// See [`Pace`].
    pub(crate) pace: Pace,
    /// Whose requests these are.
    pub(crate) token: String,
    /// Some of the listed nodes.
    listed: Vec<String>,
}

/// A token, and where the catalog says that a service is.
///
/// # Errors
/// The service cannot be reached, or refuses.
pub(crate) async fn log_in(place: &Place, service_type: &str) -> Result<(String, Option<String>)> {
    let target = Arc::new(Target::identity(&place.identity)?);
    let domain = json!({"id": "default"});
    let scope = match place.scope {
        Scope::Project => json!({"project": {"name": place.admin.project, "domain": domain}}),
        Scope::System => json!({"system": {"all": true}}),
    };
    let user = json!({"name": place.admin.user, "password": place.admin.password, "domain": domain});
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}});
    let mut connection = Connection::new(&target);
    let answer = connection.exchange(&target.request("POST", "/auth/tokens", &[], Some(&body))).await?;
    let shown = answer.json(201).with_context(|| format!("logging in as {}", place.admin.user))?;
    let token = answer.header("x-subject-token").context("an answer without X-Subject-Token")?.to_owned();
    let services = shown["token"]["catalog"].as_array().into_iter().flatten().filter(|it| it["type"] == service_type);
    let mut endpoints = services.filter_map(|it| it["endpoints"].as_array()).flatten();
    let endpoint = endpoints.find(|it| it["interface"] == "public").and_then(|it| it["url"].as_str()).map(str::to_owned);
    Ok((token, endpoint))
}

impl World {
    /// Logs in, finds the service, tidies up what an earlier run left, and makes the listed nodes if `lists`.
    ///
    /// # Errors
    /// The service cannot be reached, refuses, or answers something that is not measured as what it is called.
    pub(crate) async fn make(place: Place, pace: Pace, lists: bool) -> Result<Self> {
        let (token, found) = log_in(&place, "baremetal").await?;
        let endpoint = place.endpoint.clone().or(found).context("the catalog names no bare metal service")?;
        let target = Arc::new(Target::service(&endpoint, "v1")?);
        let mut world = Self { target, place, pace, token, listed: Vec::new() };
        world.clear().await?;
        if lists {
            world.list_nodes().await?;
        }
        Ok(world)
    }

    /// A request with the administrator's token.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Vec<u8> {
        self.target.request(method, path, &[("X-Auth-Token", &self.token), VERSION], body)
    }

    /// What a GET answers.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let mut connection = Connection::new(&self.target);
        connection.exchange(&self.request("GET", path, None)).await?.json(200).with_context(|| path.to_owned())
    }

    /// All nodes by pages of a thousand, with these fields.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn nodes(&self, fields: &str) -> Result<Vec<Value>> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let marker = all.last().and_then(|it| it["uuid"].as_str()).map(|it| format!("&marker={it}")).unwrap_or_default();
            let mut page = self.get(&format!("/nodes?limit=1000&fields={fields}{marker}")).await?;
            let nodes = page["nodes"].take();
            let nodes = nodes.as_array().context("an answer without nodes")?;
            all.extend(nodes.iter().cloned());
            if nodes.len() < 1000 {
                return Ok(all);
            }
        }
    }

    /// Makes nodes of fake hardware, several at once.
    async fn make_nodes(&self, prefix: &'static str, from: usize, count: usize) -> Result<Vec<String>> {
        let request = |number: usize| self.request("POST", "/nodes", Some(&node(&format!("{prefix}{number:06}"))));
        let requests: Arc<Vec<Vec<u8>>> = Arc::new((from..from + count).map(request).collect());
        let work = move |mut connection: Connection, number: usize| {
            let requests = Arc::clone(&requests);
            async move {
                let request = requests.get(number).context("no such node")?;
                let made = connection.exchange(request).await?.json(201)?;
                let uuid = made["uuid"].as_str().context("a node without a uuid")?.to_owned();
                Ok((connection, uuid))
            }
        };
        parallel(&self.target, "nodes made to be measured", count, work).await.context("making nodes")
    }

    /// The listed nodes, in whole or in part as an earlier run left them.
    async fn list_nodes(&mut self) -> Result<()> {
        let all = self.nodes("uuid,name").await?;
        let there: Vec<&Value> = all.iter().filter(|it| it["name"].as_str().is_some_and(|name| name.starts_with(LIST_PREFIX))).collect();
        ensure!(there.len() <= LISTED, "{} nodes are called {LIST_PREFIX}… where {LISTED} are listed; delete them", there.len());
        let mut uuids: Vec<String> = there.iter().filter_map(|it| it["uuid"].as_str()).map(str::to_owned).collect();
        let numbers = there.iter().filter_map(|it| it["name"].as_str()?.strip_prefix(LIST_PREFIX)?.parse::<usize>().ok());
        let next = numbers.max().map_or(0, |it| it + 1);
        uuids.extend(self.make_nodes(LIST_PREFIX, next, LISTED - uuids.len()).await?);
        // Each request does what it is called, so that no error page is measured.
        for path in [list_path(Operation::List), list_path(Operation::ListDetail)] {
            let page = self.get(path).await?;
            ensure!(page["nodes"].as_array().is_some_and(|it| it.len() == LISTED), "{path} does not answer with {LISTED} nodes");
        }
        let first = uuids.first().context("the list is empty")?;
        ensure!(self.get(&format!("/nodes/{first}")).await?["uuid"] == **first, "another node was shown");
        self.listed = uuids;
        Ok(())
    }

    /// How large the measured lists are, in words.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn sizes(&self) -> Result<String> {
        let size = async |operation| {
            let mut connection = Connection::new(&self.target);
            let answer = connection.exchange(&self.request("GET", list_path(operation), None)).await?;
            answer.expect(200)?;
            anyhow::Ok(answer.body.len())
        };
        let (short, long) = (size(Operation::List).await?, size(Operation::ListDetail).await?);
        Ok(format!("a list of {LISTED} nodes has {short} bytes, in detail {long}"))
    }

    /// Takes nodes that are there for those that are shown.
    pub(crate) fn know(&mut self, nodes: Vec<String>) {
        self.listed = nodes;
    }

    /// Makes what a row of the table needs, with a new token.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn prepare(&mut self, operation: Operation) -> Result<Row> {
        self.token = log_in(&self.place, "baremetal").await?.0;
        let mut requests = Vec::new();
        match operation {
            Operation::Create | Operation::Patch => {}
            Operation::List | Operation::ListDetail => requests.push(self.request("GET", list_path(operation), None)),
            Operation::Show => {
                requests.extend(self.listed.iter().take(SHOWN).map(|id| self.request("GET", &format!("/nodes/{id}"), None)));
            }
            Operation::Delete => {
                let made = self.make_nodes(PREFIX, 0, operation.most(self.pace)).await?;
                requests.extend(made.iter().map(|id| self.request("DELETE", &format!("/nodes/{id}"), None)));
            }
        }
        Ok(Row {
            operation,
            target: Arc::clone(&self.target),
            token: self.token.as_str().into(),
            requests: requests.into(),
            nodes: self.listed.iter().take(SHOWN).cloned().collect::<Vec<_>>().into(),
            next: Arc::default(),
        })
    }

    /// Deletes what rows made, whoever made it.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn clear(&self) -> Result<()> {
        let all = self.nodes("uuid,name").await?;
        let mine = all.iter().filter(|it| it["name"].as_str().is_some_and(|name| name.starts_with(PREFIX)));
        let delete = |it: &Value| self.request("DELETE", &format!("/nodes/{}", it["uuid"].as_str().unwrap_or_default()), None);
        let requests: Vec<Vec<u8>> = mine.map(delete).collect();
        crate::bench::parallel::send_all(&self.target, "nodes deleted", requests, 204).await
    }
}

fn node(name: &str) -> Value {
    json!({"driver": "fake-hardware", "name": name, "properties": {"cpus": 8, "memory_mb": 32768, "local_gb": 480, "cpu_arch": "x86_64"}})
}

fn list_path(operation: Operation) -> &'static str {
    if operation == Operation::ListDetail { "/nodes/detail?limit=1000" } else { "/nodes?limit=1000" }
}

/// One row of the table, for the closed loop.
#[derive(Clone)]
pub(crate) struct Row {
    operation: Operation,
    target: Arc<Target>,
    token: Arc<str>,
    /// Requests ready to be sent, in turns.
    requests: Arc<[Vec<u8>]>,
    /// What is changed.
    nodes: Arc<[String]>,
    /// How often it was done so far: each time about something else.
    next: Arc<AtomicUsize>,
}

impl Work for Row {
    fn connection(&self) -> Connection {
        Connection::new(&self.target)
    }

    async fn step(&self, _worker: usize, _turn: usize, connection: &mut Connection) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let headers = [("X-Auth-Token", &*self.token), VERSION];
        match self.operation {
            Operation::Create => {
                let request = self.target.request("POST", "/nodes", &headers, Some(&node(&format!("{PREFIX}{number:06}"))));
                connection.exchange(&request).await?.expect(201)
            }
            Operation::Patch => {
                let id = self.nodes.get(number % self.nodes.len().max(1)).context("nothing to change")?;
                let body = json!([{"op": "add", "path": "/extra/word", "value": format!("word-{number}")}]);
                let request = self.target.request("PATCH", &format!("/nodes/{id}"), &headers, Some(&body));
                connection.exchange(&request).await?.expect(200)
            }
            Operation::List | Operation::ListDetail | Operation::Show | Operation::Delete => {
                let request = self.requests.get(number % self.requests.len().max(1)).context("nothing to ask for")?;
                let wanted = if self.operation == Operation::Delete { 204 } else { 200 };
                connection.exchange(request).await?.expect(wanted)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_operation_is_measured_once_under_a_name_of_its_own() {
        let names: BTreeSet<&str> = Operation::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }

    #[test]
    fn what_is_deleted_is_enough_for_both_turns() {
        for pace in [Pace::Fast, Pace::Slow] {
            assert!(Operation::Delete.most(pace) >= 2 * 10);
        }
    }
}
