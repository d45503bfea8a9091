//! Removing everything a rack has made, whether or not its daemon is there to say what that was: all of it is found by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{cgroup, links, processes};
use crate::rack::prefix;

/// Removes a rack's processes, namespaces (and with them its cables, switches' devices and control plane attachments), loop devices
/// and control groups. Goes on after an error and returns all of them; none means nothing is left.
pub(crate) async fn kernel_objects(rack: &str, dir: &Path) -> Vec<String> {
    let mut errors = Vec::new();
    let mut note = |what: &str, error: &dyn std::fmt::Display| errors.push(format!("{what}: {error}"));
    let namespaces = links::namespaces(&prefix(rack)).unwrap_or_else(|error| {
        note("listing network namespaces", &error);
        Vec::new()
    });
    let groups = cgroup::of_rack(rack).unwrap_or_else(|error| {
        note("listing control groups", &error);
        Vec::new()
    });
    if let Err(error) = processes::kill_all(&namespaces, &groups).await {
        note("ending processes", &error);
    }
    if let Err(error) = loops_gone(dir).await {
        note("detaching loop devices", &error);
    }
    for name in &namespaces {
        if let Err(error) = links::remove_namespace(name).await {
            note("removing a network namespace", &error);
        }
    }
    if let Err(error) = cgroup::remove(&groups).await {
        note("removing control groups", &error);
    }
    errors
}

/// Waits until no loop device is backed by `path` or by a file below it. The kernel detaches them by itself after the last process of the
/// machine that mounted them, but not at once; attaching the file again before that would mount one file system twice.
pub(crate) async fn loops_gone(path: &Path) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(15);
    loop {
        let busy = loops(path);
        if busy.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{busy:?} still hold files of {}", path.display())));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn loops(path: &Path) -> Vec<PathBuf> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten().map(|entry| entry.path());
    devices
        .filter(|device| {
            let backing = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
            Path::new(backing.trim_end().trim_end_matches(" (deleted)")).starts_with(&path)
        })
        .collect()
}

/// Removes the rack's files, and its directory if nothing else is in it.
///
/// # Errors
/// As the file system says.
pub(crate) fn files(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let switch = name == "edge" || name.strip_prefix("leaf").is_some_and(|number| number.parse::<u8>().is_ok());
        if entry.file_type()?.is_dir() {
            if switch || name == "machines" {
                fs::remove_dir_all(entry.path())?;
            }
        } else if name.starts_with("rack.json") || name.starts_with("cofferdam.toml") || name.starts_with("lab.") {
            fs::remove_file(entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("rack");
        fs::create_dir_all(at.join("leaf1")).unwrap();
        fs::create_dir_all(at.join("leaflets")).unwrap();
        fs::write(at.join("leaf1/conf.db"), "x").unwrap();
        fs::write(at.join("rack.json"), "x").unwrap();
        fs::write(at.join("thesis.txt"), "x").unwrap();
        files(&at).unwrap();
        let mut left: Vec<_> = fs::read_dir(&at).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["leaflets", "thesis.txt"]);
        fs::remove_dir(at.join("leaflets")).unwrap();
        fs::remove_file(at.join("thesis.txt")).unwrap();
        files(&at).unwrap();
        assert!(!at.exists());
        files(&at).unwrap();
    }
}
