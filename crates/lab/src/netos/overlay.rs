//! Switches that are ready for VXLAN networks.

/// What an operator has set up before VLANs can be mapped to VXLAN networks.
pub(super) fn lines(os: &str) -> &'static [&'static str] {
    match os {
        "arista_eos" => &["enable", "configure", "interface Vxlan1", "vxlan source-interface Loopback0", "router bgp 65001", "end"],
        "cisco_nxos" => &[
            "configure terminal",
            "nv overlay evpn",
            "feature nv overlay",
            "feature vn-segment-vlan-based",
            "feature bgp",
            "router bgp 65001",
            "interface nve1",
            "no shutdown",
            "host-reachability protocol bgp",
            "source-interface loopback0",
            "end",
        ],
        "juniper_junos" => &[
            "configure",
            "set switch-options vtep-source-interface lo0.0",
            "set switch-options route-distinguisher 10.0.0.1:1",
            "set switch-options vrf-target target:65001:1",
            "set protocols evpn encapsulation vxlan",
            "set protocols evpn extended-vni-list all",
            "commit and-quit",
        ],
        "sonic" => &["sudo config vxlan add vtep 10.0.0.1", "sudo config vxlan evpn_nvo add nvo vtep"],
        "cumulus_nvue" => {
            &["nv set nve vxlan enable on", "nv set nve vxlan source address 10.0.0.1", "nv config apply -y", "nv config save"]
        }
        _ => &[],
    }
}
