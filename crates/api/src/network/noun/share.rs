//! What is shared with whom: RBAC policies, kept in memory as long as nobody changes one.

use std::collections::HashMap;
use std::sync::Arc;

use model::identity::Project;
use model::net::access::{RbacAction, RbacPolicy};
use model::{Id, Object};
use serde_json::Value;
use store::Query;

use super::Noun;
use crate::App;
use crate::failure::Failure;
use crate::network::Ask;
use crate::network::policies::of_project;

/// The counter that every change of an RBAC policy bumps.
pub(crate) const EPOCH: &str = "rbac";

/// With whom an object is shared.
#[derive(Clone, Debug)]
struct Entry {
    action: RbacAction,
    /// None: all projects.
    target: Option<Id<Project>>,
}

/// All RBAC policies, by object.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    entries: HashMap<String, Vec<Entry>>,
    types: HashMap<String, Vec<String>>,
}

impl Shares {
    fn of(policies: &[Object<RbacPolicy>]) -> Self {
        let mut all = Self::default();
        for policy in policies {
            let entry = Entry { action: policy.desired.action, target: policy.desired.target.clone() };
            all.entries.entry(policy.desired.object_id.clone()).or_default().push(entry);
            all.types.entry(policy.desired.object_type.clone()).or_default().push(policy.desired.object_id.clone());
        }
        all
    }

    fn any(&self, object: &str, action: RbacAction, project: Option<&Id<Project>>) -> bool {
        let fits = |it: &Entry| it.action == action && (it.target.is_none() || (project.is_some() && it.target.as_ref() == project));
        self.entries.get(object).is_some_and(|entries| entries.iter().any(fits))
    }

    /// Whether the object is shared with the project (or with all).
    pub(crate) fn is_shared(&self, object: &str, project: Option<&Id<Project>>) -> bool {
        self.any(object, RbacAction::AccessAsShared, project)
    }

    /// Whether the network is an external one for the project.
    pub(crate) fn is_external(&self, network: &str, project: Option<&Id<Project>>) -> bool {
        self.any(network, RbacAction::AccessAsExternal, project)
    }

    /// Whether the network is an external one for anybody.
    pub(crate) fn is_external_to_any(&self, network: &str) -> bool {
        self.entries.get(network).is_some_and(|entries| entries.iter().any(|it| it.action == RbacAction::AccessAsExternal))
    }

    /// The objects of that type which are shared with the project in any way.
    pub(crate) fn ids(&self, object_type: &str, project: Option<&Id<Project>>) -> Vec<String> {
        let all = self.types.get(object_type).into_iter().flatten();
        let sees = |id: &&String| {
            let entries = self.entries.get(*id).into_iter().flatten();
            entries.into_iter().any(|it: &Entry| it.target.is_none() || (project.is_some() && it.target.as_ref() == project))
        };
        let mut ids: Vec<String> = all.filter(sees).cloned().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// What rules see of an object that can be shared: its project and whether it is shared with the caller.
pub(crate) fn shared_to<K: Noun>(object: &Object<K>, shares: &Shares, project: Option<&Id<Project>>) -> policy::Target {
    let mut target = of_project(object.project_id.as_ref());
    if let Some(target) = target.as_object_mut() {
        target.insert("shared".to_owned(), Value::Bool(shares.is_shared(object.id.as_str(), project)));
    }
    target
}

/// What is remembered of the RBAC policies.
#[derive(Default)]
pub(crate) struct Remembered(std::sync::Mutex<Option<(i64, Arc<Shares>)>>);

impl Ask {
    /// Who shares what with whom.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn shares(&self) -> Result<Arc<Shares>, Failure> {
        self.app.shares().await
    }
}

impl App {
    /// Who shares what with whom.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn shares(&self) -> Result<Arc<Shares>, Failure> {
        let epoch = self.store.counter(EPOCH).await?;
        let remembered = &self.network.shares.0;
        if let Some((at, shares)) = remembered.lock().ok().and_then(|it| it.clone())
            && at == epoch
        {
            return Ok(shares);
        }
        // The epoch was read first: a change in between makes what is remembered look older than it is, never newer.
        let shares = Arc::new(Shares::of(&self.store.list(&Query::<RbacPolicy>::new()).await?));
        if let Ok(mut place) = remembered.lock() {
            *place = Some((epoch, Arc::clone(&shares)));
        }
        Ok(shares)
    }
}
