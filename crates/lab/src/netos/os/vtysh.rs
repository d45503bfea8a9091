//! FRR's integrated shell, as far as a layer 2 fabric with EVPN needs it: the sections of its configuration, kept as lines.
//!
//! Source: FRRouting user guide, chapters "VTY shell", "BGP" (section EVPN).

use super::shell::Ran;

/// What may be said within what: the words that begin a line, and whether the line opens a section.
const COMMANDS: &[(&str, &str, bool)] = &[
    ("", "router bgp", true),
    ("", "vrf", true),
    ("", "interface", true),
    ("", "route-map", true),
    ("", "hostname", false),
    ("", "frr", false),
    ("", "log", false),
    ("", "ip prefix-list", false),
    ("", "ip route", false),
    ("", "ip nht", false),
    ("", "service", false),
    ("", "line vty", false),
    ("router bgp", "address-family l2vpn evpn", true),
    ("router bgp", "address-family ipv4 unicast", true),
    ("router bgp", "bgp", false),
    ("router bgp", "neighbor", false),
    ("router bgp", "no bgp", false),
    ("router bgp", "timers", false),
    ("address-family l2vpn evpn", "advertise-all-vni", false),
    ("address-family l2vpn evpn", "advertise-default-gw", false),
    ("address-family l2vpn evpn", "advertise-svi-ip", false),
    ("address-family l2vpn evpn", "neighbor", false),
    ("address-family l2vpn evpn", "vni", true),
    ("address-family ipv4 unicast", "neighbor", false),
    ("address-family ipv4 unicast", "redistribute", false),
    ("address-family ipv4 unicast", "network", false),
    ("vni", "rd", false),
    ("vni", "route-target", false),
    ("vrf", "vni", false),
    ("interface", "description", false),
    ("interface", "ip address", false),
    ("route-map", "match", false),
    ("route-map", "set", false),
];

/// What is asked for beside changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing.
    Nothing,
    /// The configuration is to be saved.
    Save,
}

/// Runs `vtysh` with these arguments on a configuration kept as indented lines.
pub(crate) fn run(args: &[String], lines: &mut Vec<String>) -> (Ran, Asked) {
    let mut commands = Vec::new();
    let mut rest = args.iter();
    while let Some(it) = rest.next() {
        match it.as_str() {
            "-c" => commands.extend(rest.next().map(String::as_str)),
            "-b" | "-E" => {}
            _ => return (Ran::failed(1, format!("vtysh: invalid option -- '{}'\n", it.trim_start_matches('-'))), Asked::Nothing),
        }
    }
    let mut out = String::new();
    let mut asked = Asked::Nothing;
    let mut configuring = false;
    let mut path: Vec<String> = Vec::new();
    for line in commands.iter().flat_map(|it| it.split('\n')).map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = words.join(" ");
        match words.as_slice() {
            ["configure" | "conf", ..] if !configuring => configuring = true,
            ["end"] => {
                configuring = false;
                path.clear();
            }
            ["exit" | "quit" | "exit-address-family" | "exit-vni" | "exit-vrf"] if configuring => {
                if path.pop().is_none() {
                    configuring = false;
                }
            }
            ["write" | "wr"] | ["write" | "wr", "memory" | "file"] | ["copy", "running-config", "startup-config"] => {
                asked = Asked::Save;
                out.push_str(
                    "Note: this version of vtysh never writes vtysh.conf\nBuilding Configuration...\nIntegrated configuration saved to /etc/frr/frr.conf\n[OK]\n",
                );
            }
            ["show", "running-config" | "run", ..] | ["write" | "wr", "terminal"] => {
                out.push_str("Building configuration...\n\nCurrent configuration:\n!\nfrr version 8.4.2\nfrr defaults datacenter\n");
                out.push_str(&shown(lines));
                out.push_str("end\n");
            }
            ["show", "version"] => out.push_str("FRRouting 8.4.2 on Linux.\n"),
            ["show", "bgp" | "ip" | "evpn" | "interface" | "vrf", ..] => {}
            ["terminal", ..] => {}
            _ if configuring && change(&text, &mut path, lines) => {}
            _ => {
                out.push_str(&format!("% Unknown command: {text}\n"));
                return (Ran { out, err: String::new(), status: 1 }, asked);
            }
        }
    }
    (Ran::ok(out), asked)
}

fn shown(lines: &[String]) -> String {
    let mut out = String::new();
    for line in lines {
        if !line.starts_with(' ') {
            out.push_str("!\n");
        }
        out.push_str(line);
        out.push('\n');
    }
    out + "!\n"
}

