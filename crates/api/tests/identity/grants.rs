//! Roles given to users and groups, and what comes out of them.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::{on_each, on_sqlite};

const V3: &str = "/identity/v3";
const PASSWORD: &str = "correct horse battery staple";

/// Makes an object of identity's and returns its id.
pub(crate) async fn made(desk: &Desk, singular: &str, body: Value) -> String {
    let answer = desk.post(&desk.admin, &format!("{V3}/{singular}s"), json!({ singular: body })).await.expect(201);
    answer[singular]["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn call(desk: &Desk, who: &Who, method: Method, path: &str) -> Answer {
    desk.call(who, method, &format!("{V3}/{path}"), &[], None).await
}

pub(crate) async fn put(desk: &Desk, path: &str) -> u16 {
    call(desk, &desk.admin, Method::PUT, path).await.status.as_u16()
}

pub(crate) async fn get(desk: &Desk, path: &str) -> Value {
    call(desk, &desk.admin, Method::GET, path).await.expect(200)
}

pub(crate) async fn role(desk: &Desk, name: &str) -> String {
    get(desk, &format!("roles?name={name}")).await["roles"][0]["id"].as_str().unwrap().to_owned()
}

fn nobody() -> Who {
    Who { token: String::new(), project: String::new(), user: String::new() }
}

/// The answer to a log-in by password.
pub(crate) async fn login(desk: &Desk, user: &str, scope: Value) -> Answer {
    let identity = json!({"methods": ["password"], "password": {"user": {"id": user, "password": PASSWORD}}});
    let body = json!({"auth": {"identity": identity, "scope": scope}});
    desk.call(&nobody(), Method::POST, &format!("{V3}/auth/tokens"), &[], Some(body)).await
}

/// A token of a user.
pub(crate) async fn logged_in(desk: &Desk, user: &str, scope: Value) -> Who {
    let answer = login(desk, user, scope).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    Who { token: answer.header("x-subject-token").to_owned(), project: String::new(), user: user.to_owned() }
}

/// Whether a token still means something.
pub(crate) async fn is_valid(desk: &Desk, who: &Who) -> bool {
    let headers = [("x-subject-token", who.token.as_str())];
    let status = desk.call(&desk.admin, Method::HEAD, &format!("{V3}/auth/tokens"), &headers, None).await.status.as_u16();
    assert!([200, 404].contains(&status), "{status}");
    status == 200
}

/// A domain with a project and a user, who can log in.
pub(crate) async fn tenant(desk: &Desk, name: &str) -> (String, String, String) {
    let domain = made(desk, "domain", json!({"name": name})).await;
    let project = made(desk, "project", json!({"name": name, "domain_id": domain})).await;
    let user = made(desk, "user", json!({"name": name, "domain_id": domain, "password": PASSWORD})).await;
    (domain, project, user)
}

fn lines(body: &Value) -> &Vec<Value> {
    body["role_assignments"].as_array().unwrap()
}

#[test]
fn every_place_gives_checks_lists_and_takes() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (domain, project, user) = tenant(&desk, "acme").await;
        let group = made(&desk, "group", json!({"name": "staff", "domain_id": domain})).await;
        let auditor = made(&desk, "role", json!({"name": "auditor"})).await;
        let mut places = Vec::new();
        for actor in [format!("users/{user}"), format!("groups/{group}")] {
            for target in [format!("projects/{project}"), format!("domains/{domain}"), "system".to_owned()] {
                places.push((format!("{target}/{actor}/roles"), ""));
                if target != "system" {
                    places.push((format!("OS-INHERIT/{target}/{actor}/roles"), "/inherited_to_projects"));
                }
            }
        }
        for (all, end) in &places {
            let one = format!("{all}/{auditor}{end}");
            let listed = async || get(&desk, &format!("{all}{end}")).await["roles"].as_array().unwrap().len();
            assert_eq!(listed().await, 0, "{all}: not given by another place");
            for method in [Method::GET, Method::HEAD, Method::DELETE] {
                assert_eq!(call(&desk, &desk.admin, method, &one).await.status.as_u16(), 404, "{one}");
            }
            assert_eq!((put(&desk, &one).await, put(&desk, &one).await), (204, 204), "twice is once");
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(call(&desk, &desk.admin, method, &one).await.status.as_u16(), 204, "{one}");
            }
            assert_eq!(listed().await, 1);
            call(&desk, &desk.admin, Method::DELETE, &one).await.expect(204);
            let gone = call(&desk, &desk.admin, Method::DELETE, &one).await;
            gone.refused(404, "Could not find role assignment");
            let wrong = [one.replace(&auditor, "nothing"), one.replace(&user, "nobody").replace(&group, "nobody")];
            for wrong in wrong.into_iter().chain([one.replace(&project, "nowhere").replace(&domain, "nowhere")]).filter(|it| *it != one) {
                assert_eq!(put(&desk, &wrong).await, 404, "{wrong}");
                assert_eq!(call(&desk, &desk.admin, Method::DELETE, &wrong).await.status.as_u16(), 404, "{wrong}");
            }
        }
    });
}

