//! Where things are: the tree, what cargo built, the cache.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Places every task needs.
pub(crate) struct Paths {
    /// The root of the tree.
    pub(crate) root: PathBuf,
    /// `COFFERDAM_CACHE`, else `~/.cache/cofferdam`: what takes long to make and does not belong to one build.
    pub(crate) cache: PathBuf,
}

impl Paths {
    pub(crate) fn find() -> Result<Self> {
        // Cargo says where we are run from; where we were built may be another copy of the tree with the same target directory.
        let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = own.parent().context("xtask has no parent directory")?.to_owned();
        let cache = std::env::var_os("COFFERDAM_CACHE")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/cofferdam")))
            .unwrap_or_else(|| PathBuf::from("/var/cache/cofferdam"));
        let cache = std::path::absolute(cache).context("the cache directory is not a path")?;
        Ok(Self { root, cache })
    }

    /// The program `cargo` that started us.
    pub(crate) fn cargo() -> PathBuf {
        std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
    }

    /// A command in the root of the tree, without the variables by which `cargo run` tells us about ourselves.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Finds a program in `PATH` or where Debian keeps those of the administrator.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(administrators).map(|dir| dir.join(name)).find(|file| file.is_file())
}
