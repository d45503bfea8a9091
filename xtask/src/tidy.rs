//! House rules as a program: what a reviewer would otherwise have to see each time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::paths::Paths;
use crate::{process, supply};

/// What each crate may depend on among ours, tests included. A new edge is a decision: it belongs into ARCHITECTURE.md as well.
const EDGES: &[(&str, &[&str])] = &[
    ("agent", &["attest", "model", "net"]),
    ("api", &["identity", "media", "model", "net", "network", "pki", "policy", "store"]),
    ("attest", &[]),
    ("cofferdam", &["agent", "api", "drivers", "engine", "identity", "lab", "media", "model", "net", "network", "pki", "policy", "store"]),
    ("drivers", &["lab", "media", "model", "net", "pki"]),
    ("engine", &["attest", "drivers", "media", "model", "net", "pki", "store"]),
    ("identity", &["model"]),
    ("lab", &["model", "net"]),
    ("media", &["model"]),
    ("model", &[]),
    ("net", &[]),
    ("network", &["model"]),
    ("pki", &["model"]),
    ("policy", &[]),
    ("store", &["model"]),
    ("xtask", &["net"]),
];

/// From here on a file is called long.
const LONG_LINES: usize = 800;
/// From here on it is refused.
const TOO_LONG_LINES: usize = 1_500;

pub(crate) async fn command() -> Result<ExitCode> {
    Ok(if check(&Paths::find()?).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks all rules and prints what breaks them; `false` if anything does.
pub(crate) async fn check(paths: &Paths) -> Result<bool> {
    let mut broken = Vec::new();
    let manifests = manifests(&paths.root)?;
    broken.extend(edges(&manifests));
    broken.extend(lints(&manifests));
    let files = files(paths).await?;
    for file in &files {
        let Ok(text) = std::fs::read_to_string(paths.root.join(file)) else { continue };
        let shown = file.display().to_string();
        broken.extend(stray(&shown, &text));
        if file.extension().is_some_and(|extension| extension == "rs") {
            match text.lines().count() {
                lines if lines > TOO_LONG_LINES => broken.push(format!("{shown}: {lines} lines; {TOO_LONG_LINES} are the limit")),
                lines if lines > LONG_LINES => {
                    println!("tidy: note: {shown} has {lines} lines; split by reason to change before {TOO_LONG_LINES}")
                }
                _ => {}
            }
        }
    }
    let rules = supply::Rules::read(paths)?;
    let packages = supply::packages(paths, &rules).await?;
    broken.extend(rules.broken_by(&packages));
    for line in &broken {
        println!("tidy: {line}");
    }
    if broken.is_empty() {
        println!("tidy: {} crates, {} files, {} packages: all in order", manifests.len(), files.len(), packages.len());
    }
    Ok(broken.is_empty())
}

/// The manifests of our crates by crate name.
fn manifests(root: &Path) -> Result<BTreeMap<String, toml::Table>> {
    let crates = root.join("crates");
    let mut places: Vec<PathBuf> = std::fs::read_dir(&crates)
        .with_context(|| format!("cannot read {}", crates.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    places.push(root.join("xtask"));
    let mut found = BTreeMap::new();
    for place in places {
        let path = place.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: toml::Table = text.parse().with_context(|| format!("{} is not a manifest", path.display()))?;
        let folder = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.insert(folder, manifest);
    }
    Ok(found)
}

fn edges(manifests: &BTreeMap<String, toml::Table>) -> Vec<String> {
    let mut broken = Vec::new();
    for (folder, manifest) in manifests {
        let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str).unwrap_or_default();
        if name != folder {
            broken.push(format!("the crate in folder {folder} is named {name:?}: folder name = crate name"));
        }
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| known == folder) else {
            broken.push(format!("crate {folder} is not in the table of edges in xtask/src/tidy.rs"));
            continue;
        };
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for other in manifest.get(table).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys) {
                if manifests.contains_key(other) && !allowed.contains(&other.as_str()) {
                    broken.push(format!("crate {folder} must not depend on {other} ({table})"));
                }
            }
        }
        if manifest.contains_key("features") {
            broken.push(format!("crate {folder} has crate features: ours have none"));
        }
    }
    broken
}