#[test]
fn roles_of_a_domain_stay_there() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let (acme, project, user) = tenant(&desk, "acme").await;
        let (_, elsewhere, _) = tenant(&desk, "umbrella").await;
        let own = made(&desk, "role", json!({"name": "auditor", "domain_id": acme})).await;
        assert_eq!(put(&desk, &format!("projects/{project}/users/{user}/roles/{own}")).await, 204);
        let path = format!("projects/{elsewhere}/users/{user}/roles/{own}");
        call(&desk, &desk.admin, Method::PUT, &path).await.refused(403, "must be in the same domain as the role");
        let path = format!("system/users/{user}/roles/{own}");
        call(&desk, &desk.admin, Method::PUT, &path).await.refused(400, "domain-specific role");
    });
}

#[test]
fn who_loses_a_role_loses_the_tokens_it_counted_for() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (domain, project, user) = tenant(&desk, "acme").await;
        let member = role(&desk, "member").await;
        let group = made(&desk, "group", json!({"name": "staff", "domain_id": domain})).await;
        assert_eq!(put(&desk, &format!("groups/{group}/users/{user}")).await, 204);
        let reader = role(&desk, "reader").await;
        for target in [format!("projects/{project}"), format!("domains/{domain}"), "system".to_owned()] {
            assert_eq!(put(&desk, &format!("{target}/users/{user}/roles/{reader}")).await, 204);
        }
        let scopes = [
            (format!("projects/{project}"), json!({"project": {"id": project}})),
            (format!("domains/{domain}"), json!({"domain": {"id": domain}})),
            ("system".to_owned(), json!({"system": {"all": true}})),
        ];
        for actor in [format!("users/{user}"), format!("groups/{group}")] {
            for (target, scope) in &scopes {
                let grant = format!("{target}/{actor}/roles/{member}");
                assert_eq!(put(&desk, &grant).await, 204);
                let token = logged_in(&desk, &user, scope.clone()).await;
                let other = logged_in(&desk, &user, scopes[if *target == "system" { 0 } else { 2 }].1.clone()).await;
                assert!(is_valid(&desk, &token).await);
                call(&desk, &desk.admin, Method::DELETE, &grant).await.expect(204);
                assert!(!is_valid(&desk, &token).await, "{grant}");
                assert!(is_valid(&desk, &other).await, "{grant}: others are not touched");
                assert!(is_valid(&desk, &logged_in(&desk, &user, scope.clone()).await).await, "{grant}: the next holds");
            }
        }
        // The same for what is inherited.
        let grant = format!("OS-INHERIT/domains/{domain}/groups/{group}/roles/{member}/inherited_to_projects");
        assert_eq!(put(&desk, &grant).await, 204);
        let token = logged_in(&desk, &user, json!({"project": {"id": project}})).await;
        call(&desk, &desk.admin, Method::DELETE, &grant).await.expect(204);
        assert!(!is_valid(&desk, &token).await);
    });
}

