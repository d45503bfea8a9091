//! The machine disk image: a Debian root file system with Docker that runs in a machine of the rack.
//!
//! Nothing is installed in the sense of Debian: packages are only unpacked, and the little that their scripts would do is done
//! here. That takes seconds in place of minutes. The image has no kernel (machines of namespaces run on their host's) and no login.
//!
//! The finished image is kept and found again by its content: the versions of the packages and the code that puts them together.

mod container;
pub(crate) mod debian;
mod disk;
mod packages;
mod root;
mod tool;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256, Sha512};

/// Changes whenever the code of this module makes another image from the same packages and scripts.
const REVISION: &str = "2";
/// Time another process may take to build the image.
const LOCK: Duration = Duration::from_secs(1200);
/// Finished images to keep.
const KEPT: usize = 2;

/// A disk image, as it was built or found.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// Length in bytes.
    pub size: u64,
    /// SHA-512 of the file, in lower-case hexadecimal digits.
    pub sha512: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was there already.
    pub cached: bool,
    /// Name of the container image that every machine's Docker has from the beginning.
    pub container_image: String,
}

/// Writes the machine disk image to `output`, which is replaced as a whole or not at all. May take a minute the first time, and
/// downloads packages then; must run as root, since files in the image belong to root.
///
/// # Errors
/// What is missing on this host, or what a tool said; nothing is left behind but downloaded packages.
pub fn build(output: &Path) -> anyhow::Result<Built> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "the machine image can only be built by root");
    build_in(&cache_dir()?, output)
}

fn build_in(cache: &Path, output: &Path) -> anyhow::Result<Built> {
    let begin = Instant::now();
    fs::create_dir_all(cache.join("image")).with_context(|| format!("making {}", cache.display()))?;
    let _lock = lock(&cache.join("lock"))?;
    remove_leftovers(cache)?;
    let mut apt = packages::Apt::new(cache.join("apt"))?;
    let packages = apt.fetch()?;
    let identity = identity(&packages);
    let image = cache.join("image").join(format!("{identity}.raw"));
    let digest = image.with_extension("sha512");
    let cached = image.is_file() && digest.is_file();
    if !cached {
        let scratch = Scratch::new(cache)?;
        let root = scratch.0.join("root");
        fs::create_dir(&root)?;
        root::build(&apt, &packages, &root)?;
        let draft = scratch.0.join("disk");
        disk::write(&root, &draft, &identity)?;
        // The digest last: an image without one is not taken for whole.
        let sha512 = sha512(&draft)?;
        fs::rename(&draft, &image)?;
        fs::write(&digest, sha512)?;
        apt.forget_others(&packages)?;
        forget_others(&cache.join("image"), &identity)?;
    }
    deliver(&image, output).with_context(|| format!("writing {}", output.display()))?;
    Ok(Built {
        size: fs::metadata(output)?.len(),
        sha512: fs::read_to_string(&digest)?,
        seconds: begin.elapsed().as_secs_f64(),
        cached,
        container_image: format!("{}:latest", container::NAME),
    })
}

fn cache_dir() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("COFFERDAM_CACHE")
        .or_else(|| Some(set("HOME")?.join(".cache/cofferdam")))
        .context("neither COFFERDAM_CACHE nor HOME says where to keep the image")?;
    std::path::absolute(&dir).with_context(|| format!("the directory {} has no absolute path", dir.display()))
}

/// Everything that decides what is in the image.
fn identity(packages: &[packages::Package]) -> String {
    let mut hash = Sha256::new();
    let sources = [
        REVISION,
        env!("CARGO_PKG_VERSION"),
        root::INIT,
        include_str!("identity.sh"),
        include_str!("root.rs"),
        include_str!("container.rs"),
        include_str!("disk.rs"),
        include_str!("packages.rs"),
    ];
    let packages = packages.iter().map(packages::Package::identity);
    for part in sources.map(str::to_owned).into_iter().chain(packages) {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes processes take turns. Released when the file is closed.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::options().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display()))?;
    let until = Instant::now() + LOCK;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }
}

/// A directory for work in progress, removed with all in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(cache: &Path) -> anyhow::Result<Self> {
        let path = cache.join("work");
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove work in progress");
        }
    }
}

/// Removes the work in progress of a process that was killed. The lock must be held.
fn remove_leftovers(cache: &Path) -> anyhow::Result<()> {
    let path = cache.join("work");
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("removing {}", path.display())),
        _ => Ok(()),
    }
}

fn sha512(path: &Path) -> anyhow::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha512::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Removes all but the newest few images.
fn forget_others(dir: &Path, identity: &str) -> anyhow::Result<()> {
    let mut others: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "raw") && path.file_stem().is_some_and(|it| it != identity) {
            others.push((entry.metadata()?.modified()?, path));
        }
    }
    others.sort();
    others.reverse();
    for (_, path) in others.into_iter().skip(KEPT - 1) {
        fs::remove_file(&path)?;
        let digest = path.with_extension("sha512");
        if digest.exists() {
            fs::remove_file(digest)?;
        }
    }
    Ok(())
}

/// Copies the image to where it is wanted, under another name first.
fn deliver(image: &Path, output: &Path) -> anyhow::Result<()> {
    let name = output.file_name().context("that is not the name of a file")?;
    let mut draft = name.to_owned();
    draft.push(format!(".{}.part", std::process::id()));
    let draft = output.with_file_name(draft);
    let copied = fs::copy(image, &draft).and_then(|_| fs::rename(&draft, output));
    if copied.is_err()
        && let Err(error) = fs::remove_file(&draft)
    {
        tracing::debug!(path = %draft.display(), %error, "no draft to remove");
    }
    copied.map_err(anyhow::Error::from)
}

#[cfg(test)]
mod tests;
