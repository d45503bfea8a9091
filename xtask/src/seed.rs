//! The seed of random tests: the same code is tested with the same numbers wherever it is, other code with others. So what a run finds
//! another finds too, and yet all runs together see more and more.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::paths::Paths;

/// Where tests look for it.
const VARIABLE: &str = "COFFERDAM_TEST_SEED";
/// Where `proptest` does.
const OF_PROPTEST: &str = "PROPTEST_RNG_SEED";

/// The variables that are to be set, those that somebody set already excepted, and the seed.
///
/// # Errors
/// The tree cannot be read.
pub(crate) fn variables(paths: &Paths) -> Result<(Vec<(&'static str, String)>, String)> {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    // Whoever wants another seed wants it everywhere.
    let seed = match std::env::var(VARIABLE) {
        Ok(given) => given,
        Err(_) => of_code(&paths.root)?.to_string(),
    };
    let variables = [VARIABLE, OF_PROPTEST].into_iter().filter(|name| !is_set(name)).map(|name| (name, seed.clone())).collect();
    Ok((variables, seed))
}

/// A number that follows from the names and contents of all files of the crates and of their tests.
fn of_code(root: &Path) -> Result<u64> {
    let mut hash = Sha256::new();
    for part in list(&root.join("crates"))? {
        for dir in ["src", "tests"].map(|it| part.join(it)).into_iter().filter(|it| it.is_dir()) {
            take(root, &dir, &mut hash)?;
        }
    }
    let bytes = hash.finalize();
    Ok(bytes.iter().take(8).fold(0, |so_far, byte| so_far << 8 | u64::from(*byte)))
}

fn take(root: &Path, dir: &Path, hash: &mut Sha256) -> Result<()> {
    for path in list(dir)? {
        let name = path.strip_prefix(root).unwrap_or(&path);
        if path.is_dir() {
            // What programs leave beside what they run (`__pycache__`) is not code.
            if !name.file_name().is_some_and(|it| it.to_string_lossy().starts_with("__")) {
                take(root, &path, hash)?;
            }
            continue;
        }
        let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = name.to_string_lossy();
        for piece in [name.as_bytes(), &content] {
            hash.update(piece.len().to_be_bytes());
            hash.update(piece);
        }
    }
    Ok(())
}

/// What is in a directory, sorted.
fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).and_then(|it| it.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>());
    let mut all = entries.with_context(|| format!("cannot list {}", dir.display()))?;
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_code_has_the_same_seed_and_other_code_another() {
        let make = |name: &str, files: &[(&str, &str)]| {
            let root = std::env::temp_dir().join(format!("cofferdam-seed-{}-{name}", std::process::id()));
            for (file, text) in files {
                let file = root.join(file);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            let seed = of_code(&root).unwrap();
            std::fs::remove_dir_all(&root).unwrap();
            seed
        };
        let code = [("crates/a/src/lib.rs", "x"), ("crates/b/tests/t/main.rs", "y")];
        let same = make("one", &code);
        let reversed = [code[1], code[0], ("crates/a/README.md", "z"), ("crates/b/tests/__pycache__/p", "z")];
        assert_eq!(make("two", &reversed), same);
        assert_ne!(make("three", &[("crates/a/src/lib.rs", "x"), ("crates/b/tests/t/main.rs", "z")]), same);
        assert_ne!(make("four", &[("crates/a/src/lib.rs", "x"), ("crates/b/tests/t/mean.rs", "y")]), same);
        assert_ne!(make("five", &[("crates/a/src/lib.rs", "xy"), ("crates/b/tests/t/main.rs", "")]), same);
    }
}
