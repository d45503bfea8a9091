//! What is measured of an identity service: who is there to be asked about, the tokens, and the operations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::bench::client::{Connection, Target};
use crate::bench::load::Work;
use crate::bench::session::{Admin, log_in};

/// How many users have tokens that are validated.
const SUBJECTS: usize = 8;
/// How many tokens each of them has.
const TOKENS: usize = 4;
/// Their password; they have the role of a reader in one empty project, and are gone after the run.
const PASSWORD: &str = "Measured-1-to-8";
/// How many are asked for in one page of a list.
const PAGE: usize = 50;
/// How many are asked for at once when all are wanted.
const LIST_PAGE: usize = 500;
/// How long tokens are used: they live an hour unless configured otherwise.
const TOKEN_AGE: Duration = Duration::from_secs(20 * 60);
/// What the names of all that is made for a run begin with.
const PREFIX: &str = "bench-run-";

/// What is measured, in this order: what changes nothing comes first, since some services grow slower by what was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// GET of another's token, as every other service does for each of its requests.
    Validate,
    /// A token for a token, with the catalog: no password is hashed.
    IssueByToken,
    /// The same for a password.
    IssueByPassword,
    /// A token for a token, without the catalog.
    IssueWithoutCatalog,
    /// A page of the users.
    ListUsers,
    /// One user.
    ShowUser,
    /// A page of the projects.
    ListProjects,
    /// A user without a password made and deleted: two requests, measured as one.
    CreateDeleteUser,
    /// A role given and taken: two requests, measured as one.
    PutDeleteAssignment,
}

impl Operation {
    pub(crate) const ALL: [Self; 9] = [
        Self::Validate,
        Self::IssueByToken,
        Self::IssueByPassword,
        Self::IssueWithoutCatalog,
        Self::ListUsers,
        Self::ShowUser,
        Self::ListProjects,
        Self::CreateDeleteUser,
        Self::PutDeleteAssignment,
    ];

    /// As the table has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::IssueByToken => "issue by token, catalog",
            Self::IssueByPassword => "issue by password, catalog",
            Self::IssueWithoutCatalog => "issue by token, nocatalog",
            Self::ListUsers => "list users, page of 50",
            Self::ShowUser => "show user",
            Self::ListProjects => "list projects, page of 50",
            Self::CreateDeleteUser => "create + delete user",
            Self::PutDeleteAssignment => "put + delete assignment",
        }
    }
}

/// A service, ready to be measured.
#[derive(Clone)]
pub(crate) struct World {
    /// Where it is.
    pub(crate) target: Arc<Target>,
    admin: Arc<Admin>,
    /// Users with passwords, each a reader of the project.
    subjects: Vec<String>,
    /// Users without, one a client, who are given roles.
    grantees: Vec<String>,
    project: String,
    role: String,
    issued: Arc<Issued>,
}

/// One operation on it, for the closed loop.
#[derive(Clone)]
pub(crate) struct Step {
    /// Where.
    pub(crate) world: World,
    /// What.
    pub(crate) operation: Operation,
}

impl Work for Step {
    fn connection(&self) -> Connection {
        self.world.connection()
    }

    async fn step(&self, worker: usize, turn: usize, connection: &mut Connection) -> Result<()> {
        self.world.step(self.operation, worker, turn, connection).await
    }
}

/// Tokens, and the requests that hold them.
struct Issued {
    at: Instant,
    admin: String,
    validate: Vec<Vec<u8>>,
    by_token: Vec<u8>,
    by_password: Vec<Vec<u8>>,
    without_catalog: Vec<u8>,
    list_users: Vec<u8>,
    show_user: Vec<Vec<u8>>,
    list_projects: Vec<u8>,
}

