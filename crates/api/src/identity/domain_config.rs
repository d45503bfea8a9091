//! The configuration a domain has of its own: which groups and options there may be, and what holds where nothing is said.
//!
//! The values are kept and shown; what they would configure in Keystone, drivers of LDAP, is not here. Options that are secrets are sealed
//! and never shown.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::Object;
use model::identity::Domain;
use serde_json::{Map, Value, json};
use store::{Batch, StoreError};

use super::ask::{Ask, body_of};
use super::{noun, schemas, sealed};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;

/// Groups of options with their values.
type Config = BTreeMap<String, BTreeMap<String, Value>>;

/// The domain whose demands of passwords anybody may read.
const DEFAULT_DOMAIN: &str = "default";
/// The options of `security_compliance` that may be read.
const READABLE: [&str; 2] = ["password_regex", "password_regex_description"];
/// The options that are secrets, with their groups.
const SENSITIVE: [(&str, &str); 1] = [("ldap", "password")];

/// The options there are but for secrets, with their defaults (Source: `keystone.resource.core.DomainConfigManager` and
/// `keystone/conf/{identity,ldap}.py` of Keystone 30.0.0).
fn defaults() -> &'static Map<String, Value> {
    static DEFAULTS: OnceLock<Map<String, Value>> = OnceLock::new();
    DEFAULTS.get_or_init(|| {
        let mut groups = Map::new();
        groups.insert("identity".into(), json!({"driver": "sql", "list_limit": null}));
        let parts = [ldap_search(), ldap_users(), ldap_groups(), ldap_connections()];
        let ldap: Map<String, Value> = parts.into_iter().filter_map(|it| it.as_object().cloned()).flatten().collect();
        groups.insert("ldap".into(), Value::Object(ldap));
        groups
    })
}

fn ldap_search() -> Value {
    json!({
        "url": "ldap://localhost",
        "user": null,
        "suffix": "cn=example,cn=com",
        "query_scope": "one",
        "page_size": 0,
        "alias_dereferencing": "default",
        "debug_level": null,
        "chase_referrals": null,
    })
}

fn ldap_users() -> Value {
    json!({
        "user_tree_dn": null,
        "user_filter": null,
        "user_objectclass": "inetOrgPerson",
        "user_id_attribute": "cn",
        "user_name_attribute": "sn",
        "user_mail_attribute": "mail",
        "user_description_attribute": "description",
        "user_pass_attribute": "userPassword",
        "user_enabled_attribute": "enabled",
        "user_enabled_invert": false,
        "user_enabled_mask": 0,
        "user_enabled_default": "True",
        "user_attribute_ignore": ["default_project_id"],
        "user_default_project_id_attribute": null,
        "user_enabled_emulation": false,
        "user_enabled_emulation_dn": null,
        "user_enabled_emulation_use_group_config": false,
        "user_additional_attribute_mapping": [],
    })
}

fn ldap_groups() -> Value {
    json!({
        "group_tree_dn": null,
        "group_filter": null,
        "group_objectclass": "groupOfNames",
        "group_id_attribute": "cn",
        "group_name_attribute": "ou",
        "group_members_are_ids": false,
        "group_member_attribute": "member",
        "group_desc_attribute": "description",
        "group_attribute_ignore": [],
        "group_additional_attribute_mapping": [],
    })
}

fn ldap_connections() -> Value {
    json!({
        "tls_cacertfile": null,
        "tls_cacertdir": null,
        "use_tls": false,
        "tls_req_cert": "demand",
        "use_pool": true,
        "pool_size": 10,
        "pool_retry_max": 3,
        "pool_retry_delay": 0.1,
        "pool_connection_timeout": -1,
        "pool_connection_lifetime": 600,
        "use_auth_pool": true,
        "auth_pool_size": 100,
        "auth_pool_connection_lifetime": 60,
    })
}

fn is_sensitive(group: &str, option: &str) -> bool {
    SENSITIVE.contains(&(group, option))
}

