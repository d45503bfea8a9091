//! What is measured of a network service: the operations, what each needs to be there first, and what it leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::bench::client::{Connection, Target};
use crate::bench::load::Work;
use crate::bench::parallel::{parallel, send_all};
use crate::bench::session::{Admin, log_in};

/// How many ports the list has that is measured.
pub(crate) const LISTED: usize = 1000;
/// What the names of all that is made for one row of the table begin with; gone when the row is done.
const PREFIX: &str = "bench-run-";
/// The network whose ports are listed; in another's cloud it stays, since it takes minutes to make.
const LIST_NETWORK: &str = "bench-list-1000";
/// How many are made by one request while something is prepared, where that is fast.
const BULK: usize = 1000;
/// How many of the listed ports are shown and renamed.
const SHOWN: usize = 256;
/// How many subnets a network is given, and how many rules a group: services may grow slower with what is there already.
const SUBNETS: usize = 10;
/// See [`SUBNETS`].
const RULES: usize = 100;
/// How long a network's ports may take to be gone.
const GONE: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is measured, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A network.
    CreateNetwork,
    /// A subnet, on networks that have few.
    CreateSubnet,
    /// A port with an address of a /16.
    CreatePort,
    /// The same where half of the /16 is taken; only in a store that was filled.
    CreatePortHalfFull,
    /// Fifty ports in one request.
    CreateFiftyPorts,
    /// A thousand ports in one request.
    CreateThousandPorts,
    /// A network's thousand ports, whole.
    ListPorts,
    /// The same, their ids only.
    ListPortIds,
    /// One port.
    ShowPort,
    /// Another name for a port.
    UpdatePort,
    /// A rule of a security group.
    CreateRule,
    /// A port without addresses of its own to anybody, gone.
    DeletePort,
}

impl Operation {
    pub(crate) const ALL: [Self; 12] = [
        Self::CreateNetwork,
        Self::CreateSubnet,
        Self::CreatePort,
        Self::CreatePortHalfFull,
        Self::CreateFiftyPorts,
        Self::CreateThousandPorts,
        Self::ListPorts,
        Self::ListPortIds,
        Self::ShowPort,
        Self::UpdatePort,
        Self::CreateRule,
        Self::DeletePort,
    ];

    /// As the table has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CreateNetwork => "POST network",
            Self::CreateSubnet => "POST subnet",
            Self::CreatePort => "POST port on a /16",
            Self::CreatePortHalfFull => "POST port on a half full /16",
            Self::CreateFiftyPorts => "POST 50 ports at once",
            Self::CreateThousandPorts => "POST 1,000 ports at once",
            Self::ListPorts => "GET 1,000 ports",
            Self::ListPortIds => "GET 1,000 ports, fields=id",
            Self::ShowPort => "GET port",
            Self::UpdatePort => "PUT port (name)",
            Self::CreateRule => "POST security group rule",
            Self::DeletePort => "DELETE port",
        }
    }

    /// Whether it is about one object: these are promised to be quick.
    pub(crate) fn is_of_one(self) -> bool {
        use Operation::*;
        !matches!(self, CreateFiftyPorts | CreateThousandPorts | ListPorts | ListPortIds | CreatePortHalfFull)
    }

    /// How many connections at once it is measured with at most. One in which a request takes ours a large part of a second, and another
    /// minutes, would say nothing new with more.
    pub(crate) fn most_clients(self, pace: Pace) -> usize {
        match (self, pace) {
            (Self::CreateThousandPorts, Pace::Fast) | (Self::CreateFiftyPorts, Pace::Slow) => 1,
            (Self::CreateThousandPorts | Self::CreatePortHalfFull, Pace::Slow) => 0,
            _ => usize::MAX,
        }
    }

    /// How often it is done in one row at most: what it makes must find room, and be tidied up.
    pub(crate) fn most(self, pace: Pace) -> usize {
        let (fast, slow) = match self {
            Self::CreateNetwork => (2000, 300),
            Self::CreateSubnet => (200 * SUBNETS, 16 * SUBNETS),
            Self::CreatePort => (20_000, 400),
            Self::CreatePortHalfFull => (5000, 0),
            Self::CreateFiftyPorts => (200, 2),
            Self::CreateThousandPorts => (10, 0),
            Self::CreateRule => (40 * RULES, 4 * RULES),
            Self::DeletePort => (8000, 60),
            Self::ListPorts | Self::ListPortIds | Self::ShowPort | Self::UpdatePort => (usize::MAX, usize::MAX),
        };
        match pace {
            Pace::Fast => fast,
            Pace::Slow => slow,
        }
    }

    /// Whether it is done some times before it counts; a request of many seconds would only be waited for.
    pub(crate) fn warms_up(self, pace: Pace) -> bool {
        !(self == Self::CreateFiftyPorts && pace == Pace::Slow)
    }

    fn needs_list(self) -> bool {
        matches!(self, Self::ListPorts | Self::ListPortIds | Self::ShowPort | Self::UpdatePort)
    }
}

