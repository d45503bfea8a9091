use std::collections::BTreeSet;

use super::*;
use crate::netos::device::Allowed;

fn switch() -> (Arc<Device>, Box<dyn Session>) {
    let shape = Shape { hostname: "leaf1".into(), ports: 4 };
    let device = Arc::new(Device::new([2; 6], Junos.rules(), Junos.factory(&shape)));
    let session = Junos.login(&device, &Login { user: "admin".into(), enable_password: None, privileged: true });
    (device, session)
}

fn enter(session: &mut dyn Session, lines: &[&str]) -> String {
    lines.iter().map(|it| session.line(it).text).collect()
}

#[test]
fn a_commit_is_in_force_and_outlasts_a_restart() {
    let (device, mut session) = switch();
    assert_eq!(device.carries("xe-0/0/1").untagged, Some(1));
    let said = enter(
        &mut *session,
        &[
            "configure private",
            "set vlans v10 vlan-id 10",
            "set vlans v20 vlan-id 20",
            "delete interfaces xe-0/0/1 unit 0",
            "set interfaces xe-0/0/1 unit 0 family ethernet-switching interface-mode trunk vlan members [ v10 20 ]",
            "set interfaces xe-0/0/1 native-vlan-id 20",
        ],
    );
    assert!(!said.contains('^'), "{said}");
    assert_eq!(device.carries("xe-0/0/1").untagged, Some(1), "not yet in force");
    assert!(session.line("commit").text.contains("commit complete"));
    let carried = device.carries("xe-0/0/1");
    assert_eq!((carried.untagged, carried.tagged), (Some(20), BTreeSet::from([10])));
    device.reboot(Duration::ZERO);
    assert_eq!(device.carries("xe-0/0/1").untagged, Some(20));
    let shown = enter(&mut *session, &["exit", "show configuration interfaces xe-0/0/1 | display set | no-more"]);
    assert!(shown.contains("set interfaces xe-0/0/1 unit 0 family ethernet-switching vlan members v10\n"), "{shown}");
    assert!(shown.ends_with("\n{master:0}\n"), "{shown}");
}

#[test]
fn a_commit_of_what_makes_no_sense_changes_nothing() {
    let (device, mut session) = switch();
    let before = device.running();
    enter(&mut *session, &["configure", "delete interfaces xe-0/0/1 unit 0 family ethernet-switching vlan"]);
    enter(&mut *session, &["set interfaces xe-0/0/1 unit 0 family ethernet-switching vlan members v-99"]);
    let said = session.line("commit").text;
    assert!(said.contains("  'members v-99'\n    vlan-name v-99 is not configured"), "{said}");
    assert!(said.contains("error: configuration check-out failed\n"), "{said}");
    assert_eq!(device.running(), before);
    assert!(session.line("exit").text.starts_with("The configuration has been changed but not committed\nExiting"));
    assert!(session.line("configure private").text.starts_with("error: shared configuration database modified"));
    assert!(enter(&mut *session, &["configure", "rollback 0"]).contains("load complete"));
    assert!(session.line("show | compare").text.starts_with("\n{master:0}[edit]"));
}

#[test]
fn hand_edits_by_other_means_show_up_as_statements() {
    let (device, mut session) = switch();
    device.edit(|it| {
        it.vlans.entry(66).or_default().name = Some("odd".into());
        let port = it.ports.get_mut("xe-0/0/2").expect("a port");
        (port.mode, port.allowed, port.native) = (Mode::Trunk, Allowed::Only(BTreeSet::from([66])), None);
    });
    let shown = session.line("show configuration | display set").text;
    assert!(shown.contains("set interfaces xe-0/0/2 unit 0 family ethernet-switching vlan members odd\n"), "{shown}");
    assert!(shown.contains("set vlans odd vlan-id 66\n"), "{shown}");
    assert!(shown.contains("set interfaces xe-0/0/1 unit 0 family ethernet-switching vlan members default\n"), "{shown}");
}

#[test]
fn links_are_grouped_only_without_units() {
    let (device, mut session) = switch();
    enter(&mut *session, &["configure exclusive", "set interfaces xe-0/0/0 ether-options 802.3ad ae1"]);
    enter(
        &mut *session,
        &["set interfaces ae1 aggregated-ether-options lacp active", "set interfaces ae1 unit 0 family ethernet-switching"],
    );
    let said = session.line("commit").text;
    assert!(said.contains("logical unit is not allowed on aggregated links"), "{said}");
    enter(&mut *session, &["delete interfaces xe-0/0/0 unit 0"]);
    assert!(session.line("commit check").text.contains("configuration check succeeds"));
    assert!(session.line("commit and-quit").text.contains("Exiting configuration mode"));
    assert_eq!(device.running().members("ae1"), ["xe-0/0/0"]);
    assert_eq!(device.carries("xe-0/0/0").untagged, Some(1));
}

#[test]
fn without_a_terminal_there_are_no_banners() {
    let (device, _session) = switch();
    let login = Login { user: "admin".into(), enable_password: None, privileged: true };
    let exec = |command: &str| Junos.exec(&device, &login, command);
    assert_eq!(exec("show configuration vlans | display set | no-more").text, "set vlans default vlan-id 1\n");
    let done = exec("configure private; set vlans v10 vlan-id 10; commit and-quit");
    assert!(done.status == 0 && done.text.ends_with("commit complete\nExiting configuration mode\n"), "{}", done.text);
    assert!(device.running().vlans.contains_key(&10));
    assert_eq!(exec("configure private; set vlans v10 bogus; commit").status, 1);
}

#[test]
fn what_it_does_not_know_it_says_so() {
    let (_device, mut session) = switch();
    assert!(session.line("frobnicate").text.contains("unknown command."));
    assert!(session.line("show frobnication").text.contains("syntax error."));
    session.line("configure");
    assert_eq!(session.line("set vlans v10 vlan-idd 5").text, format!("{}^\nsyntax error.\n\n{{master:0}}[edit]\n", " ".repeat(27)));
}
