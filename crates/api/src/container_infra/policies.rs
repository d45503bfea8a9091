//! The declared default policies of the container service, those of Magnum (Source: `magnum/common/policies`), for what is offered here.
//!
//! Each that guards clusters and templates also admits administrators, as Magnum did before it had rules of their own for all projects
//! at once (`…_all_projects`).

use model::container_infra::{Cluster, ClusterTemplate};
use model::identity::Project;
use model::{Id, Object};
use policy::{Rule, Scope, Target, rule};
use serde_json::{Map, Value, json};

/// Tokens of projects only.
const PROJECT: &[Scope] = &[Scope::Project];

const ADMIN: &str = "rule:container-infra:context_is_admin";
const MEMBER: &str = "rule:admin_or_project_member_deny_cluster_user";
const READER: &str = "rule:admin_or_project_reader_deny_cluster_user";

const fn on(rule: Rule, operations: &'static [(&'static str, &'static str)]) -> Rule {
    rule.scopes(PROJECT).guards(operations)
}

/// The rules.
pub(crate) static RULES: &[Rule] = &[
    rule("container-infra:context_is_admin", "role:admin").about("Base rule: an administrator"),
    rule("is_user", "user_id:%(user_id)s").about("Base rule: the user who made it"),
    rule("project_member", "role:member and project_id:%(project_id)s").about("Base rule: a member of the project"),
    rule("project_reader", "role:reader and project_id:%(project_id)s").about("Base rule: a reader of the project"),
    rule("admin_or_project_reader", "rule:container-infra:context_is_admin or rule:project_reader")
        .about("Base rule: a reader of the project, or an administrator"),
    rule("admin_or_project_member_deny_cluster_user", "rule:container-infra:context_is_admin or rule:project_member")
        .about("Base rule: a member of the project, or an administrator"),
    rule("admin_or_project_reader_deny_cluster_user", "rule:container-infra:context_is_admin or rule:project_reader")
        .about("Base rule: a reader of the project, or an administrator"),
    rule("admin_or_project_member_user", "rule:container-infra:context_is_admin or (rule:project_member and rule:is_user)")
        .about("Base rule: the member of the project who made it, or an administrator"),
    rule("admin_or_project_reader_user", "rule:container-infra:context_is_admin or (rule:project_reader and rule:is_user)")
        .about("Base rule: the reader of the project who made it, or an administrator"),
    on(rule("cluster:create", MEMBER), &[("POST", "/v1/clusters")]).about("Create a cluster"),
    on(rule("cluster:get", READER), &[("GET", "/v1/clusters/{id}")]).about("See a cluster"),
    on(rule("cluster:get_all", READER), &[("GET", "/v1/clusters")]).about("List clusters"),
    on(rule("cluster:detail", READER), &[("GET", "/v1/clusters/detail")]).about("List clusters in detail"),
    on(rule("cluster:update", MEMBER), &[("PATCH", "/v1/clusters/{id}")]).about("Change a cluster"),
    on(rule("cluster:delete", MEMBER), &[("DELETE", "/v1/clusters/{id}")]).about("Delete a cluster"),
    on(rule("clustertemplate:create", MEMBER), &[("POST", "/v1/clustertemplates")]).about("Create a cluster template"),
    on(rule("clustertemplate:get", READER), &[("GET", "/v1/clustertemplates/{id}")]).about("See a cluster template"),
    on(rule("clustertemplate:get_all", READER), &[("GET", "/v1/clustertemplates")]).about("List cluster templates"),
    on(rule("clustertemplate:get_all_all_projects", ADMIN), &[("GET", "/v1/clustertemplates")]).about("List hidden cluster templates too"),
    on(rule("clustertemplate:detail", READER), &[("GET", "/v1/clustertemplates/detail")]).about("List cluster templates in detail"),
    on(rule("clustertemplate:update", MEMBER), &[("PATCH", "/v1/clustertemplates/{id}")]).about("Change a cluster template"),
    on(rule("clustertemplate:delete", MEMBER), &[("DELETE", "/v1/clustertemplates/{id}")]).about("Delete a cluster template"),
    on(rule("clustertemplate:publish", ADMIN), &[("POST", "/v1/clustertemplates"), ("PATCH", "/v1/clustertemplates/{id}")])
        .about("Show a cluster template to all, or hide it"),
    on(rule("certificate:get", "rule:admin_or_project_reader_user"), &[("GET", "/v1/certificates/{cluster}")])
        .about("See the authority of a cluster"),
    on(rule("certificate:create", "rule:admin_or_project_member_user"), &[("POST", "/v1/certificates")])
        .about("Have a certificate for a cluster signed"),
    on(rule("stats:get_all", "rule:admin_or_project_reader"), &[("GET", "/v1/stats")])
        .about("Count the clusters and machines of a project"),
];

fn of(project: Option<&str>, user: Option<&str>) -> Target {
    // Without a project the key is missing, so that a caller without one is not taken for its owner.
    let project = project.map(|it| ("project_id".to_owned(), json!(it)));
    let user = user.map(|it| ("user_id".to_owned(), json!(it)));
    Value::Object(project.into_iter().chain(user).collect::<Map<String, Value>>())
}

/// What rules see of what belongs to that project.
pub(super) fn of_project(project: Option<&str>) -> Target {
    of(project, None)
}

/// What rules see of a cluster.
pub(super) fn of_cluster(cluster: &Object<Cluster>) -> Target {
    of(cluster.project_id.as_ref().map(Id::as_str), Some(&cluster.desired.user_id))
}

/// What rules see of a cluster template.
pub(super) fn of_template(template: &Object<ClusterTemplate>) -> Target {
    of(template.project_id.as_ref().map(Id::<Project>::as_str), Some(&template.desired.user_id))
}
