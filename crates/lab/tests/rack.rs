//! Whole racks, on this machine's kernel, as root: switches, cables, power, both ways of booting, and that nothing is left behind.
//!
//! They run the example `lab` (this crate's command line alone), which `cargo test -p lab` builds first.

#[cfg(test)]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::{TestRack, boot_server, disk_image, ramdisk, reachable, root_or_skip, set_port, sh};

#[tokio::test]
async fn a_rack_comes_up_closed_and_goes_without_a_trace() {
    root_or_skip!();
    let rack = TestRack::up(2, 2);
    let description = rack.load();

    // Closed: every machine port isolated, every trunk empty.
    for leaf in &description.leaves {
        let port = sh(&format!("ovs-vsctl --db={} get port p1 tag protected", leaf.ovsdb));
        assert_eq!(port.split_whitespace().collect::<Vec<_>>(), ["4094", "true"]);
        for uplink in &leaf.uplinks {
            assert_eq!(sh(&format!("ovs-vsctl --db={} get port {uplink} trunks vlan_mode", leaf.ovsdb)).trim(), "[4095]\ntrunk");
        }
    }

    // Power: real machines, with nothing on their disks.
    let reset = rack.reset("m1", "On").await;
    assert_eq!(reset, 204);
    rack.reset("m2", "On").await;
    rack.becomes("m1", "On").await;
    rack.becomes("m2", "On").await;
    rack.says("m1", "no bootable device").await;
    rack.says("m2", "no bootable device").await;

    // Packets: only where the switches were told to let them through.
    rack.address("m1", "10.7.0.1/24");
    rack.address("m2", "10.7.0.2/24");
    let m1 = description.machine("m1").unwrap().netns.clone();
    let [leaf1, leaf2] = [&description.leaves[0], &description.leaves[1]];
    assert!(!reachable(&m1, "10.7.0.2"), "isolated ports");
    set_port(leaf1, "p1", "tag=101 protected=false");
    set_port(leaf2, "p1", "tag=101 protected=false");
    assert!(!reachable(&m1, "10.7.0.2"), "the trunk lets no VLAN through by itself");
    set_port(leaf1, "to-leaf2", "trunks=101,102");
    set_port(leaf2, "to-leaf1", "trunks=101,102");
    assert!(reachable(&m1, "10.7.0.2"));
    set_port(leaf2, "p1", "tag=102");
    // The switch has the new VLAN at once; flows it remembers are looked through a moment later.
    assert!((0..5).any(|_| !reachable(&m1, "10.7.0.2")), "another VLAN");
    set_port(leaf2, "p1", "tag=101");

    // Off is off; on again is a new system on the same cable, whatever the old one did to its NIC.
    sh(&format!("ip -n {m1} link set eth0 down && ip -n {m1} link set eth0 name odd0 address 52:54:00:00:00:99 mtu 1400"));
    assert_eq!(rack.reset("m1", "ForceOff").await, 204);
    rack.becomes("m1", "Off").await;
    assert!(!fs::exists(format!("/run/netns/{m1}")).unwrap());
    assert!(rack.processes_in(&m1).is_empty());
    assert_eq!(rack.reset("m1", "GracefulShutdown").await, 409);
    rack.reset("m1", "On").await;
    rack.becomes("m1", "On").await;
    let link = sh(&format!("ip -n {m1} -o link show eth0"));
    assert!(link.contains(&description.machine("m1").unwrap().mac) && link.contains("mtu 1500"), "{link}");
    rack.address("m1", "10.7.0.1/24");
    assert!(reachable(&m1, "10.7.0.2"));

    // Even if it destroyed it.
    sh(&format!("ip -n {m1} link del eth0"));
    let console = description.machine("m1").unwrap().console.clone();
    rack.says("m1", "no bootable device").await;
    fs::write(&console, "").unwrap();
    rack.reset("m1", "ForceRestart").await;
    // The states between may be too short to be seen.
    support::within(Duration::from_secs(10), "a new NIC", || fs::read_to_string(&console).unwrap().contains("no bootable device")).await;
    rack.becomes("m1", "On").await;
    rack.address("m1", "10.7.0.1/24");
    support::within(Duration::from_secs(10), "the new cable switches", || reachable(&m1, "10.7.0.2")).await;

    rack.down_without_a_trace();
}

#[tokio::test]
async fn a_killed_daemon_leaves_a_rack_that_can_be_replaced_and_removed() {
    root_or_skip!();
    let rack = TestRack::up(1, 1);
    let before = rack.load();
    rack.reset("m1", "On").await;
    rack.becomes("m1", "On").await;
    rack.kill_daemon();
    assert!(fs::exists(format!("/run/netns/{}", before.machines[0].netns)).unwrap(), "the machine lives on without the daemon");
    let status = rack.lab("status", &[]);
    assert!(!status.status.success());

    rack.start(1, 1);
    let after = rack.load();
    assert_eq!(after.machines[0].bmc.password, before.machines[0].bmc.password);
    assert_eq!(after.machines[0].mac, before.machines[0].mac);
    rack.becomes("m1", "Off").await;
    let again = rack.lab("up", &[]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("runs already"));

    rack.reset("m1", "On").await;
    rack.becomes("m1", "On").await;
    rack.kill_daemon();
    rack.down_without_a_trace();
    rack.down_without_a_trace();
}

