//! `/v1/deploy_templates`: steps that a trait brings into a deployment.

use model::Object;
use model::baremetal::{DeployTemplate, DeployTemplateDesired};
use serde_json::{Value, json};

use super::resource::{Change, Detail, Field, Form, Resource, Rules, Shape, Whose, check_trait, field, held_name, steps};
use crate::failure::Failure;

/// Allocation pool of names.
const NAME_POOL: &str = "deploy-template-name";

static FIELDS: &[Field<DeployTemplate>] = &[
    field::<DeployTemplate>("name", 55, |it, _| json!(it.name))
        .set(Shape::Any, |it, value| {
            it.name = check_trait(&value).map_err(|why| format!("Schema error for template: {why}"))?;
            Ok(())
        })
        .required()
        .brief(),
    field::<DeployTemplate>("extra", 55, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    field::<DeployTemplate>("steps", 55, |it, _| steps::shown(&it.desired.steps, "priority"))
        .raw(|it, _| steps::raw(&it.desired.steps, "priority"))
        .set(Shape::Any, |it, value| {
            it.desired.steps = steps::read("template", &value, "priority")?;
            Ok(())
        })
        .required(),
];

static FORM: Form<DeployTemplate> = Form {
    one: "deploy_template",
    title: "Deploy template",
    a: "A deploy template",
    many: "deploy_templates",
    path: "deploy_templates",
    link: None,
    since: (55, "The API version does not allow deploy templates"),
    writes_405: true,
    patch_since: None,
    named: true,
    detail: Detail::Argument,
    rules: Rules {
        get: "baremetal:deploy_template:get",
        list: None,
        create: "baremetal:deploy_template:create",
        update: "baremetal:deploy_template:update",
        delete: "baremetal:deploy_template:delete",
    },
    whose: Whose::Operator,
    fields: FIELDS,
    patchable: &["extra", "name", "steps"],
    unsortable: &["extra", "steps"],
    filters: &[],
};

impl Resource for DeployTemplate {
    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank() -> DeployTemplateDesired {
        DeployTemplateDesired::default()
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        change.hold(NAME_POOL, held_name);
        Ok(())
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        change.free(&[NAME_POOL]);
        Ok(())
    }

    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        (pool == NAME_POOL).then(|| format!("A deploy template with name {} already exists.", object.name))
    }
}