/// What a service can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Thousands of objects in a moment.
    Fast,
    /// Some a second; what it was made to make is dear.
    Slow,
}

/// A service, ready to be measured.
pub(crate) struct World {
    /// Where it is.
    pub(crate) target: Arc<Target>,
    identity: Arc<Target>,
    admin: Admin,
    /// See [`Pace`].
    pub(crate) pace: Pace,
    /// The administrator's project.
    pub(crate) project_id: String,
    /// Whether it has security groups.
    pub(crate) has_groups: bool,
    token: String,
    /// The network that is listed, and some of its ports.
    listed: Option<(String, Vec<String>)>,
    /// A network whose /16 is half taken.
    pub(crate) half_full: Option<String>,
}

impl World {
    /// Logs in, finds the service in the catalog, tidies up what an earlier run left, and makes the list if one of the operations needs it.
    ///
    /// # Errors
    /// The service cannot be reached, refuses, or answers something that is not measured as what it is called.
    pub(crate) async fn make(url: &str, admin: Admin, pace: Pace, operations: &[Operation]) -> Result<Self> {
        let identity = Arc::new(Target::identity(url)?);
        let session = log_in(&identity, &admin, &mut Connection::new(&identity)).await?;
        let endpoint = session.endpoint("network").context("the catalog names no network service")?;
        let target = Arc::new(Target::service(endpoint, "v2.0")?);
        let groups = target.request("GET", "/security-groups?limit=1", &[("X-Auth-Token", &session.token)], None);
        let has_groups = Connection::new(&target).exchange(&groups).await?.status != 404;
        let (token, project_id) = (session.token, session.project_id);
        let mut world = Self { target, identity, admin, pace, project_id, has_groups, token, listed: None, half_full: None };
        if pace == Pace::Fast {
            world.lift_quota(&world.project_id).await?;
        }
        world.clear().await?;
        if operations.iter().any(|it| it.needs_list()) {
            world.listed = Some(world.list_network().await?);
        }
        Ok(world)
    }

    /// A connection, not yet open.
    pub(crate) fn connection(&self) -> Connection {
        Connection::new(&self.target)
    }

