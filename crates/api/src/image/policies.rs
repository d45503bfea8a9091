//! The declared default policies of the image service, those of Glance (Source: `glance/policies`), for what is offered here.
//!
//! Glance's policy lets every reader see every image whose visibility is `shared`, because its database shows such only to the members of
//! the image. Here the rule alone decides, and images have no members yet, so that it says nothing of `shared`.

use model::image_compute::Image;
use model::{Id, Object};
use policy::{Rule, Scope, Target, rule};
use serde_json::{Map, Value, json};

/// Tokens of the system and of projects.
const SYSTEM_PROJECT: &[Scope] = &[Scope::System, Scope::Project];

const ADMIN: &str = "rule:image:context_is_admin";
const MEMBER: &str = "rule:image:context_is_admin or (role:member and project_id:%(project_id)s)";
const READER: &str = "rule:image:context_is_admin or (role:reader and project_id:%(project_id)s)";

const fn on(rule: Rule, operations: &'static [(&'static str, &'static str)]) -> Rule {
    rule.scopes(SYSTEM_PROJECT).guards(operations)
}

/// The rules.
pub(crate) static RULES: &[Rule] = &[
    rule("image:context_is_admin", "role:admin").about("Base rule: an administrator"),
    on(
        rule("add_image", "rule:image:context_is_admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)"),
        &[("POST", "/v2/images")],
    )
    .about("Create an image"),
    on(rule("get_images", READER), &[("GET", "/v2/images")]).about("List images"),
    on(
        rule(
            "get_image",
            "rule:image:context_is_admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s or \
             'community':%(visibility)s or 'public':%(visibility)s))",
        ),
        &[("GET", "/v2/images/{image}")],
    )
    .about("See an image"),
    on(
        rule("modify_image", MEMBER),
        &[("PATCH", "/v2/images/{image}"), ("PUT", "/v2/images/{image}/tags/{tag}"), ("DELETE", "/v2/images/{image}/tags/{tag}")],
    )
    .about("Change an image"),
    on(rule("delete_image", MEMBER), &[("DELETE", "/v2/images/{image}")]).about("Delete an image"),
    on(rule("publicize_image", ADMIN), &[("POST", "/v2/images"), ("PATCH", "/v2/images/{image}")]).about("Show an image to all"),
    on(rule("communitize_image", MEMBER), &[("POST", "/v2/images"), ("PATCH", "/v2/images/{image}")])
        .about("Let all use an image who know of it"),
    on(rule("upload_image", MEMBER), &[("PUT", "/v2/images/{image}/file")]).about("Upload the data of an image"),
    on(
        rule(
            "download_image",
            "rule:image:context_is_admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or \
             'community':%(visibility)s or 'public':%(visibility)s))",
        ),
        &[("GET", "/v2/images/{image}/file")],
    )
    .about("Download the data of an image"),
];

/// What rules see of an image.
pub(super) fn of_image(image: &Object<Image>) -> Target {
    let mut out = Map::from_iter([("visibility".to_owned(), json!(image.desired.visibility))]);
    // Without an owner the keys are missing, so that a caller without a project is not taken for it.
    if let Some(project) = &image.project_id {
        out.extend(["project_id", "owner"].map(|key| (key.to_owned(), json!(project))));
    }
    Value::Object(out)
}

/// What rules see of the images of that project.
pub(super) fn of_project<P>(project: Option<&Id<P>>) -> Target {
    project.map_or_else(|| json!({}), |project| json!({"project_id": project, "owner": project}))
}