#[test]
fn managers_of_a_domain_give_three_roles_within_it() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let (acme, project, boss) = tenant(&desk, "acme").await;
        let (umbrella, elsewhere, stranger) = tenant(&desk, "umbrella").await;
        let user = made(&desk, "user", json!({"name": "ann", "domain_id": acme})).await;
        let group = made(&desk, "group", json!({"name": "staff", "domain_id": acme})).await;
        let auditor = made(&desk, "role", json!({"name": "auditor"})).await;
        let [manager, member, reader, admin] = [role(&desk, "manager"), role(&desk, "member"), role(&desk, "reader"), role(&desk, "admin")];
        let [manager, member, reader, admin] = [manager.await, member.await, reader.await, admin.await];
        assert_eq!(put(&desk, &format!("domains/{acme}/users/{boss}/roles/{manager}")).await, 204);
        let who = logged_in(&desk, &boss, json!({"domain": {"id": acme}})).await;
        for actor in [format!("users/{user}"), format!("groups/{group}")] {
            for target in [format!("projects/{project}"), format!("domains/{acme}")] {
                for role in [&manager, &member, &reader] {
                    let path = format!("{target}/{actor}/roles/{role}");
                    for method in [Method::PUT, Method::HEAD, Method::DELETE] {
                        assert_eq!(call(&desk, &who, method, &path).await.status.as_u16(), 204, "{path}");
                    }
                }
                for role in [&admin, &auditor] {
                    let path = format!("{target}/{actor}/roles/{role}");
                    assert_eq!(call(&desk, &who, Method::PUT, &path).await.status.as_u16(), 403, "{path}");
                    assert_eq!(call(&desk, &who, Method::DELETE, &path).await.status.as_u16(), 403, "{path}");
                }
            }
        }
        for path in [
            format!("projects/{elsewhere}/users/{user}/roles/{member}"),
            format!("domains/{umbrella}/users/{user}/roles/{member}"),
            format!("projects/{project}/users/{stranger}/roles/{member}"),
            format!("system/users/{user}/roles/{member}"),
            // Who may not see a thing is not told whether it is there.
            format!("projects/{project}/users/nobody/roles/{member}"),
            format!("projects/nowhere/users/{user}/roles/{member}"),
            format!("projects/{project}/users/{user}/roles/nothing"),
        ] {
            assert_eq!(call(&desk, &who, Method::PUT, &path).await.status.as_u16(), 403, "{path}");
            assert_eq!(call(&desk, &who, Method::DELETE, &path).await.status.as_u16(), 403, "{path}");
        }
        // Of the list such a manager sees what is in the domain.
        assert_eq!(put(&desk, &format!("projects/{elsewhere}/users/{stranger}/roles/{member}")).await, 204);
        assert_eq!(put(&desk, &format!("projects/{project}/users/{user}/roles/{member}")).await, 204);
        let seen = call(&desk, &who, Method::GET, "role_assignments").await.expect(200);
        let scopes: BTreeSet<String> = lines(&seen).iter().map(|it| it["scope"].to_string()).collect();
        let both = [json!({"domain": {"id": acme}}).to_string(), json!({"project": {"id": project}}).to_string()];
        assert_eq!(scopes, BTreeSet::from(both));
        let roles = call(&desk, &who, Method::GET, "roles").await.expect(200);
        assert!(roles["roles"].as_array().unwrap().iter().any(|it| it["name"] == "member"));
        assert_eq!(desk.post(&who, &format!("{V3}/roles"), json!({"role": {"name": "x"}})).await.status.as_u16(), 403);
    });
}

