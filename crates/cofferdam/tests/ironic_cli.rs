//! All `openstack baremetal` commands there are, by the unmodified client, on nodes of fake hardware. Each is called, what it did is looked
//! at by another, and none that the client has is left out.
#![cfg(test)]

mod ironic_cli {
    pub mod life;
    pub mod nodes;
    pub mod parts;
    pub mod plans;
    pub mod shell;
}
mod openstack;
#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::path::Path;

use ironic_cli::shell::Shell;
use ironic_cli::{life, nodes, parts, plans};
use openstack::Client;
use support::say;
use support::serve::{Serve, Setting};

/// Names a clouds.yaml whose cloud `cofferdam` is another Ironic with fake hardware: what is expected here was seen there.
const OTHER: &str = "COFFERDAM_TEST_OTHER_IRONIC";

#[test]
fn every_command_of_the_client() {
    let dir = tempfile::Builder::new().prefix("cofferdam-ironic-cli-").tempdir().unwrap();
    let setting = Setting::new(&dir.path().join("state"));
    let Some(admin) = Client::of(&setting.state_dir) else { return };
    let other = std::env::var_os(OTHER);
    let (client, serve) = match &other {
        Some(clouds) => (admin.with_clouds(Path::new(clouds)), None),
        None => (admin, Some(Serve::start(setting))),
    };
    let alone = serve.as_ref().map(|it| client.alone(&it.setting.base()));
    let shell = Shell::new(client, serve.as_ref().map(|it| it.setting.base()), dir.path());
    // Each user of the command waits mostly for Python; they do not get into each other's way.
    std::thread::scope(|scope| {
        let shell = &shell;
        let users: [(&str, std::thread::ScopedJoinHandle<'_, ()>); 5] = [
            ("nodes", scope.spawn(|| nodes::all(shell))),
            ("hardware", scope.spawn(|| nodes::hardware(shell))),
            ("the life of nodes", scope.spawn(|| life::all(shell))),
            ("what belongs to nodes", scope.spawn(|| parts::all(shell))),
            ("plans", scope.spawn(|| plans::all(shell))),
        ];
        for (name, user) in users {
            assert!(user.join().is_ok(), "{name} failed");
        }
    });
    let missed = shell.missed();
    assert!(missed.is_empty(), "never called: {missed:?}");
    say(&format!("{} commands were called {} times", shell.commands(), shell.calls()));
    if let Some(alone) = alone {
        alone.ok("baremetal node create --driver fake-hardware --name alone");
        assert_eq!(alone.json("baremetal node show alone")["provision_state"], "enroll");
        alone.ok("baremetal node delete alone");
        alone.login("admin", "another", "admin").refused("baremetal node list", &["401"]);
    }
    drop(serve);
}
