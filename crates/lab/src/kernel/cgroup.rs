//! Control groups of machines, in both versions.
//!
//! A version 1 hierarchy gets our group below the group we are in ourselves, so that whatever limits us limits the rack. In version 2
//! a group with processes cannot have limited children (cgroup-v2.rst, "no internal process constraint"), so ours lies at the
//! top of the mounted tree, where Docker's lies too. A controller that is missing, or that we may not use, is done without.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How deep to look for groups of a rack that is no longer running.
const MAX_DEPTH: usize = 8;

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    mount: PathBuf,
    unified: bool,
    /// The mount's options, which name the controllers in version 1.
    controllers: Vec<String>,
    /// The group of the mount that is its root.
    root: String,
}

/// The hierarchies this process sees.
pub(crate) fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    Ok(parse_mounts(&fs::read_to_string("/proc/self/mountinfo")?))
}

fn parse_mounts(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut left = left.split(' ').skip(3);
        let (Some(root), Some(mount)) = (left.next(), left.next()) else { continue };
        let mut right = right.split(' ');
        let (Some(kind), Some(_source), Some(options)) = (right.next(), right.next(), right.next()) else { continue };
        if kind != "cgroup" && kind != "cgroup2" {
            continue;
        }
        let hierarchy = Hierarchy {
            mount: PathBuf::from(mount),
            unified: kind == "cgroup2",
            controllers: options.split(',').filter(|option| !matches!(*option, "rw" | "ro")).map(str::to_owned).collect(),
            root: root.to_owned(),
        };
        // The same hierarchy may be mounted twice; once is enough.
        if !found.iter().any(|it| it.unified == hierarchy.unified && it.controllers == hierarchy.controllers) {
            found.push(hierarchy);
        }
    }
    found
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|it| it == controller)
    }

    /// Where the rack's group belongs, given /proc/self/cgroup.
    fn base(&self, own: &str) -> PathBuf {
        if self.unified {
            return self.mount.clone();
        }
        let group = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
            let same = names.split(',').all(|name| self.has(name)) && !names.is_empty();
            same.then_some(path)
        });
        let inside = group.and_then(|group| group.strip_prefix(self.root.trim_end_matches('/'))).unwrap_or("");
        self.mount.join(inside.trim_start_matches('/'))
    }
}

fn group_name(rack: &str) -> String {
    format!("cofferdam-{rack}")
}

/// The groups, one a hierarchy, that belong to a machine.
pub(crate) struct MachineGroups(pub(crate) Vec<(Hierarchy, PathBuf)>);

/// Where the groups of a machine are to be, as seen by this process.
pub(crate) fn of_machine(rack: &str, machine: &str) -> io::Result<MachineGroups> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    Ok(MachineGroups(
        hierarchies()?
            .into_iter()
            .map(|hierarchy| {
                let path = hierarchy.base(&own).join(group_name(rack)).join(machine);
                (hierarchy, path)
            })
            .collect(),
    ))
}

impl MachineGroups {
    /// The directories.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|(_, path)| path.clone()).collect()
    }

    /// Makes the groups and limits the machine's memory. A hierarchy that does not let us is left out with a word in the log.
    pub(crate) fn create(&self, memory_mb: u64) {
        for (hierarchy, path) in &self.0 {
            if let Err(error) = create(hierarchy, path, memory_mb) {
                tracing::debug!(group = %path.display(), %error, "no control group");
            }
        }
    }

    /// Puts this process into all of the groups that exist; in version 2 one below, so that the machine can have children with limits.
    ///
    /// # Errors
    /// Only if a group is there and does not take us.
    pub(crate) fn enter(&self) -> io::Result<()> {
        for (_, path) in &self.0 {
            if path.is_dir() {
                fs::write(path.join("cgroup.procs"), std::process::id().to_string())?;
            }
        }
        Ok(())
    }

    /// In version 2 and as the root of a control group namespace: moves this process out of the way and hands the controllers on, as the
    /// kernel does for the real root. Where there is nothing to hand on nothing is done.
    pub(crate) fn yield_root(&self) -> io::Result<()> {
        for (hierarchy, path) in &self.0 {
            if !hierarchy.unified || !path.is_dir() {
                continue;
            }
            let controllers = fs::read_to_string(path.join("cgroup.controllers"))?;
            if controllers.trim().is_empty() {
                continue;
            }
            let below = path.join("init");
            fs::create_dir(&below).or_else(exists)?;
            fs::write(below.join("cgroup.procs"), std::process::id().to_string())?;
            offer_controllers(path);
        }
        Ok(())
    }
}