fn lints(manifests: &BTreeMap<String, toml::Table>) -> Vec<String> {
    let inherits =
        |manifest: &toml::Table| manifest.get("lints").and_then(|it| it.get("workspace")).and_then(toml::Value::as_bool) == Some(true);
    let without = manifests.iter().filter(|(_, manifest)| !inherits(manifest));
    without.map(|(name, _)| format!("crate {name} does not inherit the workspace's lints")).collect()
}

/// The files of the tree: what git knows or would add.
async fn files(paths: &Paths) -> Result<Vec<PathBuf>> {
    let mut command = paths.command("git");
    // The owner may be another than root, as in a checkout mounted into a container.
    command.arg("-c").arg(format!("safe.directory={}", paths.root.display()));
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = process::output(&mut command).await?;
    Ok(list.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).filter(|name| paths.root.join(name).is_file()).collect())
}

/// Notes to oneself and paths of one machine.
fn stray(file: &str, text: &str) -> Vec<String> {
    // Put together here so that this file does not find itself.
    let paths = [["/wo", "rk/"], ["/ro", "ot/."], ["/ho", "me/"]].map(|parts| parts.concat());
    let notes = [["TO", "DO"], ["FIX", "ME"]].map(|parts| parts.concat());
    let mut broken = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if let Some(path) = paths.iter().find(|path| mentions_path(line, path)) {
            broken.push(format!("{file}:{number}: path of one machine ({path})"));
        }
        if let Some(note) = notes.iter().find(|note| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == **note)) {
            broken.push(format!("{file}:{number}: {note}; make it an issue"));
        }
    }
    broken
}

/// Whether the path stands in the line as one that begins at the root.
fn mentions_path(line: &str, path: &str) -> bool {
    line.match_indices(path)
        .any(|(at, _)| !line.get(..at).unwrap_or_default().ends_with(|c: char| c.is_ascii_alphanumeric() || "._-}".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn a_forbidden_edge_is_found() {
        let good = "[package]\nname = \"store\"\n[dependencies]\nmodel.workspace = true\n[lints]\nworkspace = true";
        let bad = "[package]\nname = \"model\"\n[dev-dependencies]\nstore.workspace = true";
        let manifests = BTreeMap::from([("store".to_owned(), manifest(good)), ("model".to_owned(), manifest(bad))]);
        assert_eq!(edges(&manifests), ["crate model must not depend on store (dev-dependencies)"]);
        assert_eq!(lints(&manifests), ["crate model does not inherit the workspace's lints"]);
    }

    #[test]
    fn an_unknown_or_misnamed_crate_is_found() {
        let manifests = BTreeMap::from([("novel".to_owned(), manifest("[package]\nname = \"cd-novel\""))]);
        assert_eq!(edges(&manifests).len(), 2);
    }

    #[test]
    fn edges_are_sorted_and_have_no_circle() {
        let mut order: Vec<&str> = Vec::new();
        let names: Vec<&str> = EDGES.iter().map(|it| it.0).collect();
        assert!(names.is_sorted());
        while order.len() < EDGES.len() {
            let next = EDGES.iter().find(|(name, to)| !order.contains(name) && to.iter().all(|it| order.contains(it)));
            order.push(next.expect("a circle").0);
        }
    }

    #[test]
    fn stray_notes_and_paths_are_found() {
        let text = ["// TO", "DO: later\nlet a = \"/ho", "me/me/x\";\nurl/wo", "rk/ok\nTO", "DOS\n"].concat();
        let found = stray("a.rs", &text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a.rs:1:") && found[1].starts_with("a.rs:2:"), "{found:?}");
    }
}
