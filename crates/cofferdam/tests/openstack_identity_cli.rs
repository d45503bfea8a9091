//! The unmodified `openstack` command on every noun of identity.
#![cfg(test)]

#[expect(dead_code, reason = "not every test logs in by other ways")]
mod openstack;
#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::path::Path;

use openstack::Client;
use serde_json::{Value, json};
use support::serve::{Serve, Setting};

#[track_caller]
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn every_noun_of_identity() {
    let dir = tempfile::Builder::new().prefix("cofferdam-osc-").tempdir().unwrap();
    let setting = Setting::new(&dir.path().join("state"));
    let Some(admin) = Client::of(&setting.state_dir) else { return };
    let _serve = Serve::start(setting);
    std::thread::scope(|scope| {
        let (admin, dir) = (&admin, dir.path());
        let users: [(&str, std::thread::ScopedJoinHandle<'_, ()>); 4] = [
            ("people", scope.spawn(|| people(admin))),
            ("catalog", scope.spawn(|| catalog(admin, dir))),
            ("delegation", scope.spawn(|| delegation(admin, dir))),
            ("federation", scope.spawn(|| federation(admin, dir))),
        ];
        for (name, user) in users {
            assert!(user.join().is_ok(), "{name} failed");
        }
    });
}

/// Domains, projects, users, groups, roles and who has which.
fn people(admin: &Client) {
    let domain = text(&admin.json("domain create d1 --description one"), "id").to_owned();
    admin.ok("domain set d1 --description first");
    assert_eq!(text(&admin.json("domain show d1"), "description"), "first");
    admin.ok("project create above --domain d1 --tag red --tag blue");
    let below = admin.json("project create below --domain d1 --parent above");
    assert_eq!(admin.column("project list --tags red", "Name"), ["above"]);
    assert_eq!(admin.column("project list --parent above --domain d1", "Name"), ["below"]);
    admin.refused("project delete above --domain d1", &["leaf"]);
    admin.ok("project set above --domain d1 --tag green --remove-tag red");
    admin.ok("user create ann --domain d1 --password secret --ignore-password-expiry --enable-multi-factor-auth");
    let ann = admin.json("user show ann --domain d1");
    assert_eq!((text(&ann, "domain_id"), &ann["options"]["ignore_password_expiry"]), (domain.as_str(), &json!(true)));
    admin.ok("group create staff --domain d1 --description people");
    admin.ok("group add user --group-domain d1 --user-domain d1 staff ann");
    admin.ok("group contains user --group-domain d1 --user-domain d1 staff ann");
    // This command hands on what it was given as the domain's id.
    assert_eq!(admin.column(&format!("user list --group staff --domain {domain}"), "Name"), ["ann"]);
    admin.ok("group set staff --domain d1 --name crew");
    admin.ok("role create auditor --description looks --immutable");
    admin.refused("role delete auditor", &["immutable"]);
    admin.ok("role set auditor --no-immutable");
    admin.ok("role create watcher");
    admin.ok("implied role create auditor --implied-role watcher");
    assert!(admin.column("implied role list", "Implied Role Name").iter().any(|it| it == "watcher"));
    admin.ok("role create local --domain d1");
    assert_eq!(admin.column("role list --domain d1", "Name"), ["local"]);
    admin.ok("role add --group crew --group-domain d1 --domain d1 --inherited auditor");
    let effective = admin.json("role assignment list --effective --names --user ann --user-domain d1");
    let roles: Vec<&str> = effective.as_array().unwrap().iter().map(|it| text(it, "Role")).collect();
    assert!(roles.contains(&"auditor") && roles.contains(&"watcher"), "{effective}");
    admin.ok("role add --user ann --user-domain d1 --system all reader");
    assert_eq!(admin.json("role assignment list --system all --user ann --user-domain d1").as_array().unwrap().len(), 1);
    admin.ok("role remove --user ann --user-domain d1 --system all reader");
    admin.ok("role remove --group crew --group-domain d1 --domain d1 --inherited auditor");
    admin.ok("implied role delete auditor --implied-role watcher");
    admin.ok("group remove user --group-domain d1 --user-domain d1 crew ann");
    admin.ok("group delete crew --domain d1");
    admin.ok("role delete auditor watcher");
    admin.ok("user delete ann --domain d1");
    admin.ok(&format!("project delete {}", text(&below, "id")));
    admin.ok("domain set d1 --disable");
    admin.ok("domain delete d1");
}

/// Regions, services, endpoints and who sees them, policies, limits.
fn catalog(admin: &Client, dir: &Path) {
    admin.ok("region create north --description up");
    admin.ok("region create oslo --parent-region north");
    assert_eq!(admin.column("region list --parent-region north", "Region"), ["oslo"]);
    admin.ok("region set oslo --description town");
    let service = text(&admin.json("service create object-store --name store --description blobs"), "id").to_owned();
    admin.ok(&format!("service set {service} --name blobs"));
    assert_eq!(text(&admin.json("service show blobs"), "type"), "object-store");
    let endpoint = admin.json("endpoint create blobs public http://192.0.2.1:8080/v1/%(project_id)s --region oslo");
    let endpoint = text(&endpoint, "id").to_owned();
    admin.ok(&format!("endpoint set {endpoint} --url http://192.0.2.1:8081"));
    assert_eq!(text(&admin.json(&format!("endpoint show {endpoint}")), "url"), "http://192.0.2.1:8081");
    let project = text(&admin.json("project create narrow"), "id").to_owned();
    admin.ok(&format!("endpoint add project {endpoint} narrow"));
    assert_eq!(admin.column("endpoint list --project narrow", "ID"), [endpoint.as_str()]);
    admin.ok(&format!("endpoint remove project {endpoint} {project}"));
    let filters = dir.join("filters.json");
    std::fs::write(&filters, r#"{"interface": "public"}"#).unwrap();
    admin.ok(&format!("endpoint group create publics {}", filters.display()));
    admin.ok("endpoint group add project publics narrow");
    assert_eq!(admin.column("endpoint group list --project narrow", "Name"), ["publics"]);
    admin.ok("endpoint group remove project publics narrow");
    admin.ok("endpoint group delete publics");
    let rules = dir.join("rules.json");
    std::fs::write(&rules, r#"{"default": ""}"#).unwrap();
    let policy = text(&admin.json(&format!("policy create {}", rules.display())), "id").to_owned();
    assert_eq!(admin.column("policy list", "ID"), [policy.as_str()]);
    admin.ok(&format!("policy delete {policy}"));
    let registered = admin.json("registered limit create --service blobs --default-limit 10 --region oslo buckets");
    let limit = admin.json("limit create --project narrow --service blobs --region oslo --resource-limit 5 buckets");
    assert_eq!((&registered["default_limit"], &limit["resource_limit"]), (&json!(10), &json!(5)));
    let (registered, limit) = (text(&registered, "id").to_owned(), text(&limit, "id").to_owned());
    admin.refused(&format!("registered limit delete {registered}"), &["registered limit"]);
    admin.ok(&format!("limit set --resource-limit 6 {limit}"));
    assert_eq!(admin.json("limit list")[0]["Resource Limit"], json!(6));
    admin.ok(&format!("limit delete {limit}"));
    admin.ok(&format!("registered limit delete {registered}"));
    admin.ok(&format!("endpoint delete {endpoint}"));
    admin.ok("service delete blobs");
    admin.ok("region delete oslo");
    admin.ok("region delete north");
    admin.ok("project delete narrow");
}

/// Credentials, application credentials, access rules, trusts.
fn delegation(admin: &Client, dir: &Path) {
    let project = text(&admin.json("project create loans"), "id").to_owned();
    let lender_id = text(&admin.json("user create lender --password secret"), "id").to_owned();
    let borrower_id = text(&admin.json("user create borrower --password secret"), "id").to_owned();
    let member = text(&admin.json("role show member"), "id").to_owned();
    admin.ok("role add --project loans --user lender member");
    admin.ok("role add --project loans --user borrower reader");
    let lender = admin.login("lender", "secret", "loans");
    let credential = text(&admin.json("credential create --type cert lender no-certificate"), "id").to_owned();
    assert_eq!(text(&admin.json(&format!("credential show {credential}")), "blob"), "no-certificate");
    admin.ok(&format!("credential delete {credential}"));
    let access = text(&lender.json("ec2 credentials create"), "access").to_owned();
    assert_eq!(lender.column("ec2 credentials list", "Access"), [access.as_str()]);
    lender.ok(&format!("ec2 credentials delete {access}"));

    let rules = r#"[{"path": "/v2.0/networks", "method": "GET", "service": "network"}]"#;
    let made = lender.run_with("application credential create robot --secret s3cret --role member --access-rules", &[rules, "-f", "json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(text(&made, "Secret"), "s3cret");
    let clouds = dir.join("state/clouds.yaml");
    let url = std::fs::read_to_string(&clouds).unwrap();
    let url = url.lines().find_map(|it| it.trim().strip_prefix("auth_url: ")).unwrap().to_owned();
    std::fs::write(
        dir.join("state/robot.yaml"),
        format!(
            "clouds:\n  cofferdam:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: {url}\n      application_credential_id: {}\n      \
             application_credential_secret: s3cret\n    region_name: RegionOne\n",
            text(&made, "ID")
        ),
    )
    .unwrap();
    let robot = lender.with_clouds(&dir.join("state/robot.yaml"));
    assert_eq!(robot.json("network list"), json!([]));
    robot.refused("port list", &["403"]);
    assert_eq!(lender.column("access rule list", "Path"), ["/v2.0/networks"]);
    lender.ok("application credential delete robot");
    robot.refused("network list", &["401"]);

    // By ids: who may not list users cannot look names up.
    let trust = lender.json(&format!("trust create --project {project} --role {member} --impersonate {lender_id} {borrower_id}"));
    let trust = text(&trust, "id").to_owned();
    assert_eq!(admin.column("trust list", "ID"), [trust.as_str()]);
    let borrower = admin.login("borrower", "secret", "loans");
    assert_eq!(text(&borrower.json(&format!("trust show {trust}")), "id"), trust);
    lender.ok(&format!("trust delete {trust}"));
    admin.ok("user delete lender borrower");
    admin.ok("project delete loans");
}

/// External providers, and programs known by OAuth.
fn federation(admin: &Client, dir: &Path) {
    admin.ok("identity provider create campus --remote-id https://idp.example.org --description students");
    admin.ok("identity provider set campus --disable");
    assert_eq!(admin.json("identity provider show campus")["enabled"], json!(false));
    let rules = dir.join("mapping.json");
    std::fs::write(&rules, r#"[{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "OIDC-preferred_username"}]}]"#).unwrap();
    admin.ok(&format!("mapping create campus-mapping --rules {}", rules.display()));
    assert_eq!(admin.column("mapping list", "ID"), ["campus-mapping"]);
    admin.ok("federation protocol create openid --identity-provider campus --mapping campus-mapping");
    assert_eq!(admin.column("federation protocol list --identity-provider campus", "id"), ["openid"]);
    admin.ok("federation protocol delete openid --identity-provider campus");
    admin.ok("mapping delete campus-mapping");
    admin.ok("identity provider delete campus");
    admin.ok("service provider create far --auth-url http://192.0.2.2/auth --service-provider-url http://192.0.2.2/sp");
    admin.ok("service provider set far --description away");
    assert_eq!(admin.column("service provider list", "ID"), ["far"]);
    admin.ok("service provider delete far");
    let consumer = text(&admin.json("consumer create --description program"), "id").to_owned();
    admin.ok(&format!("consumer set --description tool {consumer}"));
    assert_eq!(text(&admin.json(&format!("consumer show {consumer}")), "description"), "tool");
    admin.ok(&format!("consumer delete {consumer}"));
}