fn begins(text: &str, with: &str) -> bool {
    text.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// Carries out a configuration line; a line that a section does not know is looked for in the sections above. Says whether it is known.
fn change(text: &str, path: &mut Vec<String>, lines: &mut Vec<String>) -> bool {
    let (plain, no) = match text.strip_prefix("no ") {
        Some(rest) if !begins(text, "no bgp") => (rest, true),
        _ => (text, false),
    };
    for depth in (0..=path.len()).rev() {
        let section = depth.checked_sub(1).and_then(|it| path.get(it)).cloned().unwrap_or_default();
        let Some((_, command, opens)) = COMMANDS.iter().find(|(within, command, _)| {
            (if within.is_empty() { section.is_empty() } else { begins(&section, within) }) && begins(plain, command)
        }) else {
            continue;
        };
        path.truncate(depth);
        if no {
            remove(lines, path, plain);
        } else {
            insert(lines, path, plain, command);
            if *opens {
                path.push(plain.to_owned());
            }
        }
        return true;
    }
    false
}

/// From which line to before which line the section at a path goes.
fn section(lines: &[String], path: &[String]) -> Option<(usize, usize)> {
    let (mut from, mut to) = (0, lines.len());
    for (depth, name) in path.iter().enumerate() {
        let wanted = format!("{}{name}", " ".repeat(depth));
        let at = (from..to).find(|it| lines.get(*it).is_some_and(|it| *it == wanted))?;
        from = at + 1;
        to = (from..to).find(|it| lines.get(*it).is_some_and(|it| indent(it) <= depth)).unwrap_or(to);
    }
    Some((from, to))
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|it| *it == ' ').count()
}

fn insert(lines: &mut Vec<String>, path: &[String], text: &str, command: &str) {
    let Some((from, to)) = section(lines, path) else { return };
    let line = format!("{}{text}", " ".repeat(path.len()));
    if lines.get(from..to).is_some_and(|it| it.contains(&line)) {
        return;
    }
    // There is one of each of these.
    let single = ["rd", "hostname", "description"].contains(&command);
    let start = format!("{}{command} ", " ".repeat(path.len()));
    if single && let Some(old) = (from..to).find(|it| lines.get(*it).is_some_and(|it| it.starts_with(&start))) {
        lines.remove(old);
        lines.insert(old, line);
    } else {
        lines.insert(to, line);
    }
}

fn remove(lines: &mut Vec<String>, path: &[String], text: &str) {
    let Some((from, to)) = section(lines, path) else { return };
    let line = format!("{}{text}", " ".repeat(path.len()));
    let found = (from..to).find(|it| lines.get(*it).is_some_and(|it| *it == line || it.starts_with(&format!("{line} "))));
    let Some(at) = found else { return };
    let end = (at + 1..to).find(|it| lines.get(*it).is_some_and(|it| indent(it) <= path.len())).unwrap_or(to);
    lines.drain(at..end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vtysh(lines: &mut Vec<String>, commands: &[&str]) -> Ran {
        let args: Vec<String> = commands.iter().flat_map(|it| ["-c".to_owned(), (*it).to_owned()]).collect();
        run(&args, lines).0
    }

    #[test]
    fn sections_are_entered_and_left() {
        let mut lines = Vec::new();
        let evpn = ["configure terminal", "router bgp 65001", "address-family l2vpn evpn"];
        for vni in ["vni 100", "vni 200"] {
            let ran = vtysh(&mut lines, &[&evpn[..], &["advertise-all-vni", vni, "rd auto", "route-target import auto"]].concat());
            assert_eq!(ran, Ran::ok(""));
        }
        assert_eq!(
            lines,
            [
                "router bgp 65001",
                " address-family l2vpn evpn",
                "  advertise-all-vni",
                "  vni 100",
                "   rd auto",
                "   route-target import auto",
                "  vni 200",
                "   rd auto",
                "   route-target import auto"
            ]
        );
        vtysh(&mut lines, &[&evpn[..], &["no vni 100"]].concat());
        assert!(!lines.iter().any(|it| it.contains("vni 100")) && lines.len() == 6, "{lines:?}");
        assert_eq!(vtysh(&mut lines, &["configure terminal", "vni 5 bogus", "rd auto"]).status, 1);
        assert!(vtysh(&mut lines, &["show running-config"]).out.contains("\n  vni 200\n"));
    }
}