impl World {
    /// Logs in and makes the users and the project of the run, in place of what an earlier one left.
    ///
    /// # Errors
    /// The service cannot be reached, refuses, or answers something that is not measured as what it is called.
    pub(crate) async fn make(target: Target, admin: Admin, clients: usize) -> Result<Self> {
        let target = Arc::new(target);
        let mut connection = Connection::new(&target);
        let token = log_in(&target, &admin, &mut connection).await?.token;
        clear(&target, &token, &mut connection).await?;
        let role = role(&target, &token, &mut connection, "reader").await?;
        let other_role = self::role(&target, &token, &mut connection, "member").await?;
        let project =
            create(&target, &token, &mut connection, "project", json!({"name": format!("{PREFIX}project"), "domain_id": "default"}))
                .await?;
        let (mut subjects, mut grantees) = (Vec::new(), Vec::new());
        for number in 0..SUBJECTS {
            let user = json!({"name": format!("{PREFIX}subject-{number}"), "domain_id": "default", "password": PASSWORD});
            let user = create(&target, &token, &mut connection, "user", user).await?;
            let path = format!("/projects/{project}/users/{user}/roles/{role}");
            let request = target.request("PUT", &path, &[("X-Auth-Token", &token)], None);
            connection.exchange(&request).await?.expect(204).context("giving a role")?;
            subjects.push(user);
        }
        for number in 0..clients {
            let user = json!({"name": format!("{PREFIX}grantee-{number}"), "domain_id": "default"});
            grantees.push(create(&target, &token, &mut connection, "user", user).await?);
        }
        let issued = Issued::issue(&target, &admin, &subjects, &project).await?;
        let world = Self { target, admin: Arc::new(admin), subjects, grantees, project, role: other_role, issued: Arc::new(issued) };
        world.verify().await?;
        Ok(world)
    }

    /// A connection, not yet open.
    pub(crate) fn connection(&self) -> Connection {
        Connection::new(&self.target)
    }

    /// The administrator's token.
    pub(crate) fn token(&self) -> &str {
        &self.issued.admin
    }

    /// Gets new tokens if those there are grow old.
    ///
    /// # Errors
    /// As [`World::make`].
    pub(crate) async fn renew(&mut self) -> Result<()> {
        if self.issued.at.elapsed() > TOKEN_AGE {
            self.issued = Arc::new(Issued::issue(&self.target, &self.admin, &self.subjects, &self.project).await?);
        }
        Ok(())
    }