    /// A request with the administrator's token.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Vec<u8> {
        self.target.request(method, path, &[("X-Auth-Token", &self.token)], body)
    }

    /// What a GET answers below `key`.
    ///
    /// # Errors
    /// The service refuses, or answers something else.
    pub(crate) async fn get(&self, path: &str, key: &str) -> Result<Value> {
        let mut answer = self.connection().exchange(&self.request("GET", path, None)).await?.json(200).with_context(|| path.to_owned())?;
        answer.get_mut(key).map(Value::take).with_context(|| format!("{path} answers without {key}"))
    }

    /// Makes several by one request; their ids in the same order.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn make_many(&self, plural: &str, objects: &[Value]) -> Result<Vec<String>> {
        let key = plural.replace('-', "_");
        let mut body = serde_json::Map::new();
        body.insert(key.clone(), objects.into());
        let mut connection = self.connection();
        let answer = connection.exchange(&self.request("POST", &format!("/{plural}"), Some(&body.into()))).await?;
        let made = answer.json(201).with_context(|| format!("making {} {plural}", objects.len()))?;
        let ids = ids(&made[&key]);
        ensure!(ids.len() == objects.len(), "{} {plural} were asked for and {} made", objects.len(), ids.len());
        Ok(ids)
    }

    /// Lets a project have as many of everything as it wants. A service that has no quotas has nothing to lift.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn lift_quota(&self, project_id: &str) -> Result<()> {
        let quota = json!({"network": -1, "subnet": -1, "port": -1, "security_group": -1, "security_group_rule": -1});
        let request = self.request("PUT", &format!("/quotas/{project_id}"), Some(&json!({ "quota": quota })));
        let mut connection = self.connection();
        let answer = connection.exchange(&request).await?;
        if answer.status == 404 { Ok(()) } else { answer.expect(200).context("raising quotas") }
    }

    /// A new network with a /16.
    async fn network(&self, name: &str) -> Result<String> {
        let made = self.make_many("networks", &[json!({ "name": name })]).await?;
        let id = made.into_iter().next().context("no network was made")?;
        self.make_many("subnets", &[json!({"network_id": id, "ip_version": 4, "cidr": "10.0.0.0/16"})]).await?;
        Ok(id)
    }

    /// Puts ports on a network, in the way that is quickest there.
    async fn make_ports(&self, network: &str, count: usize) -> Result<()> {
        let port = json!({ "network_id": network });
        match self.pace {
            Pace::Fast => {
                for made in (0..count).step_by(BULK) {
                    self.make_many("ports", &vec![port.clone(); BULK.min(count - made)]).await?;
                }
                Ok(())
            }
            Pace::Slow => {
                let requests = vec![self.request("POST", "/ports", Some(&json!({ "port": port }))); count];
                send_all(&self.target, "ports made to be measured", requests, 201).await
            }
        }
    }

    /// The network of exactly so many ports, in whole or in part as an earlier run left it.
    async fn list_network(&self) -> Result<(String, Vec<String>)> {
        let found = ids(&self.get(&format!("/networks?name={LIST_NETWORK}&fields=id"), "networks").await?);
        let id = match found.into_iter().next() {
            Some(id) => id,
            None => self.network(LIST_NETWORK).await?,
        };
        let path = format!("/ports?network_id={id}&fields=id");
        let there = ids(&self.get(&path, "ports").await?).len();
        ensure!(there <= LISTED, "the network {LIST_NETWORK} has {there} ports where {LISTED} are listed; delete it");
        self.make_ports(&id, LISTED - there).await?;
        // Each request does what it is called, so that no error page is measured.
        let whole = self.get(&format!("/ports?network_id={id}"), "ports").await?;
        let ids = ids(&self.get(&path, "ports").await?);
        ensure!(whole.as_array().is_some_and(|it| it.len() == LISTED) && ids.len() == LISTED, "the list does not have {LISTED} ports");
        ensure!(whole[0]["fixed_ips"].as_array().is_some_and(|it| it.len() == 1), "a port on the /16 has no address");
        let first = ids.first().context("the list is empty")?;
        ensure!(self.get(&format!("/ports/{first}"), "port").await?["id"] == **first, "another port was shown");
        Ok((id, ids))
    }

    /// How large the measured list is, in words.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn sizes(&self) -> Result<String> {
        let Some((network, _)) = &self.listed else { return Ok("no list".to_owned()) };
        let mut connection = self.connection();
        let answer = connection.exchange(&self.request("GET", &format!("/ports?network_id={network}"), None)).await?;
        answer.expect(200)?;
        Ok(format!("a list of {LISTED} ports has {} bytes", answer.body.len()))
    }

    /// Makes what a row of the table needs, with a new token.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn prepare(&mut self, operation: Operation) -> Result<Row> {
        self.token = log_in(&self.identity, &self.admin, &mut Connection::new(&self.identity)).await?.token;
        let most = operation.most(self.pace);
        let mut requests = Vec::new();
        let mut parents = Vec::new();
        match operation {
            Operation::CreateNetwork => {}
            Operation::CreateSubnet => {
                let network = |number| json!({"name": format!("{PREFIX}{number}")});
                parents = self.make_many("networks", &(0..most / SUBNETS).map(network).collect::<Vec<_>>()).await?;
            }
            Operation::CreateRule => {
                let group = |number| json!({"name": format!("{PREFIX}{number}")});
                parents = self.make_many("security-groups", &(0..most / RULES).map(group).collect::<Vec<_>>()).await?;
            }
            Operation::CreatePort | Operation::CreateFiftyPorts | Operation::CreateThousandPorts => {
                let port = json!({"network_id": self.network(&format!("{PREFIX}ports")).await?});
                let body = match operation {
                    Operation::CreateFiftyPorts => json!({"ports": vec![port; 50]}),
                    Operation::CreateThousandPorts => json!({"ports": vec![port; 1000]}),
                    _ => json!({ "port": port }),
                };
                requests.push(self.request("POST", "/ports", Some(&body)));
            }
            Operation::CreatePortHalfFull => {
                let network = self.half_full.as_ref().context("there is no /16 half full")?;
                requests.push(self.request("POST", "/ports", Some(&json!({"port": {"network_id": network}}))));
            }
            Operation::ListPorts | Operation::ListPortIds | Operation::ShowPort | Operation::UpdatePort => {
                let (network, ports) = self.listed.as_ref().context("there is no list")?;
                match operation {
                    Operation::ListPorts => requests.push(self.request("GET", &format!("/ports?network_id={network}"), None)),
                    Operation::ListPortIds => requests.push(self.request("GET", &format!("/ports?network_id={network}&fields=id"), None)),
                    Operation::ShowPort => {
                        requests.extend(ports.iter().take(SHOWN).map(|id| self.request("GET", &format!("/ports/{id}"), None)));
                    }
                    _ => parents.extend(ports.iter().take(SHOWN).cloned()),
                }
            }
            Operation::DeletePort => {
                let network = self.network(&format!("{PREFIX}ports")).await?;
                self.make_ports(&network, most).await?;
                let ports = ids(&self.get(&format!("/ports?network_id={network}&fields=id"), "ports").await?);
                ensure!(ports.len() == most, "{} ports are there where {most} were made", ports.len());
                requests.extend(ports.iter().map(|id| self.request("DELETE", &format!("/ports/{id}"), None)));
            }
        }
        Ok(Row {
            operation,
            target: Arc::clone(&self.target),
            token: self.token.as_str().into(),
            requests: requests.into(),
            parents: parents.into(),
            next: Arc::default(),
        })
    }

    /// Deletes what rows made, whoever made it.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn clear(&self) -> Result<()> {
        let networks = self.ours("networks").await?;
        let delete = |path: &'static str, id: &String| self.request("DELETE", &format!("/{path}/{id}"), None);
        let requests: Arc<Vec<Vec<u8>>> = Arc::new(networks.iter().map(|id| delete("networks", id)).collect());
        let work = move |mut connection: Connection, number| {
            let requests = Arc::clone(&requests);
            async move {
                let request: &Vec<u8> = requests.get(number).context("no such network")?;
                let answer = connection.exchange(request).await?;
                let is_used = answer.status == 409;
                if !is_used {
                    answer.expect(204)?;
                }
                Ok((connection, is_used.then_some(number)))
            }
        };
        let used = parallel(&self.target, "networks deleted", networks.len(), work).await.context("deleting networks")?;
        for network in used.into_iter().flatten().filter_map(|number| networks.get(number)) {
            let ports = ids(&self.get(&format!("/ports?network_id={network}&fields=id"), "ports").await?);
            send_all(&self.target, "ports deleted", ports.iter().map(|id| delete("ports", id)).collect(), 204).await?;
            self.delete_when_free(&delete("networks", network)).await?;
        }
        if self.has_groups {
            let groups = self.ours("security-groups").await?;
            send_all(&self.target, "security groups deleted", groups.iter().map(|id| delete("security-groups", id)).collect(), 204).await?;
        }
        Ok(())
    }

    /// Deletes a network whose ports were deleted: they may be on their way for a moment.
    async fn delete_when_free(&self, request: &[u8]) -> Result<()> {
        let mut connection = self.connection();
        let until = Instant::now() + GONE;
        loop {
            let answer = connection.exchange(request).await?;
            if answer.status != 409 || Instant::now() > until {
                return answer.expect(204).context("deleting a network");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The ids of what this program makes for a row.
    async fn ours(&self, plural: &str) -> Result<Vec<String>> {
        let all = self.get(&format!("/{plural}?fields=id&fields=name"), &plural.replace('-', "_")).await?;
        let mine = all.as_array().into_iter().flatten().filter(|it| it["name"].as_str().is_some_and(|name| name.starts_with(PREFIX)));
        Ok(mine.filter_map(|it| it["id"].as_str()).map(str::to_owned).collect())
    }

    /// How many of each there are in the store, in words.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn census(&self) -> Result<String> {
        let mut counts = BTreeMap::new();
        for plural in ["networks", "ports", "security-group-rules"] {
            if plural != "security-group-rules" || self.has_groups {
                let all = self.get(&format!("/{plural}?fields=id"), &plural.replace('-', "_")).await?;
                counts.insert(plural, all.as_array().map_or(0, Vec::len));
            }
        }
        Ok(counts.iter().map(|(plural, count)| format!("{count} {plural}")).collect::<Vec<_>>().join(", "))
    }
}

/// One row of the table, for the closed loop.
#[derive(Clone)]
pub(crate) struct Row {
    operation: Operation,
    target: Arc<Target>,
    token: Arc<str>,
    /// Requests ready to be sent, in turns.
    requests: Arc<[Vec<u8>]>,
    /// What others are made below, or what is changed.
    parents: Arc<[String]>,
    /// How often it was done so far: each time about something else.
    next: Arc<AtomicUsize>,
}

impl Row {
    fn parent(&self, number: usize) -> Result<&str> {
        self.parents.get(number % self.parents.len().max(1)).map(String::as_str).context("nothing to be below")
    }

    fn post(&self, plural: &str, singular: &str, fields: Value) -> Vec<u8> {
        let mut body = serde_json::Map::new();
        body.insert(singular.to_owned(), fields);
        self.target.request("POST", &format!("/{plural}"), &[("X-Auth-Token", &self.token)], Some(&body.into()))
    }
}

impl Work for Row {
    fn connection(&self) -> Connection {
        Connection::new(&self.target)
    }

    async fn step(&self, _worker: usize, _turn: usize, connection: &mut Connection) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let ready = || self.requests.get(number % self.requests.len().max(1)).context("nothing to ask for");
        match self.operation {
            Operation::CreateNetwork => {
                let request = self.post("networks", "network", json!({"name": format!("{PREFIX}{number}")}));
                connection.exchange(&request).await?.expect(201)
            }
            Operation::CreateSubnet => {
                // Neighbours in time on different networks; on each a prefix of its own.
                let cidr = format!("10.0.{}.0/24", number / self.parents.len().max(1));
                let fields = json!({"network_id": self.parent(number)?, "ip_version": 4, "cidr": cidr});
                connection.exchange(&self.post("subnets", "subnet", fields)).await?.expect(201)
            }
            Operation::CreateRule => {
                let port = number / self.parents.len().max(1) + 1;
                let fields = json!({
                    "security_group_id": self.parent(number)?, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
                    "port_range_min": port, "port_range_max": port, "remote_ip_prefix": "192.0.2.0/24",
                });
                connection.exchange(&self.post("security-group-rules", "security_group_rule", fields)).await?.expect(201)
            }
            Operation::UpdatePort => {
                let path = format!("/ports/{}", self.parent(number)?);
                let body = json!({"port": {"name": format!("name-{number}")}});
                let request = self.target.request("PUT", &path, &[("X-Auth-Token", &self.token)], Some(&body));
                connection.exchange(&request).await?.expect(200)
            }
            Operation::CreatePort | Operation::CreatePortHalfFull | Operation::CreateFiftyPorts | Operation::CreateThousandPorts => {
                connection.exchange(ready()?).await?.expect(201)
            }
            Operation::ListPorts | Operation::ListPortIds | Operation::ShowPort => connection.exchange(ready()?).await?.expect(200),
            Operation::DeletePort => connection.exchange(ready()?).await?.expect(204),
        }
    }
}

/// The ids of a list.
fn ids(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|it| it["id"].as_str()).map(str::to_owned).collect()
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
    fn what_is_made_finds_room() {
        for operation in Operation::ALL {
            for pace in [Pace::Fast, Pace::Slow] {
                let most = operation.most(pace);
                let ports = match operation {
                    Operation::CreatePort | Operation::DeletePort => most,
                    Operation::CreateFiftyPorts => most * 50,
                    Operation::CreateThousandPorts => most * 1000,
                    // Two rows of it, beside what is there already.
                    Operation::CreatePortHalfFull => most * 2 + (1 << 15),
                    _ => 0,
                };
                assert!(ports <= (1 << 16) - 100, "{operation:?}, {pace:?}");
            }
        }
    }

    #[test]
    fn ids_are_those_of_the_list() {
        assert_eq!(ids(&json!([{"id": "a"}, {"name": "x"}, {"id": "b"}])), ["a", "b"]);
        assert!(ids(&Value::Null).is_empty());
    }
}
