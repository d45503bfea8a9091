//! A switch of no vendor that is spoken to by NETCONF and gNMI with OpenConfig. Its command line only looks.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::{Answer, Login, Os, Running, Session, Shape, Stream};
use crate::netos::device::{Config, Device, Rules};
use crate::netos::{Access, gnmi, netconf, openconfig};

/// The operating system.
pub(super) struct OpenConfig;

impl Os for OpenConfig {
    fn name(&self) -> &'static str {
        "openconfig"
    }

    fn rules(&self) -> Rules {
        Rules { declares_vlans: true, native_must_be_allowed: false }
    }

    fn factory(&self, shape: &Shape) -> Config {
        openconfig::factory(&shape.hostname, shape.ports)
    }

    fn login(&self, device: &Arc<Device>, _login: &Login) -> Box<dyn Session> {
        Box::new(Cli(Arc::clone(device)))
    }

    fn subsystem(&self, device: &Arc<Device>, _login: &Login, name: &str, stream: Box<dyn Stream>) -> Option<Running> {
        (name == "netconf").then(|| netconf::serve(device, stream))
    }

    fn gnmi(&self, device: &Arc<Device>, access: &Arc<Access>, listener: TcpListener) -> Option<Running> {
        Some(gnmi::serve(device, access, listener))
    }
}

struct Cli(Arc<Device>);

impl Session for Cli {
    fn prompt(&self) -> String {
        format!("{}> ", self.0.running().hostname)
    }

    fn line(&mut self, line: &str) -> Answer {
        match line.trim() {
            "" => Answer::nothing(),
            "exit" | "quit" => Answer::end(),
            "show configuration" => {
                let tree = openconfig::tree(&self.0.running());
                Answer::say(super::shell::pretty(&openconfig::to_ietf(&tree, openconfig::schema::ROOT, None), 2))
            }
            _ => self.refuse(line),
        }
    }

    fn refuse(&mut self, _line: &str) -> Answer {
        Answer { status: 1, ..Answer::say("% unknown command\n") }
    }
}