/// The part of a configuration that a path means.
#[derive(Clone, Copy)]
struct Part<'a> {
    group: Option<&'a str>,
    option: Option<&'a str>,
}

impl<'a> Part<'a> {
    const ALL: Part<'static> = Part { group: None, option: None };

    fn group(group: &'a str) -> Self {
        Self { group: Some(group), option: None }
    }

    fn option(group: &'a str, option: &'a str) -> Self {
        Self { group: Some(group), option: Some(option) }
    }

    /// Whether there are such a group and such an option.
    fn check(self) -> Result<(), Failure> {
        let Some(group) = self.group else { return Ok(()) };
        let known =
            defaults().get(group).ok_or_else(|| invalid(&format!("Group {group} is not supported for domain specific configurations")))?;
        match self.option {
            Some(option) if known.get(option).is_none() && !is_sensitive(group, option) => {
                Err(invalid(&format!("Option {option} in group {group} is not supported for domain specific configurations")))
            }
            _ => Ok(()),
        }
    }

    fn has(self, group: &str, option: &str) -> bool {
        self.group.is_none_or(|it| it == group) && self.option.is_none_or(|it| it == option)
    }

    /// What of a configuration falls into the part.
    fn of(self, config: &Config, with_secrets: bool) -> Config {
        let mut found = Config::new();
        for (group, options) in config {
            for (option, value) in options {
                if self.has(group, option) && (with_secrets || !is_sensitive(group, option)) {
                    found.entry(group.clone()).or_default().insert(option.clone(), value.clone());
                }
            }
        }
        found
    }

    /// An answer: a single option is shown without its group.
    fn answer(self, config: &Config) -> Json<Value> {
        match self.option {
            None => Json(json!({ "config": config })),
            Some(_) => Json(json!({"config": config.values().next()})),
        }
    }

    fn missing(self, domain: &str) -> Failure {
        let what = match (self.group, self.option) {
            (Some(group), Some(option)) => format!("option {option} in group {group}"),
            (Some(group), None) => format!("group {group}"),
            (None, _) => "any options".to_owned(),
        };
        let text = format!("Could not find {what} in domain configuration for domain {domain}.");
        Failure::named(StatusCode::NOT_FOUND, "NotFound", text)
    }
}

fn invalid(why: &str) -> Failure {
    Failure::Forbidden(format!("Invalid domain specific configuration: {why}."))
}

/// The configuration a body has for a part.
fn config_of(bytes: &[u8], part: Part<'_>) -> Result<Config, Failure> {
    let body = body_of(bytes, &schemas::DOMAIN_CONFIG)?;
    let said = body.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    // With an option in the path the body has the option without its group.
    let said = match (part.group, part.option) {
        (Some(group), Some(_)) => Map::from_iter([(group.to_owned(), Value::Object(said))]),
        _ => said,
    };
    if said.is_empty() {
        return Err(invalid("No options specified"));
    }
    let mut config = Config::new();
    for (group, options) in said {
        let options = match options {
            Value::Object(options) if !options.is_empty() => options,
            _ => return Err(invalid(&format!("The value of group {group} specified in the config should be a dictionary of options"))),
        };
        for option in options.keys() {
            Part::option(&group, option).check()?;
        }
        config.insert(group, options.into_iter().collect());
    }
    Ok(config)
}

/// Whether a body speaks of the part in its path and of nothing else.
fn check_alone(config: &Config, part: Part<'_>) -> Result<(), Failure> {
    let Some(group) = part.group else { return Ok(()) };
    let first = config.first_key_value();
    if let Some(option) = part.option {
        let options = first.map(|(_, options)| options).filter(|it| it.len() == 1).ok_or_else(|| {
            invalid(&format!(
                "Trying to update option {option} in group {group}, so that, and only that, option must be specified in the config"
            ))
        })?;
        return match options.keys().find(|it| *it != option) {
            Some(other) => Err(invalid(&format!(
                "Trying to update option {option} in group {group}, but config provided contains option {other} instead"
            ))),
            None => Ok(()),
        };
    }
    if config.len() != 1 {
        return Err(invalid(&format!("Trying to update group {group}, so that, and only that, group must be specified in the config")));
    }
    match config.keys().find(|it| *it != group) {
        Some(other) => Err(invalid(&format!("request to update group {group}, but config provided contains group {other} instead"))),
        None => Ok(()),
    }
}