fn exists(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn create(hierarchy: &Hierarchy, path: &Path, memory_mb: u64) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    for group in [parent, path] {
        fs::create_dir(group).or_else(exists)?;
        if hierarchy.has("cpuset")
            && let Err(error) = inherit_cpuset(group)
        {
            // It would take no process; better none.
            fs::remove_dir(group)?;
            return Err(error);
        }
    }
    if hierarchy.unified
        && let Some(top) = parent.parent()
    {
        // From the top down: a group can offer only what it was offered.
        for group in [top, parent] {
            offer_controllers(group);
        }
    }
    let bytes = (memory_mb << 20).to_string();
    if hierarchy.has("memory") {
        fs::write(path.join("memory.limit_in_bytes"), bytes)?;
    } else if hierarchy.unified && path.join("memory.max").exists() {
        fs::write(path.join("memory.max"), bytes)?;
    }
    Ok(())
}

/// A fresh cpuset of version 1 has neither processors nor memory and takes no process until it has both (cpusets(7)).
fn inherit_cpuset(group: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Some(above) = group.parent() {
            fs::write(group.join(file), fs::read_to_string(above.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// Hands a version 2 group's controllers on to its children, each on its own: one that is refused does not cost the others.
fn offer_controllers(group: &Path) {
    let offered = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    let given = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    for controller in offered.split_whitespace().filter(|it| !given.split_whitespace().any(|given| given == *it)) {
        if let Err(error) = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}")) {
            tracing::debug!(group = %group.display(), controller, %error, "a controller is not handed on");
        }
    }
}

/// Every group of the rack that exists, wherever in the hierarchies an earlier process put it.
pub(crate) fn of_rack(rack: &str) -> io::Result<Vec<PathBuf>> {
    let name = group_name(rack);
    let mut found = Vec::new();
    let mut pending: Vec<(PathBuf, usize)> = hierarchies()?.into_iter().map(|it| (it.mount, 0)).collect();
    while let Some((dir, depth)) = pending.pop() {
        for child in children(&dir) {
            if child.file_name().is_some_and(|it| it == name.as_str()) {
                found.push(child);
            } else if depth < MAX_DEPTH {
                pending.push((child, depth + 1));
            }
        }
    }
    Ok(found)
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir())).map(|entry| entry.path()).collect()
}

/// All processes of a group and of those below it, by host pid.
pub(crate) fn processes(group: &Path) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut pending = vec![group.to_owned()];
    while let Some(dir) = pending.pop() {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        pending.extend(children(&dir));
    }
    found
}

/// Removes groups with all below them. They should hold no process any more: one that has just ended is waited for, and one that a
/// process begot as it was killed is killed too.
///
/// # Errors
/// As the kernel says, after twenty seconds.
pub(crate) async fn remove(groups: &[PathBuf]) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    for group in groups {
        loop {
            match remove_tree(group) {
                Ok(()) => break,
                Err(error) if Instant::now() > until => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", group.display())));
                }
                Err(_) => {
                    for pid in processes(group) {
                        // An error says that it is gone by now, which is what is wanted.
                        let _gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    Ok(())
}

fn remove_tree(group: &Path) -> io::Result<()> {
    for child in children(group) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_lie_below_our_own_in_version_1_and_at_the_top_in_version_2() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n\
                      31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 24 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      33 24 0:29 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n\
                      34 24 0:30 / /proc rw - proc proc rw";
        let own = "4:memory:/session/7\n3:cpu,cpuacct:/\n2:name=systemd:/user\n0::/deep";
        let bases: Vec<_> = parse_mounts(mounts).iter().map(|it| it.base(own).display().to_string()).collect();
        assert_eq!(
            bases,
            ["/sys/fs/cgroup/memory/session/7", "/sys/fs/cgroup/cpu,cpuacct/", "/sys/fs/cgroup/systemd/user", "/sys/fs/cgroup/unified"]
        );
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let mounts = "30 24 0:26 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        assert_eq!(parse_mounts(mounts)[0].base("4:memory:/docker/abc"), Path::new("/sys/fs/cgroup/memory/"));
    }
}
