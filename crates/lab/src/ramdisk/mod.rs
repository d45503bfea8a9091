//! The deploy kernel and its initial RAM disk, as files for the image service.
//!
//! The RAM disk holds one program: this one, which behaves as the deploy agent when it is started as `/init`, and the libraries it
//! is linked with. There is no shell in it and no other way in.

mod cpio;
pub(crate) mod elf;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

/// First line of every kernel that machines of namespaces start.
pub const KERNEL_MAGIC: &str = "#!cofferdam-lab-kernel";

const KERNEL: &str = "
This is the deploy kernel of Cofferdam's simulated rack. A machine of that rack is a set of namespaces and runs on the kernel of
its host, so there is nothing to load; its firmware fetches this file all the same, as it would a kernel, refuses to go on if the
first line is another, and then starts /init of the RAM disk that came with it. A real machine needs a real kernel here.
";

/// What the agent finds there, and mounts things on; the mode of each.
const FOLDERS: [(&str, u32); 6] = [("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755), ("tmp", 0o1777), ("etc", 0o755)];

/// Writes `deploy.kernel` and `deploy.initrd` into `output_dir`, which is made if need be.
///
/// # Errors
/// As the file system says; or this program's libraries cannot be found.
pub fn build(output_dir: &Path, kernel: Option<&Kernel>) -> anyhow::Result<()> {
    fs::create_dir_all(output_dir).with_context(|| format!("making {}", output_dir.display()))?;
    // By way of /proc it is found even if it was replaced by a newer one meanwhile.
    let own = format!("/proc/{}/exe", std::process::id());
    let modules = kernel.map(Kernel::modules).transpose()?.unwrap_or_default();
    let initrd = initrd(Path::new(&own), &modules)?;
    match kernel {
        Some(kernel) => write(&output_dir.join("deploy.kernel"), &fs::read(&kernel.image).context("reading the kernel")?)?,
        None => write(&output_dir.join("deploy.kernel"), format!("{KERNEL_MAGIC}\n{KERNEL}").as_bytes())?,
    }
    write(&output_dir.join("deploy.initrd"), &initrd)
}

/// A kernel for virtual machines.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its image.
    pub image: PathBuf,
    /// The folder of its modules, with `modules.dep`.
    pub modules: PathBuf,
}

/// What a virtual machine's disk and network need, and what reads a virtual medium.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "isofs", "vfat"];

impl Kernel {
    /// The modules to load, each after those it needs: name and content.
    fn modules(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let table = fs::read_to_string(self.modules.join("modules.dep")).context("reading modules.dep")?;
        let mut paths: Vec<&str> = Vec::new();
        for name in MODULES {
            let own = |line: &&str| line.split(':').next().is_some_and(|path| path.ends_with(&format!("/{name}.ko")));
            // Not there: built into the kernel.
            let Some(line) = table.lines().find(own) else { continue };
            let (path, needs) = line.split_once(':').unwrap_or((line, ""));
            // modules.dep names what is needed nearest first.
            for it in needs.split_whitespace().rev().chain([path]) {
                if !paths.contains(&it) {
                    paths.push(it);
                }
            }
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let read = |path: &&str| Ok((name(path), fs::read(self.modules.join(path)).with_context(|| format!("reading {path}"))?));
        paths.iter().map(read).collect()
    }
}

/// A RAM disk whose /init is `program` and which has these modules to load.
fn initrd(program: &Path, modules: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let file = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    let loader = elf::interpreter_of(&file).with_context(|| format!("{} is not a program of this kind of machine", program.display()))?;
    let mut libraries = Vec::new();
    if let Some(loader) = loader {
        // What ldd(1) does, without the shell.
        let output = Command::new(&loader).arg("--list").arg(program).env_remove("LD_PRELOAD").output();
        let output = output.with_context(|| format!("asking {loader} for libraries"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        anyhow::ensure!(output.status.success() && !said.contains("not found"), "{loader} misses libraries: {}", said.trim());
        libraries = elf::listed(&said);
        if !libraries.contains(&loader) {
            libraries.push(loader);
        }
    }
    let mut archive = cpio::Archive::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, mode) in FOLDERS {
        archive.folder(name, mode)?;
    }
    archive.file("init", 0o755, &elf::strip(file))?;
    for (at, (name, content)) in modules.iter().enumerate() {
        // Numbered, so that their order is that of their names.
        archive.file(&format!("modules/{at:02}-{name}"), 0o644, content)?;
    }
    for library in libraries {
        let content = fs::read(&library).with_context(|| format!("reading {library}"))?;
        archive.file(library.trim_start_matches('/'), 0o755, &elf::strip(content))?;
    }
    Ok(archive.finish()?.finish()?)
}

/// Writes a file whole or not at all.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("part");
    let written = fs::File::create(&draft).and_then(|mut file| file.write_all(content)).and_then(|()| fs::rename(&draft, path));
    written.with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_ram_disk_holds_the_program_and_its_libraries() {
        let packed = initrd(Path::new("/bin/ls"), &[("x.ko".into(), vec![1])]).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
        let has = |name: &str| plain.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(has("init\0") && has("modules/00-x.ko\0") && has("libc.so") && has("ld-linux") && has("TRAILER!!!\0"));
        assert!(!has("/bin/ls\0"));
    }

    #[test]
    fn both_files_are_written_and_the_kernel_is_one_for_machines_of_namespaces() {
        let dir = tempfile::tempdir().unwrap();
        build(&dir.path().join("deep"), None).unwrap();
        assert!(fs::read_to_string(dir.path().join("deep/deploy.kernel")).unwrap().starts_with("#!cofferdam-lab-kernel\n"));
        assert!(fs::read(dir.path().join("deep/deploy.initrd")).unwrap().starts_with(&[0x1f, 0x8b]));
        assert!(initrd(Path::new("/etc/passwd"), &[]).is_err());
    }
}
