//! What machines boot: the image and the ramdisk, given by `cargo xtask test` or made here and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use super::{BINARY, run};

/// What machines boot.
pub struct Supplies {
    pub image: PathBuf,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
}

impl Supplies {
    pub fn get() -> Self {
        let cache = cache();
        let given = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let image = given("COFFERDAM_TEST_IMAGE").unwrap_or_else(|| {
            let _lock = lock(&cache);
            let image = cache.join("machine.raw");
            // It returns at once if it is there and nothing has changed.
            run(Command::new(BINARY).args(["lab", "image", "--output"]).arg(&image));
            image
        });
        let ramdisk = given("COFFERDAM_TEST_RAMDISK").unwrap_or_else(|| {
            let _lock = lock(&cache);
            let dir = cache.join("ramdisk-tests");
            if !is_newer(&dir.join("deploy.initrd"), Path::new(BINARY)) {
                run(Command::new(BINARY).args(["lab", "ramdisk", "--output"]).arg(&dir));
            }
            dir
        });
        Self { image, kernel: ramdisk.join("deploy.kernel"), initrd: ramdisk.join("deploy.initrd") }
    }
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/cofferdam");
    let dir = std::env::var_os("COFFERDAM_CACHE").map_or_else(home, PathBuf::from);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn lock(cache: &Path) -> Flock<std::fs::File> {
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(cache.join("tests.lock")).unwrap();
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap()
}

fn is_newer(made: &Path, from: &Path) -> bool {
    let at = |path: &Path| std::fs::metadata(path).and_then(|it| it.modified()).ok();
    at(made).is_some_and(|made| at(from).is_some_and(|from| made > from))
}