#[test]
fn lists_are_filtered_named_and_checked() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (domain, project, user) = tenant(&desk, "acme").await;
        let below = made(&desk, "project", json!({"name": "below", "domain_id": domain, "parent_id": project})).await;
        let group = made(&desk, "group", json!({"name": "staff", "domain_id": domain})).await;
        let auditor = made(&desk, "role", json!({"name": "auditor"})).await;
        let clerk = made(&desk, "role", json!({"name": "clerk"})).await;
        call(&desk, &desk.admin, Method::PUT, &format!("roles/{auditor}/implies/{clerk}")).await.expect(201);
        assert_eq!(put(&desk, &format!("groups/{group}/users/{user}")).await, 204);
        assert_eq!(put(&desk, &format!("projects/{project}/users/{user}/roles/{clerk}")).await, 204);
        assert_eq!(put(&desk, &format!("system/users/{user}/roles/{clerk}")).await, 204);
        assert_eq!(put(&desk, &format!("OS-INHERIT/projects/{project}/groups/{group}/roles/{auditor}/inherited_to_projects")).await, 204);
        let count = async |query: &str| lines(&get(&desk, &format!("role_assignments?{query}")).await).len();
        assert_eq!(count(&format!("user.id={user}")).await, 2);
        assert_eq!(count(&format!("group.id={group}")).await, 1);
        assert_eq!(count(&format!("role.id={clerk}")).await, 2);
        assert_eq!(count(&format!("scope.system=all&user.id={user}")).await, 1);
        assert_eq!(count(&format!("scope.project.id={project}")).await, 2);
        assert_eq!(count(&format!("scope.project.id={project}&scope.OS-INHERIT:inherited_to=projects")).await, 1);
        assert_eq!(count(&format!("scope.project.id={below}")).await, 0);
        assert_eq!(count(&format!("scope.project.id={project}&include_subtree")).await, 2);
        assert_eq!(count(&format!("scope.project.id={project}&include_subtree&effective")).await, 3);
        assert_eq!(count("scope.project.id=nowhere").await, 0);
        assert_eq!(count(&format!("user.id={user}&effective&role.id={auditor}")).await, 1);
        assert_eq!(count(&format!("user.id={user}&effective=0")).await, 2);

        let body = get(&desk, &format!("role_assignments?scope.project.id={below}&effective&include_names")).await;
        let in_domain = |id: &str, name: &str| json!({"id": id, "name": name, "domain": {"id": domain, "name": "acme"}});
        let scope = json!({"project": in_domain(&below, "below"), "OS-INHERIT:inherited_to": "projects"});
        assert_eq!(lines(&body).len(), 2);
        let line = |name: &str| lines(&body).iter().find(|it| it["role"]["name"] == name).unwrap().clone();
        let link = |line: &Value, name: &str| line["links"][name].as_str().map(|it| it.split_once("/v3/").unwrap().1.to_owned());
        let given = format!("OS-INHERIT/projects/{project}/groups/{group}/roles/{auditor}/inherited_to_projects");
        for name in ["auditor", "clerk"] {
            let line = line(name);
            assert_eq!((&line["scope"], &line["user"]), (&scope, &in_domain(&user, "acme")));
            assert_eq!(link(&line, "assignment"), Some(given.clone()));
            assert_eq!(link(&line, "membership"), Some(format!("groups/{group}/users/{user}")));
        }
        assert_eq!(link(&line("auditor"), "prior_role"), None);
        assert_eq!(link(&line("clerk"), "prior_role"), Some(format!("prior_role/{clerk}/implies/{auditor}")));

        for (query, word) in [
            ("scope.project.id=a&scope.domain.id=b", "Specify a domain or project, not both"),
            ("scope.system=all&scope.domain.id=b", "Specify system or domain, not both"),
            ("scope.system=all&scope.project.id=b", "Specify system or project, not both"),
            ("group.id=a&effective", "will always result in an empty list"),
            ("scope.domain.id=a&effective&scope.OS-INHERIT:inherited_to=projects", "will always result in an empty list"),
            ("include_subtree", "scope.project.id"),
            ("user.id=a&group.id=b", ""),
        ] {
            call(&desk, &desk.admin, Method::GET, &format!("role_assignments?{query}")).await.refused(400, word);
        }
        let path = "role_assignments?scope.project.id=nowhere&effective";
        call(&desk, &desk.admin, Method::GET, path).await.refused(404, "Could not find project: nowhere.");

        // What is no more has no assignments.
        call(&desk, &desk.admin, Method::DELETE, &format!("groups/{group}")).await.expect(204);
        assert_eq!(count(&format!("scope.project.id={project}")).await, 1);
        call(&desk, &desk.admin, Method::DELETE, &format!("users/{user}")).await.expect(204);
        assert_eq!(count(&format!("scope.project.id={project}")).await, 0);
    });
}