    /// Deletes what [`World::make`] made.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        self.renew().await?;
        clear(&self.target, self.token(), &mut self.connection()).await
    }

    /// Does an operation once. `turn` chooses whose token or user it is about.
    ///
    /// # Errors
    /// The answer was not what a success is.
    pub(crate) async fn step(&self, operation: Operation, worker: usize, turn: usize, connection: &mut Connection) -> Result<()> {
        let issued = &self.issued;
        match operation {
            Operation::Validate => connection.exchange(pick(&issued.validate, turn)?).await?.expect(200),
            Operation::IssueByToken => connection.exchange(&issued.by_token).await?.expect(201),
            Operation::IssueByPassword => connection.exchange(pick(&issued.by_password, turn)?).await?.expect(201),
            Operation::IssueWithoutCatalog => connection.exchange(&issued.without_catalog).await?.expect(201),
            Operation::ListUsers => connection.exchange(&issued.list_users).await?.expect(200),
            Operation::ShowUser => connection.exchange(pick(&issued.show_user, turn)?).await?.expect(200),
            Operation::ListProjects => connection.exchange(&issued.list_projects).await?.expect(200),
            Operation::CreateDeleteUser => {
                let user = json!({"name": format!("{PREFIX}{worker}-{turn}"), "domain_id": "default"});
                let user = create(&self.target, &issued.admin, connection, "user", user).await?;
                self.send("DELETE", &format!("/users/{user}"), connection).await
            }
            Operation::PutDeleteAssignment => {
                let user = self.grantees.get(worker).context("more clients than were announced")?;
                let path = format!("/projects/{}/users/{user}/roles/{}", self.project, self.role);
                self.send("PUT", &path, connection).await?;
                self.send("DELETE", &path, connection).await
            }
        }
    }

    async fn send(&self, method: &str, path: &str, connection: &mut Connection) -> Result<()> {
        let request = self.target.request(method, path, &[("X-Auth-Token", &self.issued.admin)], None);
        connection.exchange(&request).await?.expect(204)
    }

    /// Looks once that each request does what it is called, so that no error page is measured.
    async fn verify(&self) -> Result<()> {
        let issued = &self.issued;
        let mut connection = self.connection();
        let shown = connection.exchange(pick(&issued.validate, 0)?).await?.json(200).context("validating a token")?;
        let user = self.subjects.first().context("no subjects")?;
        ensure!(shown["token"]["user"]["id"] == **user, "a token was validated as another user's");
        let roles = shown["token"]["roles"].as_array().map_or(0, Vec::len);
        ensure!(roles > 0 && shown["token"]["project"]["id"] == *self.project, "a validated token has no roles or another project");
        for (request, has_catalog) in [(&issued.by_token, true), (pick(&issued.by_password, 0)?, true), (&issued.without_catalog, false)] {
            let shown = connection.exchange(request).await?.json(201).context("issuing a token")?;
            ensure!(shown["token"]["catalog"].is_array() == has_catalog, "a token has a catalog where it should not, or has none");
        }
        let users = connection.exchange(&issued.list_users).await?.json(200).context("listing users")?;
        let count = users["users"].as_array().map_or(0, Vec::len);
        ensure!(count > 0, "there are no users");
        let shown = connection.exchange(pick(&issued.show_user, 0)?).await?.json(200).context("showing a user")?;
        ensure!(shown["user"]["id"] == **user, "another user was shown");
        Ok(())
    }

    /// How large some answers are, in words: they say what is compared.
    ///
    /// # Errors
    /// The service refuses.
    pub(crate) async fn sizes(&self) -> Result<String> {
        let mut connection = self.connection();
        let answer = connection.exchange(&self.issued.by_token).await?;
        let services = answer.json(201)?["token"]["catalog"].as_array().map_or(0, Vec::len);
        let mut text = format!("a token's answer with its catalog of {services} services has {} bytes", answer.body.len());
        let answer = connection.exchange(&self.issued.list_users).await?;
        let users = answer.json(200)?["users"].as_array().map_or(0, Vec::len);
        text.push_str(&format!(", a page of users {}", answer.body.len()));
        if users > PAGE {
            text.push_str(&format!(" (it has {users} where {PAGE} were asked for)"));
        }
        Ok(text)
    }
}

impl Issued {
    async fn issue(target: &Arc<Target>, admin: &Admin, subjects: &[String], project: &str) -> Result<Self> {
        let mut connection = Connection::new(target);
        let token = log_in(target, admin, &mut connection).await?.token;
        let own: &[(&str, &str)] = &[("X-Auth-Token", &token)];
        let scope = json!({"project": {"id": project}});
        let issue =
            |path: &str, identity: Value| target.request("POST", path, &[], Some(&json!({"auth": {"identity": identity, "scope": scope}})));
        let by = |token: &str| json!({"methods": ["token"], "token": {"id": token}});
        let mut by_password = Vec::new();
        let mut subject_tokens = Vec::new();
        for user in subjects {
            let request = issue("/auth/tokens", json!({"methods": ["password"], "password": {"user": {"id": user, "password": PASSWORD}}}));
            subject_tokens.push(token_of(&mut connection, &request).await?);
            by_password.push(request);
        }
        let mut validate = Vec::new();
        for _ in 0..TOKENS {
            for first in &subject_tokens {
                let subject = token_of(&mut connection, &issue("/auth/tokens", by(first))).await?;
                validate.push(target.request("GET", "/auth/tokens", &[("X-Auth-Token", &token), ("X-Subject-Token", &subject)], None));
            }
        }
        let first = subject_tokens.first().context("no subjects")?;
        Ok(Self {
            at: Instant::now(),
            validate,
            by_token: issue("/auth/tokens", by(first)),
            by_password,
            without_catalog: issue("/auth/tokens?nocatalog", by(first)),
            list_users: target.request("GET", &format!("/users?limit={PAGE}"), own, None),
            show_user: subjects.iter().map(|user| target.request("GET", &format!("/users/{user}"), own, None)).collect(),
            list_projects: target.request("GET", &format!("/projects?limit={PAGE}"), own, None),
            admin: token.clone(),
        })
    }
}

