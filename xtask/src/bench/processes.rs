//! What a server's processes cost: processor time and memory, as the kernel counts them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// Ticks a second of the times in `/proc/PID/stat`: USER_HZ is 100 on every architecture we build for (Source: proc_pid_stat(5)).
const TICKS: u64 = 100;

/// The processes of one server: some that were named or found, and all they begot.
pub(crate) struct Processes {
    roots: BTreeSet<u32>,
}

/// Processor time so far of each process.
#[derive(Default, Clone, Debug)]
pub(crate) struct Reading {
    /// By process id: its name and its ticks.
    spent: BTreeMap<u32, (String, u64)>,
}

impl Processes {
    /// Those named, or those that listen on the port on this machine; none if it is another machine's.
    ///
    /// # Errors
    /// A process that was named is not there, or `/proc` cannot be read.
    pub(crate) fn find(named: &[u32], port: u16) -> Result<Self> {
        let proc = Path::new("/proc");
        for pid in named {
            ensure!(proc.join(pid.to_string()).is_dir(), "there is no process {pid}");
        }
        let roots = if named.is_empty() { listening_on(proc, port)? } else { named.iter().copied().collect() };
        Ok(Self { roots })
    }

    /// Those that were named or found.
    pub(crate) fn roots(&self) -> impl Iterator<Item = u32> {
        self.roots.iter().copied()
    }

    /// Whether there is anything to be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Reads the processor time of all of them as they are now.
    pub(crate) fn read(&self) -> Reading {
        let all: BTreeMap<u32, Stat> = processes(Path::new("/proc")).into_iter().filter_map(|pid| Some((pid, stat_of(pid)?))).collect();
        let family = family(&self.roots, all.iter().map(|(pid, stat)| (*pid, stat.parent)));
        let spent = all.into_iter().filter(|(pid, _)| family.contains(pid)).map(|(pid, stat)| (pid, (stat.name, stat.ticks)));
        Reading { spent: spent.collect() }
    }

    /// Memory they hold now, in bytes: each page shared by several counts in parts where the kernel tells, else for each of them.
    pub(crate) fn memory(&self) -> u64 {
        self.read().spent.keys().filter_map(|pid| memory_of(*pid)).sum()
    }
}

impl Reading {
    /// Processor time since an earlier reading, by the name of the process. Who began meanwhile counts whole, who ended not at all.
    pub(crate) fn since(&self, earlier: &Self) -> BTreeMap<String, Duration> {
        let mut by_name = BTreeMap::new();
        for (pid, (name, ticks)) in &self.spent {
            let before = earlier.spent.get(pid).map_or(0, |it| it.1);
            *by_name.entry(name.clone()).or_default() += Duration::from_millis(ticks.saturating_sub(before) * (1000 / TICKS));
        }
        by_name
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: u32,
    ticks: u64,
}

/// `PID (NAME) STATE PPID …`: the name may hold blanks and parentheses, so what follows begins at the last one.
fn stat(text: &str) -> Option<Stat> {
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let mut fields = after.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut times = fields.skip(9);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(Stat { name, parent, ticks: user + system })
}

fn stat_of(pid: u32) -> Option<Stat> {
    stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The value of a line such as `Pss:  12 kB`, in bytes.
fn kib_line(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn memory_of(pid: u32) -> Option<u64> {
    let shares = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok().and_then(|text| kib_line(&text, "Pss"));
    shares.or_else(|| kib_line(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS"))
}

fn processes(proc: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The roots and everyone who descends from them.
fn family(roots: &BTreeSet<u32>, parents: impl Iterator<Item = (u32, u32)>) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, parent) in parents {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = roots.clone();
    let mut open: Vec<u32> = roots.iter().copied().collect();
    while let Some(pid) = open.pop() {
        open.extend(children.get(&pid).into_iter().flatten().copied().filter(|child| found.insert(*child)));
    }
    found
}

/// The inodes of the sockets that listen on a port (Source: proc_pid_net(5); state 0A is LISTEN).
fn listeners(table: &str, port: u16) -> Vec<u64> {
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next()?.rsplit_once(':')?.1;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        (u16::from_str_radix(local, 16).ok()? == port && state == "0A").then(|| inode.parse().ok())?
    });
    rows.collect()
}

/// The processes that hold a socket listening on the port.
fn listening_on(proc: &Path, port: u16) -> Result<BTreeSet<u32>> {
    let ipv4 = std::fs::read_to_string(proc.join("net/tcp")).context("cannot read /proc/net/tcp")?;
    // Without IPv6 in the kernel there is no such file.
    let ipv6 = std::fs::read_to_string(proc.join("net/tcp6")).unwrap_or_default();
    let wanted: BTreeSet<String> =
        listeners(&ipv4, port).into_iter().chain(listeners(&ipv6, port)).map(|inode| format!("socket:[{inode}]")).collect();
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let holds = |pid: &u32| {
        let files = std::fs::read_dir(proc.join(pid.to_string()).join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| link.to_str().is_some_and(|link| wanted.contains(link)))
    };
    Ok(processes(proc).into_iter().filter(holds).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_be_anything() {
        let text = "42 (a) R (b)) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 2 0 99 1000 20 18446744073709551615";
        assert_eq!(stat(text), Some(Stat { name: "a) R (b)".into(), parent: 7, ticks: 300 }));
        assert_eq!(stat("42 (a) S 7"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn only_who_listens_on_the_port_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
                     1: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n\
                     2: 0100007F:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n\
                     torn line\n";
        assert_eq!(listeners(table, 5000), [4711]);
        assert!(listeners(table, 1).is_empty());
    }

    #[test]
    fn a_port_leads_to_its_process() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert!(listening_on(Path::new("/proc"), port).unwrap().contains(&std::process::id()), "{address}");
        }
    }

    #[test]
    fn children_of_children_belong_to_it() {
        let parents = [(1, 0), (2, 1), (3, 2), (4, 1), (5, 3), (6, 4)];
        assert_eq!(family(&BTreeSet::from([2]), parents.into_iter()), BTreeSet::from([2, 3, 5]));
        assert_eq!(family(&BTreeSet::from([3, 4]), parents.into_iter()), BTreeSet::from([3, 4, 5, 6]));
    }

    #[test]
    fn time_is_what_was_spent_between_two_readings() {
        let reading = |all: &[(u32, &str, u64)]| Reading { spent: all.iter().map(|it| (it.0, (it.1.to_owned(), it.2))).collect() };
        let earlier = reading(&[(1, "a", 100), (2, "b", 50), (9, "gone", 7)]);
        let later = reading(&[(1, "a", 150), (2, "b", 50), (3, "a", 5)]);
        assert_eq!(later.since(&earlier), BTreeMap::from([("a".into(), Duration::from_millis(550)), ("b".into(), Duration::ZERO)]));
    }

    #[test]
    fn our_own_cost_can_be_read() {
        let own = Processes::find(&[std::process::id()], 1).unwrap();
        assert!(own.memory() > 1 << 20);
        assert!(own.read().spent.contains_key(&std::process::id()));
        assert!(Processes::find(&[u32::MAX], 1).is_err());
    }

    #[test]
    fn lines_of_proc_are_in_kib() {
        assert_eq!(kib_line("Rss:  9 kB\nPss:                  12 kB\nPss_Dirty: 3 kB\n", "Pss"), Some(12 * 1024));
        assert_eq!(kib_line("Rss: 1 kB", "Pss"), None);
    }
}