/// A number that differs from run to run, or the one of the run to repeat: printed, so that a failure can be.
/// A domain is the project above all of its projects (recorded of Keystone 30.0.0; what it lists beside is left out: all that is inherited
/// anywhere, some of it twice, and what a domain's projects inherit as if the domain itself did).
#[test]
fn a_domain_s_tree_is_all_of_its_projects() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (domain, first, member) = tenant(&desk, "acme").await;
        let (other, foreign, stranger) = tenant(&desk, "other").await;
        let below = made(&desk, "project", json!({"name": "below", "domain_id": domain, "parent_id": first})).await;
        let third = made(&desk, "project", json!({"name": "third", "domain_id": domain})).await;
        let empty = made(&desk, "domain", json!({"name": "empty"})).await;
        let group = made(&desk, "group", json!({"name": "staff", "domain_id": domain})).await;
        let mut users = BTreeMap::new();
        for name in ["manager", "owner", "reader", "grouped", "head"] {
            let user = json!({"name": name, "domain_id": domain, "password": PASSWORD});
            users.insert(name, made(&desk, "user", user).await);
        }
        let mut roles = BTreeMap::new();
        for name in ["admin", "manager", "member", "reader"] {
            roles.insert(name, role(&desk, name).await);
        }
        for path in [
            format!("groups/{group}/users/{}", users["grouped"]),
            format!("domains/{domain}/users/{}/roles/{}", users["manager"], roles["manager"]),
            format!("domains/{domain}/users/{}/roles/{}", users["owner"], roles["admin"]),
            format!("domains/{domain}/users/{}/roles/{}", users["reader"], roles["reader"]),
            format!("projects/{first}/users/{member}/roles/{}", roles["member"]),
            format!("projects/{first}/users/{}/roles/{}", users["head"], roles["admin"]),
            format!("projects/{below}/groups/{group}/roles/{}", roles["reader"]),
            format!("projects/{foreign}/users/{member}/roles/{}", roles["reader"]),
            format!("OS-INHERIT/domains/{domain}/groups/{group}/roles/{}/inherited_to_projects", roles["reader"]),
            format!("OS-INHERIT/projects/{first}/users/{}/roles/{}/inherited_to_projects", users["manager"], roles["reader"]),
            format!("OS-INHERIT/domains/{other}/users/{stranger}/roles/{}/inherited_to_projects", roles["reader"]),
        ] {
            assert_eq!(put(&desk, &path).await, 204, "{path}");
        }
        let mut called: BTreeMap<String, &str> = users.iter().map(|(name, id)| (id.clone(), *name)).collect();
        called.extend(roles.iter().map(|(name, id)| (id.clone(), *name)));
        called.extend([(member.clone(), "member"), (group.clone(), "staff")]);
        called.extend([(first.clone(), "first"), (below.clone(), "below"), (third.clone(), "third")]);
        let told = |body: &Value| {
            let mut all = Vec::new();
            for line in lines(body) {
                let of = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).map(|id| called.get(id).copied().unwrap_or(id));
                let who = of("/user/id").or(of("/group/id")).unwrap();
                let kind = if line["scope"].get("OS-INHERIT:inherited_to").is_some() { " (inherited)" } else { "" };
                all.push(format!("{who} {} on {}{kind}", of("/role/id").unwrap(), of("/scope/project/id").unwrap()));
            }
            all.sort();
            all
        };
        let tree = format!("role_assignments?scope.project.id={domain}&include_subtree");
        let given =
            ["head admin on first", "manager reader on first (inherited)", "member member on first", "staff reader on below"].as_slice();
        let effective = [
            "grouped reader on below",
            "grouped reader on below (inherited)",
            "grouped reader on first (inherited)",
            "grouped reader on third (inherited)",
            "head admin on first",
            "head manager on first",
            "head member on first",
            "head reader on first",
            "manager reader on below (inherited)",
            "member member on first",
            "member reader on first",
        ]
        .as_slice();
        let inherited = &effective.iter().copied().filter(|it| it.ends_with("(inherited)")).collect::<Vec<_>>()[..];
        let only = "scope.OS-INHERIT:inherited_to=projects";
        for (path, wanted) in [
            (tree.clone(), given),
            (format!("{tree}=true&include_names=true"), given),
            (format!("{tree}&effective"), effective),
            (format!("{tree}&effective&include_names"), effective),
            (format!("{tree}&{only}"), &given[1..2]),
            (format!("{tree}&effective&{only}"), inherited),
            (format!("{tree}&user.id={}", users["grouped"]), &[]),
            (format!("{tree}&effective&user.id={}", users["grouped"]), &effective[..4]),
            (format!("role_assignments?scope.project.id={domain}"), &[]),
            (format!("role_assignments?scope.project.id={domain}&effective"), &[]),
            (format!("role_assignments?scope.project.id={empty}&include_subtree"), &[]),
            (format!("role_assignments?scope.project.id={empty}&include_subtree&effective"), &[]),
        ] {
            assert_eq!(told(&get(&desk, &path).await), wanted, "{path}");
        }
        let body = get(&desk, &format!("{tree}&include_names")).await;
        let line = lines(&body).iter().find(|it| it.get("group").is_some()).unwrap();
        let in_domain = |id: &str, name: &str| json!({"id": id, "name": name, "domain": {"id": domain, "name": "acme"}});
        assert_eq!(line["scope"]["project"], in_domain(&below, "below"));

        let on_domain = json!({"domain": {"id": domain}});
        let on_project = json!({"project": {"id": first}});
        for (who, scope, with_tree, without) in [
            (&users["owner"], &on_domain, 200, 200),
            (&users["manager"], &on_domain, 403, 200),
            (&users["reader"], &on_domain, 403, 200),
            (&users["head"], &on_project, 200, 200),
            (&member, &on_project, 403, 403),
        ] {
            let token = logged_in(&desk, who, scope.clone()).await;
            for (path, status) in [
                (tree.clone(), with_tree),
                (format!("{tree}&effective"), with_tree),
                (format!("role_assignments?scope.project.id={domain}"), without),
                (format!("role_assignments?scope.project.id={domain}&effective"), without),
            ] {
                let answer = call(&desk, &token, Method::GET, &path).await;
                assert_eq!(answer.status.as_u16(), status, "{} {path}: {}", called[who], answer.body);
                if status == 200 && path == tree {
                    assert_eq!(told(&answer.body), given);
                }
            }
        }
    });
}

