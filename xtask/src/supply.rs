//! What we depend on: licences, banned crates, sources. The rules are those of `deny.toml`; cargo-deny checks them where it is there,
//! and `xtask tidy` checks the same always, from `cargo metadata` alone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::paths::{self, Paths};
use crate::process;

/// The part of `deny.toml` that is checked here.
#[derive(Deserialize)]
pub(crate) struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
    graph: Graph,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

/// A package as `cargo metadata` describes it.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    version: String,
    /// Where it comes from; `None` for a path.
    source: Option<String>,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Rules {
    pub(crate) fn read(paths: &Paths) -> Result<Self> {
        let path = paths.root.join("deny.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not understood", path.display()))
    }

    /// What of `packages` breaks the rules, one line each.
    pub(crate) fn broken_by(&self, packages: &[Package]) -> Vec<String> {
        let mut lines = Vec::new();
        for package in packages {
            let Package { name, version, source, license } = package;
            let Some(source) = source else { continue };
            let exceptions = self.licenses.exceptions.iter().filter(|it| it.name == *name).flat_map(|it| &it.allow);
            let allowed: BTreeSet<&str> = self.licenses.allow.iter().chain(exceptions).map(String::as_str).collect();
            let known = self.sources.allow_registry.iter().any(|registry| {
                let sparse = "https://index.crates.io/";
                source == &format!("registry+{registry}") || (registry.contains("crates.io-index") && source == &format!("sparse+{sparse}"))
            });
            if !known {
                lines.push(format!("dependency {name} {version} comes from {source}"));
            }
            if self.bans.deny.iter().any(|banned| banned.name == *name) {
                lines.push(format!("dependency {name} {version} is banned by deny.toml"));
            }
            match license {
                None => lines.push(format!("dependency {name} {version} names no licence")),
                Some(license) if !allows(license, &allowed) => {
                    lines.push(format!("dependency {name} {version}: licence {license} is not in deny.toml's list"))
                }
                Some(_) => {}
            }
        }
        lines
    }
}

/// All packages of the dependency graph on the targets we build for.
pub(crate) async fn packages(paths: &Paths, rules: &Rules) -> Result<Vec<Package>> {
    let mut command = paths.command(Paths::cargo());
    command.args(["metadata", "--format-version=1"]);
    for target in &rules.graph.targets {
        command.args(["--filter-platform", target]);
    }
    let text = process::output(&mut command).await?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata is not understood")?;
    Ok(metadata.packages)
}

/// Whether a licence expression (SPDX, or the old form with `/` for "or") can be met from the list. "AND" binds tighter than "OR".
fn allows(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any_of(&words, &mut at, allowed);
    verdict && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut verdict = all_of(words, at, allowed);
    while words.get(*at).is_some_and(|word| word.eq_ignore_ascii_case("or")) {
        *at += 1;
        // Evaluated always: the position must advance.
        verdict = all_of(words, at, allowed) || verdict;
    }
    verdict
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut verdict = one(words, at, allowed);
    while words.get(*at).is_some_and(|word| word.eq_ignore_ascii_case("and")) {
        *at += 1;
        verdict = one(words, at, allowed) && verdict;
    }
    verdict
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let verdict = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    if words.get(*at).is_some_and(|next| next.eq_ignore_ascii_case("with")) {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(format!("{word} WITH {exception}").as_str());
    }
    allowed.contains(word)
}

/// Where cargo-deny is, if it is.
pub(crate) fn deny_program(paths: &Paths) -> Option<PathBuf> {
    Some(paths.cache.join("cargo-deny/bin/cargo-deny")).filter(|file| file.is_file()).or_else(|| paths::program("cargo-deny"))
}

/// Runs cargo-deny, after building it into the cache if need be. Advisories are left out: their database is not on crates.io.
///
/// # Errors
/// It cannot be built, or it found something.
pub(crate) async fn deny(paths: &Paths) -> Result<()> {
    let program = match deny_program(paths) {
        Some(program) => program,
        None => {
            println!("Building cargo-deny into the cache; this takes some minutes.");
            let root = crate::make_dir(&paths.cache.join("cargo-deny"))?;
            let mut install = paths.command(Paths::cargo());
            install.args(["install", "--locked", "--root"]).arg(&root).arg("cargo-deny").env("CARGO_TARGET_DIR", root.join("target"));
            process::run(&mut install).await?;
            std::fs::remove_dir_all(root.join("target")).context("cannot remove what building cargo-deny left")?;
            root.join("bin/cargo-deny")
        }
    };
    process::run(paths.command(program).args(["--offline", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_evaluated() {
        let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"]);
        for good in
            ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "MIT AND ISC", "(MIT OR GPL-3.0) AND ISC", "Apache-2.0 WITH LLVM-exception OR MIT"]
        {
            assert!(allows(good, &allowed), "{good}");
        }
        for bad in
            ["GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR AGPL-3.0", "(MIT AND GPL-3.0) OR BSD", "MIT (", "", "MIT WITH Something", "(MIT"]
        {
            assert!(!allows(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn each_rule_can_be_broken() {
        let rules: Rules = toml::from_str(
            "[graph]\ntargets = []\n[licenses]\nallow = [\"MIT\"]\nexceptions = [{ crate = \"d\", allow = [\"MPL-2.0\"] }]\n[bans]\ndeny = [{ crate = \"openssl-sys\" }]\n[sources]\nallow-registry = [\"https://github.com/rust-lang/crates.io-index\"]",
        )
        .unwrap();
        let home = "registry+https://github.com/rust-lang/crates.io-index";
        let package = |name: &str, source: Option<&str>, license: Option<&str>| Package {
            name: name.into(),
            version: "1.0.0".into(),
            source: source.map(Into::into),
            license: license.map(Into::into),
        };
        let fine = [package("a", Some(home), Some("MIT")), package("ours", None, None), package("d", Some(home), Some("MPL-2.0"))];
        assert!(rules.broken_by(&fine).is_empty());
        let broken = [
            package("a", Some("git+https://example.org/a"), Some("MIT")),
            package("openssl-sys", Some(home), Some("MIT")),
            package("b", Some(home), None),
            package("c", Some(home), Some("GPL-3.0")),
            package("e", Some(home), Some("MPL-2.0")),
        ];
        for package in broken {
            let name = package.name.clone();
            assert_eq!(rules.broken_by(&[package]).len(), 1, "{name}");
        }
    }
}
