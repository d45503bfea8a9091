//! What the reconcilers of machines touch outside: BMCs and agents. One seam, so that tests can stand in for both.

use drivers::Fut;
use drivers::agent::{AgentClient, AgentError, CommandState};
use drivers::bmc::{Bmc, BmcError, HardwareConfig};
use model::Secret;
use net::Netns;
use serde_json::Value;

/// An agent that is spoken to.
pub(crate) trait Agent: Send + Sync {
    /// See [`AgentClient::start`].
    fn start<'a>(&'a self, name: &'a str, params: Value) -> Fut<'a, Result<CommandState, AgentError>>;
    /// See [`AgentClient::commands`].
    fn commands(&self) -> Fut<'_, Result<Vec<CommandState>, AgentError>>;
}

impl Agent for AgentClient {
    fn start<'a>(&'a self, name: &'a str, params: Value) -> Fut<'a, Result<CommandState, AgentError>> {
        Self::start(self, name, params)
    }

    fn commands(&self) -> Fut<'_, Result<Vec<CommandState>, AgentError>> {
        Self::commands(self)
    }
}

/// How BMCs and agents are come by.
pub(crate) trait Outside: Send + Sync {
    /// See [`drivers::bmc::open`].
    fn bmc(&self, config: HardwareConfig) -> Result<Box<dyn Bmc>, BmcError>;
    /// See [`AgentClient::new`].
    fn agent(&self, url: &str, token: Secret, ca_pem: Option<String>, netns: Netns) -> Result<Box<dyn Agent>, AgentError>;
}

/// The world.
pub(crate) struct World;

impl Outside for World {
    fn bmc(&self, config: HardwareConfig) -> Result<Box<dyn Bmc>, BmcError> {
        drivers::bmc::open(config)
    }

    fn agent(&self, url: &str, token: Secret, ca_pem: Option<String>, netns: Netns) -> Result<Box<dyn Agent>, AgentError> {
        Ok(Box::new(AgentClient::new(url, token, ca_pem, netns)?))
    }
}