fn pick(requests: &[Vec<u8>], turn: usize) -> Result<&Vec<u8>> {
    requests.get(turn % requests.len().max(1)).context("nothing to ask for")
}

async fn token_of(connection: &mut Connection, request: &[u8]) -> Result<String> {
    let answer = connection.exchange(request).await?;
    answer.expect(201)?;
    answer.header("x-subject-token").map(str::to_owned).context("an answer without X-Subject-Token")
}

/// The id of a role by its name.
pub(crate) async fn role(target: &Target, token: &str, connection: &mut Connection, name: &str) -> Result<String> {
    let request = target.request("GET", &format!("/roles?name={name}"), &[("X-Auth-Token", token)], None);
    let list = connection.exchange(&request).await?.json(200).context("listing roles")?;
    let found = list["roles"].as_array().into_iter().flatten().find(|it| it["name"] == name);
    found.and_then(|it| it["id"].as_str()).map(str::to_owned).with_context(|| format!("there is no role {name}"))
}

/// Makes a `user` or a `project`; its id.
pub(crate) async fn create(target: &Target, token: &str, connection: &mut Connection, noun: &str, fields: Value) -> Result<String> {
    let request = target.request("POST", &format!("/{noun}s"), &[("X-Auth-Token", token)], Some(&json!({noun: fields})));
    let made = connection.exchange(&request).await?.json(201).with_context(|| format!("creating a {noun}"))?;
    made[noun]["id"].as_str().map(str::to_owned).with_context(|| format!("a {noun} without id"))
}

/// All users or projects of the default domain, page by page: asked for all at once, Keystone gives the first thousand and does not say that
/// there are more.
pub(crate) async fn list(target: &Target, token: &str, connection: &mut Connection, plural: &str) -> Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut marker = String::new();
    loop {
        let path = format!("/{plural}?domain_id=default&limit={LIST_PAGE}{marker}");
        let page = list_once(target, token, connection, &path, plural).await?;
        let is_whole = page.len() < LIST_PAGE;
        let last = page.last().and_then(|it| it["id"].as_str()).map(str::to_owned);
        let before = all.len();
        all.extend(page.into_iter().filter(|it| it["id"].as_str().is_some_and(|id| seen.insert(id.to_owned()))));
        // Who knows no pages answers the same again.
        match last {
            Some(last) if all.len() > before && !is_whole => marker = format!("&marker={last}"),
            _ => return Ok(all),
        }
    }
}

/// What one request for a list answers.
pub(crate) async fn list_once(target: &Target, token: &str, connection: &mut Connection, path: &str, plural: &str) -> Result<Vec<Value>> {
    let request = target.request("GET", path, &[("X-Auth-Token", token)], None);
    let mut page = connection.exchange(&request).await?.json(200).with_context(|| format!("listing {plural}"))?;
    let Some(Value::Array(items)) = page.get_mut(plural).map(Value::take) else { bail!("a list without {plural}") };
    Ok(items)
}

/// Deletes what this program makes for a run, whoever made it.
async fn clear(target: &Target, token: &str, connection: &mut Connection) -> Result<()> {
    for (noun, plural) in [("user", "users"), ("project", "projects")] {
        for it in list(target, token, connection, plural).await? {
            let (Some(id), Some(name)) = (it["id"].as_str(), it["name"].as_str()) else { continue };
            if name.starts_with(PREFIX) {
                let request = target.request("DELETE", &format!("/{plural}/{id}"), &[("X-Auth-Token", token)], None);
                connection.exchange(&request).await?.expect(204).with_context(|| format!("deleting a {noun}"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_measured_once_under_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = Operation::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }

    #[test]
    fn turns_go_round() {
        let requests = [vec![1], vec![2]];
        assert_eq!(pick(&requests, 3).unwrap(), &vec![2]);
        assert!(pick(&[], 3).is_err());
    }
}