/// Seals what is secret.
async fn sealed(app: &App, mut config: Config) -> Result<Config, Failure> {
    for (group, option) in SENSITIVE {
        if let Some(value) = config.get_mut(group).and_then(|it| it.get_mut(option)) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            *value = json!(sealed::seal(app, &text).await?.reveal());
        }
    }
    Ok(config)
}

/// Changes the configuration of a domain; of changes at once each is made on what the others left.
async fn change(ask: &Ask, domain: &str, with: impl Fn(&mut Config) -> Result<(), Failure>) -> Result<(Config, Config), Failure> {
    for _ in 0..RACES {
        let mut found = noun::find::<Domain>(&ask.app, domain).await?;
        let before = found.desired.config.clone();
        with(&mut found.desired.config)?;
        found.desired.config.retain(|_, options| !options.is_empty());
        match ask.app.store.apply(Batch::wishes().want(&found)).await {
            Ok(()) => {
                tracing::info!(id = %found.id, "configuration of the domain changed");
                return Ok((before, found.desired.config));
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

async fn read(ask: &Ask, domain: &str, part: Part<'_>) -> Result<Json<Value>, Failure> {
    if part.group == Some("security_compliance") {
        return compliance(ask, domain, part);
    }
    let found: Option<Object<Domain>> = noun::get(&ask.app, domain).await?;
    ask.enforce("identity:get_domain_config", json!({}))?;
    part.check()?;
    let config = part.of(&found.map(|it| it.desired.config).unwrap_or_default(), false);
    if config.is_empty() { Err(part.missing(domain)) } else { Ok(part.answer(&config)) }
}

/// What is demanded of passwords, which anybody may read.
fn compliance(ask: &Ask, domain: &str, part: Part<'_>) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:get_security_compliance_domain_config", json!({}))?;
    if domain != DEFAULT_DOMAIN {
        return Err(invalid(
            "Reading security compliance information for any domain other than the default domain is not allowed or supported",
        ));
    }
    if part.option.is_some_and(|it| !READABLE.contains(&it)) {
        let readable = READABLE.join(" and ");
        return Err(invalid(&format!("Reading security compliance values other than {readable} is not allowed")));
    }
    let settings = &ask.app.settings.identity.security_compliance;
    let values = [json!(settings.password_regex), json!(settings.password_regex_description)];
    let all = READABLE.map(str::to_owned).into_iter().zip(values).collect();
    let config = Config::from([("security_compliance".to_owned(), all)]);
    Ok(part.answer(&part.of(&config, false)))
}

async fn write(ask: &Ask, domain: &str, part: Part<'_>, bytes: &[u8]) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:update_domain_config", json!({}))?;
    noun::find::<Domain>(&ask.app, domain).await?;
    let config = config_of(bytes, part)?;
    part.check()?;
    check_alone(&config, part)?;
    let config = sealed(&ask.app, config).await?;
    let merge = |whole: &mut Config| {
        if part.group.is_some() && part.of(whole, true).is_empty() {
            return Err(part.missing(domain));
        }
        for (group, options) in &config {
            whole.entry(group.clone()).or_default().extend(options.clone());
        }
        Ok(())
    };
    let (_, after) = change(ask, domain, merge).await?;
    Ok(Part::ALL.answer(&Part::ALL.of(&after, false)))
}

async fn drop_part(ask: &Ask, domain: &str, part: Part<'_>) -> Result<StatusCode, Failure> {
    ask.enforce("identity:delete_domain_config", json!({}))?;
    noun::find::<Domain>(&ask.app, domain).await?;
    part.check()?;
    let without = |whole: &mut Config| {
        if part.group.is_some() && part.of(whole, true).is_empty() {
            return Err(part.missing(domain));
        }
        for (group, options) in whole.iter_mut() {
            options.retain(|option, _| !part.has(group, option));
        }
        Ok(())
    };
    change(ask, domain, without).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// PUT /domains/{id}/config
async fn put(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    ask.enforce("identity:create_domain_config", json!({}))?;
    noun::find::<Domain>(&ask.app, &id).await?;
    let config = sealed(&ask.app, config_of(&bytes, Part::ALL)?).await?;
    let replace = |whole: &mut Config| {
        whole.clone_from(&config);
        Ok(())
    };
    let (before, after) = change(&ask, &id, replace).await?;
    let status = if before.is_empty() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Part::ALL.answer(&Part::ALL.of(&after, false))))
}

type Two = Path<(String, String)>;
type Three = Path<(String, String, String)>;

async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    read(&ask, &id, Part::ALL).await
}

async fn show_group(ask: Ask, Path((id, group)): Two) -> Result<Json<Value>, Failure> {
    read(&ask, &id, Part::group(&group)).await
}

async fn show_option(ask: Ask, Path((id, group, option)): Three) -> Result<Json<Value>, Failure> {
    read(&ask, &id, Part::option(&group, &option)).await
}

async fn patch(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    write(&ask, &id, Part::ALL, &bytes).await
}

async fn patch_group(ask: Ask, Path((id, group)): Two, bytes: Bytes) -> Result<Json<Value>, Failure> {
    write(&ask, &id, Part::group(&group), &bytes).await
}

async fn patch_option(ask: Ask, Path((id, group, option)): Three, bytes: Bytes) -> Result<Json<Value>, Failure> {
    write(&ask, &id, Part::option(&group, &option), &bytes).await
}

async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    drop_part(&ask, &id, Part::ALL).await
}

async fn delete_group(ask: Ask, Path((id, group)): Two) -> Result<StatusCode, Failure> {
    drop_part(&ask, &id, Part::group(&group)).await
}

async fn delete_option(ask: Ask, Path((id, group, option)): Three) -> Result<StatusCode, Failure> {
    drop_part(&ask, &id, Part::option(&group, &option)).await
}

/// What holds where a domain says nothing.
fn default_of(ask: &Ask, part: Part<'_>) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:get_domain_config_default", json!({}))?;
    part.check()?;
    if let (Some(group), Some(option)) = (part.group, part.option)
        && is_sensitive(group, option)
    {
        return Err(invalid(&format!("Reading the default for option {option} in group {group} is not supported")));
    }
    let all = defaults().iter().map(|(group, options)| {
        let options = options.as_object().into_iter().flatten().map(|(option, value)| (option.clone(), value.clone())).collect();
        (group.clone(), options)
    });
    Ok(part.answer(&part.of(&all.collect(), false)))
}

async fn default(ask: Ask) -> Result<Json<Value>, Failure> {
    default_of(&ask, Part::ALL)
}

async fn default_group(ask: Ask, Path(group): Path<String>) -> Result<Json<Value>, Failure> {
    default_of(&ask, Part::group(&group))
}

async fn default_option(ask: Ask, Path((group, option)): Two) -> Result<Json<Value>, Failure> {
    default_of(&ask, Part::option(&group, &option))
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/domains/config/default", get(default))
        .route("/domains/config/{group}/default", get(default_group))
        .route("/domains/config/{group}/{option}/default", get(default_option))
        .route("/domains/{id}/config", get(show).put(put).patch(patch).delete(delete))
        .route("/domains/{id}/config/{group}", get(show_group).patch(patch_group).delete(delete_group))
        .route("/domains/{id}/config/{group}/{option}", get(show_option).patch(patch_option).delete(delete_option))
}