fn seed() -> u64 {
    let given = std::env::var("COFFERDAM_TEST_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from_str_radix(&model::Id::<()>::random_hex().as_str()[..12], 16).unwrap()) | 1;
    println!("COFFERDAM_TEST_SEED={seed}");
    seed
}

/// Numbers without pattern (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % count
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Where a role is given: a project of the tree, the domain, or the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ground {
    Project(usize),
    Domain,
    System,
}

/// What the test knows to have been done; everything by its place in the lists of the test.
#[derive(Default)]
struct Book {
    /// (user, group)
    members: BTreeSet<(usize, usize)>,
    /// (role, whether a group, user or group, where, inherited)
    given: BTreeSet<(usize, bool, usize, Ground, bool)>,
    /// (role, the role it implies)
    implied: BTreeSet<(usize, usize)>,
}

/// What is above each project.
const ABOVE: [Option<usize>; 5] = [None, Some(0), Some(1), Some(0), None];
/// The last of the roles is the domain's own.
const ROLES: usize = 6;
const USERS: usize = 3;
const GROUPS: usize = 2;

impl Book {
    /// The roles of a user on something, by the definition of it.
    fn roles(&self, user: usize, on: Ground) -> BTreeSet<usize> {
        let is_above = |ground: Ground| match (ground, on) {
            (Ground::Domain, Ground::Project(_)) => true,
            (Ground::Project(above), Ground::Project(mut at)) => loop {
                match ABOVE[at] {
                    Some(next) if next == above => break true,
                    Some(next) => at = next,
                    None => break false,
                }
            },
            _ => false,
        };
        let is_theirs = |is_group: bool, who: usize| if is_group { self.members.contains(&(user, who)) } else { who == user };
        let counts = |ground: Ground, inherited: bool| if inherited { is_above(ground) } else { ground == on };
        let direct =
            self.given.iter().filter(|(_, is_group, who, ground, inherited)| is_theirs(*is_group, *who) && counts(*ground, *inherited));
        let mut roles: BTreeSet<usize> = direct.map(|it| it.0).collect();
        loop {
            let more: BTreeSet<usize> = self.implied.iter().filter(|(prior, _)| roles.contains(prior)).map(|it| it.1).collect();
            if more.is_subset(&roles) {
                roles.remove(&(ROLES - 1));
                return roles;
            }
            roles.extend(more);
        }
    }
}

#[test]
fn effective_roles_are_those_of_a_simple_model() {
    let seed = seed();
    on_each(async |world| {
        let mut dice = Dice(seed);
        let desk = Desk::open(world).await;
        let domain = made(&desk, "domain", json!({"name": "acme"})).await;
        let mut projects: Vec<String> = Vec::new();
        for (at, above) in ABOVE.iter().enumerate() {
            let parent = above.map_or(&domain, |above| &projects[above]).clone();
            projects.push(made(&desk, "project", json!({"name": format!("p{at}"), "domain_id": domain, "parent_id": parent})).await);
        }
        let (mut users, mut groups, mut roles) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..USERS {
            users.push(made(&desk, "user", json!({"name": format!("u{at}"), "domain_id": domain, "password": PASSWORD})).await);
        }
        for at in 0..GROUPS {
            groups.push(made(&desk, "group", json!({"name": format!("g{at}"), "domain_id": domain})).await);
        }
        for at in 0..ROLES {
            let own = if at == ROLES - 1 { json!(domain) } else { Value::Null };
            roles.push(made(&desk, "role", json!({"name": format!("r{at}"), "domain_id": own})).await);
        }
        let mut book = Book::default();
        for round in 0..4 {
            for _ in 0..14 {
                step(&desk, &mut dice, &mut book, &domain, (&projects, &users, &groups, &roles)).await;
            }
            compare(&desk, &book, &domain, (&projects, &users, &roles)).await;
            if round == 3 {
                compare_tokens(&desk, &book, &domain, (&projects, &users)).await;
            }
        }
    });
}

type Things<'a> = (&'a [String], &'a [String], &'a [String], &'a [String]);

/// Does one thing, or undoes it if it was done.
async fn step(desk: &Desk, dice: &mut Dice, book: &mut Book, domain: &str, (projects, users, groups, roles): Things<'_>) {
    let (path, is_new, made) = match dice.below(6) {
        0 => {
            let it = (dice.below(USERS), dice.below(GROUPS));
            (format!("groups/{}/users/{}", groups[it.1], users[it.0]), book.members.insert(it) || !book.members.remove(&it), 204)
        }
        1 => {
            // A role of everybody cannot imply a domain's own.
            let it = (dice.below(ROLES), dice.below(ROLES - 1));
            (format!("roles/{}/implies/{}", roles[it.0], roles[it.1]), book.implied.insert(it) || !book.implied.remove(&it), 201)
        }
        _ => {
            let ground = match dice.below(8) {
                at @ 0..5 => Ground::Project(at),
                7 => Ground::System,
                _ => Ground::Domain,
            };
            let role = dice.below(if ground == Ground::System { ROLES - 1 } else { ROLES });
            let is_group = dice.flip();
            let who = dice.below(if is_group { GROUPS } else { USERS });
            let inherited = ground != Ground::System && dice.flip();
            let actor = if is_group { format!("groups/{}", groups[who]) } else { format!("users/{}", users[who]) };
            let target = match ground {
                Ground::Project(at) => format!("projects/{}", projects[at]),
                Ground::Domain => format!("domains/{domain}"),
                Ground::System => "system".to_owned(),
            };
            let (before, after) = if inherited { ("OS-INHERIT/", "/inherited_to_projects") } else { ("", "") };
            let it = (role, is_group, who, ground, inherited);
            let path = format!("{before}{target}/{actor}/roles/{}{after}", roles[role]);
            (path, book.given.insert(it) || !book.given.remove(&it), 204)
        }
    };
    let (method, status) = if is_new { (Method::PUT, made) } else { (Method::DELETE, 204) };
    let answer = call(desk, &desk.admin, method.clone(), &path).await;
    assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
}

type Triple = (String, String, String);

/// User, target and role of lines.
fn triples(body: &Value) -> BTreeSet<Triple> {
    let text = |it: &Value| it["id"].as_str().unwrap_or_default().to_owned();
    let target = |scope: &Value| if scope["project"].is_object() { text(&scope["project"]) } else { text(&scope["domain"]) };
    lines(body).iter().map(|it| (text(&it["user"]), target(&it["scope"]), text(&it["role"]))).collect()
}

/// Compares the effective lists, filtered in several ways, with the book.
async fn compare(desk: &Desk, book: &Book, domain: &str, (projects, users, roles): (&[String], &[String], &[String])) {
    let grounds = || (0..projects.len()).map(Ground::Project).chain([Ground::Domain]);
    let id = |ground: Ground| match ground {
        Ground::Project(at) => projects[at].clone(),
        Ground::Domain | Ground::System => domain.to_owned(),
    };
    let mut all: BTreeSet<Triple> = BTreeSet::new();
    for (at, user) in users.iter().enumerate() {
        for ground in grounds() {
            all.extend(book.roles(at, ground).into_iter().map(|role| (user.clone(), id(ground), roles[role].clone())));
        }
    }
    let listed = async |query: &str| {
        let body = get(desk, &format!("role_assignments?effective&{query}")).await;
        let found = triples(&body);
        // Of the administrator nothing is in the book.
        found.into_iter().filter(|it| users.contains(&it.0)).collect::<BTreeSet<_>>()
    };
    let of = |keep: &dyn Fn(&Triple) -> bool| all.iter().filter(|it| keep(it)).cloned().collect::<BTreeSet<_>>();
    assert_eq!(listed("").await, all);
    for user in users {
        assert_eq!(listed(&format!("user.id={user}")).await, of(&|it| it.0 == *user));
    }
    for (at, project) in projects.iter().enumerate() {
        assert_eq!(listed(&format!("scope.project.id={project}")).await, of(&|it| it.1 == *project));
        let mut tree = BTreeSet::from([at]);
        for (below, above) in ABOVE.iter().enumerate() {
            if above.is_some_and(|above| tree.contains(&above)) {
                tree.insert(below);
            }
        }
        let ids: Vec<&String> = tree.iter().map(|at| &projects[*at]).collect();
        assert_eq!(listed(&format!("scope.project.id={project}&include_subtree")).await, of(&|it| ids.contains(&&it.1)));
        let user = &users[at % users.len()];
        let query = format!("scope.project.id={project}&user.id={user}&role.id={}", roles[0]);
        assert_eq!(listed(&query).await, of(&|it| it.0 == *user && it.1 == *project && it.2 == roles[0]));
    }
    assert_eq!(listed(&format!("scope.domain.id={domain}")).await, of(&|it| it.1 == domain));
}

/// Compares the roles in tokens with the book.
async fn compare_tokens(desk: &Desk, book: &Book, domain: &str, (projects, users): (&[String], &[String])) {
    for (at, user) in users.iter().enumerate() {
        let unscoped = logged_in(desk, user, json!("unscoped")).await;
        let mut scopes: BTreeMap<Ground, Value> =
            projects.iter().enumerate().map(|(at, id)| (Ground::Project(at), json!({"project": {"id": id}}))).collect();
        scopes.insert(Ground::Domain, json!({"domain": {"id": domain}}));
        scopes.insert(Ground::System, json!({"system": {"all": true}}));
        for (ground, scope) in scopes {
            let identity = json!({"methods": ["token"], "token": {"id": unscoped.token}});
            let body = json!({"auth": {"identity": identity, "scope": scope}});
            let answer = desk.call(&nobody(), Method::POST, &format!("{V3}/auth/tokens?nocatalog"), &[], Some(body)).await;
            let wanted: BTreeSet<String> = book.roles(at, ground).into_iter().map(|it| format!("r{it}")).collect();
            if wanted.is_empty() {
                assert_eq!(answer.status.as_u16(), 401, "user {at} on {ground:?}: {}", answer.body);
                continue;
            }
            let has =
                answer.expect(201)["token"]["roles"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
            assert_eq!(wanted, has, "user {at} on {ground:?}");
        }
    }
}