#[tokio::test]
async fn a_switch_whose_program_dies_comes_back_as_it_was() {
    root_or_skip!();
    let rack = TestRack::up(1, 2);
    let leaf = rack.load().leaves[0].clone();
    set_port(&leaf, "p1", "tag=105");
    for program in ["ovs-vswitchd", "ovsdb-server"] {
        let file = rack.dir().join("leaf1").join(format!("{program}.pid"));
        let pid = fs::read_to_string(&file).unwrap();
        sh(&format!("kill -9 {pid}"));
        support::within(Duration::from_secs(10), program, || {
            fs::read_to_string(&file).is_ok_and(|now| now != pid)
                && std::os::unix::net::UnixStream::connect(rack.dir().join("leaf1/db.sock")).is_ok()
        })
        .await;
    }
    let said = sh(&format!("ovs-vsctl --timeout=60 --db={} set port p2 tag=106 -- get port p1 tag", leaf.ovsdb));
    assert_eq!(said.trim(), "105");
    rack.down_without_a_trace();
}

#[tokio::test]
async fn a_machine_boots_from_the_network_once_and_then_from_its_disk() {
    root_or_skip!();
    let rack = TestRack::up(2, 2);
    let description = rack.load();
    let m1 = description.machine("m1").unwrap().clone();
    // m2 plays the boot server on the other leaf; both in VLAN 99.
    for (leaf, uplink) in [(&description.leaves[0], "to-leaf2"), (&description.leaves[1], "to-leaf1")] {
        set_port(leaf, "p1", "tag=99 protected=false");
        set_port(leaf, uplink, "trunks=99");
    }
    rack.reset("m2", "On").await;
    rack.becomes("m2", "On").await;
    rack.address("m2", "172.30.0.1/24");
    let init = "#!/bin/sh\necho \"agent: $(cat /proc/cmdline)\"\nhead -c 5 /dev/vda | tr '\\000' 0; echo\n\
                printf from-agent | dd of=/dev/vda bs=1 seek=1048576 conv=notrunc 2>/dev/null\n\
                ls -1 /sys/class/net; ls /host /work 2>/dev/null; echo $$; exit 0\n";
    let _server = boot_server(&description.machine("m2").unwrap().netns, &m1.mac, ramdisk(init));

    let boot = serde_json::json!({"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}});
    assert_eq!(rack.patch("m1", &boot).await, 204);
    let began = Instant::now();
    rack.reset("m1", "On").await;
    rack.says("m1", "init ended").await;
    eprintln!("network boot took {:?}", began.elapsed());
    rack.becomes("m1", "Off").await;
    let console = rack.console("m1");
    assert!(console.contains("agent: ipa-api-url=http://172.30.0.1:8089/baremetal mac=") && console.contains(&m1.mac), "{console}");
    assert!(console.contains("\n00000\n"), "the disk is at /dev/vda: {console}");
    assert!(console.contains("\neth0\nlo\n1\n"), "{console}");
    let mut written = vec![0; 10];
    std::os::unix::fs::FileExt::read_exact_at(&fs::File::open(&m1.disk).unwrap(), &mut written, 1 << 20).unwrap();
    assert_eq!(written, b"from-agent");

    // The override is used up; the next boot is from the disk, which restarts itself, counts, and obeys the power button.
    let init = "#!/bin/sh\nread n < /count; n=$((n + 1)); echo $n > /count; sync\necho \"boot $n: $(cat /proc/cmdline)\"\n\
                test $n = 1 && exec /reboot\ntest $n = 2 && exit 0\n\
                trap 'echo button; exit 0' TERM\necho waiting\nwhile :; do sleep 1 & wait; done\n";
    disk_image(&m1.disk, init);
    rack.reset("m1", "On").await;
    rack.says("m1", "boot 2: root=PARTUUID=").await;
    rack.becomes("m1", "Off").await;
    let loops = sh("losetup -a");
    assert!(!loops.contains(m1.disk.to_str().unwrap()), "{loops}");
    rack.reset("m1", "On").await;
    rack.says("m1", "waiting").await;
    rack.reset("m1", "GracefulShutdown").await;
    rack.says("m1", "button").await;
    rack.becomes("m1", "Off").await;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(rack.dir().to_str().unwrap()));
    rack.down_without_a_trace();
}

#[tokio::test]
async fn racks_that_cannot_be_are_refused_in_a_sentence() {
    root_or_skip!();
    let rack = TestRack::named();
    for (arguments, expected) in
        [(["--leaves", "0"], "1 to 16 leaves"), (["--machines", "65"], "at most 64 machines"), (["--disk-gb", "0"], "a disk of 1")]
    {
        let refused = rack.lab("up", &arguments);
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    }
    assert!(!rack.dir().exists());
}
