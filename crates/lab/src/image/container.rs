//! The container image `cofferdam/busybox:latest`, made by us and already in the machine's Docker when it starts.
//!
//! Its one layer holds busybox with the libraries it needs. It is put into `/var/lib/docker` the way the daemon itself would have
//! (moby 20.10: `layer/filestore.go`, `image/fs.go`, `reference/store.go`, `daemon/graphdriver/overlay2/overlay.go`), so that nothing
//! has to be loaded when a machine boots, and it is there before the first task of a swarm asks for it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// What the image is called.
pub(super) const NAME: &str = "cofferdam/busybox";

/// The default command.
const IDENTITY: &[u8] = include_bytes!("identity.sh");
/// No image of ours depends on the time it was made at.
const CREATED: &str = "1970-01-01T00:00:00Z";
const BLOCK: usize = 512;

/// What lies at a path of the layer.
enum Item {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(String),
}

/// The content of a layer: relative paths, folders before what is in them.
#[derive(Default)]
pub(super) struct Layer(Vec<(String, Item)>);

impl Layer {
    fn folder(&mut self, path: &str, mode: u32) {
        self.0.push((path.to_owned(), Item::Folder(mode)));
    }

    fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.0.push((path.to_owned(), Item::File(mode, content.into())));
    }

    fn link(&mut self, path: &str, target: &str) {
        self.0.push((path.to_owned(), Item::Link(target.to_owned())));
    }

    /// The layer of our image, from the busybox of the root file system being built.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn busybox(root: &Path, applets: &[String], libraries: &[String]) -> anyhow::Result<Self> {
        let read = |path: &str| fs::read(root.join(path.trim_start_matches('/'))).with_context(|| format!("reading {path} of the image"));
        let mut layer = Self::default();
        for name in ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr", "var"] {
            layer.folder(name, 0o755);
        }
        layer.folder("tmp", 0o1777);
        layer.link("sbin", "bin");
        for name in ["usr/bin", "usr/sbin"] {
            layer.link(name, "../bin");
        }
        layer.file("bin/busybox", 0o755, read("/usr/bin/busybox")?);
        for applet in applets {
            layer.link(&format!("bin/{applet}"), "busybox");
        }
        layer.file("bin/identity", 0o755, IDENTITY);
        layer.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
        layer.file("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n");
        layer.file("etc/nsswitch.conf", 0o644, "hosts: files dns\n");
        let mut folders: Vec<String> = Vec::new();
        for library in libraries {
            let inside = library.trim_start_matches('/').strip_prefix("usr/").unwrap_or(library.trim_start_matches('/'));
            let mut above: Vec<String> = Path::new(inside).ancestors().skip(1).map(|it| it.display().to_string()).collect();
            above.retain(|it| !it.is_empty() && !folders.contains(it));
            for folder in above.into_iter().rev() {
                layer.folder(&folder, 0o755);
                folders.push(folder);
            }
            layer.file(inside, 0o755, read(library)?);
        }
        Ok(layer)
    }

    /// Writes the content below `root`.
    fn unpack(&self, root: &Path) -> std::io::Result<()> {
        for (path, item) in &self.0 {
            let at = root.join(path);
            match item {
                Item::Folder(mode) => {
                    fs::create_dir(&at)?;
                    fs::set_permissions(&at, fs::Permissions::from_mode(*mode))?;
                }
                Item::File(mode, content) => {
                    fs::OpenOptions::new().write(true).create_new(true).mode(*mode).open(&at)?.write_all(content)?;
                }
                Item::Link(target) => symlink(target, &at)?,
            }
        }
        Ok(())
    }

    /// The layer as a tar archive ("ustar" of POSIX.1-1988), and how to make the same archive again from the files: the JSON lines of
    /// github.com/vbatts/tar-split, without which the daemon could run the image but not save it.
    ///
    /// # Errors
    /// A path is too long.
    fn archive(&self) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
        let mut archive = Vec::new();
        let mut recipe = Recipe::default();
        for (path, item) in &self.0 {
            let (kind, mode, target, content, name) = match item {
                Item::Folder(mode) => (b'5', *mode, "", &[][..], format!("{path}/")),
                Item::File(mode, content) => (b'0', *mode, "", content.as_slice(), path.clone()),
                Item::Link(target) => (b'2', 0o777, target.as_str(), &[][..], path.clone()),
            };
            let header = header(&name, kind, mode, content.len(), target)?;
            recipe.segment(&header);
            archive.extend_from_slice(&header);
            recipe.file(&name, content);
            archive.extend_from_slice(content);
            let padding = vec![0; content.len().wrapping_neg() % BLOCK];
            recipe.segment(&padding);
            archive.extend_from_slice(&padding);
        }
        let end = vec![0; 2 * BLOCK];
        recipe.segment(&end);
        archive.extend_from_slice(&end);
        Ok((archive, recipe.lines))
    }
}

fn header(name: &str, kind: u8, mode: u32, size: usize, target: &str) -> anyhow::Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str, room: usize| {
        anyhow::ensure!(text.len() <= room, "{text:?} is too long for an archive");
        let field = header.get_mut(at..at + text.len()).context("no such field")?;
        field.copy_from_slice(text.as_bytes());
        anyhow::Ok(())
    };
    put(0, name, 100)?;
    put(100, &format!("{mode:07o}"), 8)?;
    put(108, "0000000", 8)?;
    put(116, "0000000", 8)?;
    put(124, &format!("{size:011o}"), 12)?;
    put(136, "00000000000", 12)?;
    put(148, "        ", 8)?;
    put(156, char::from(kind).encode_utf8(&mut [0; 4]), 1)?;
    put(157, target, 100)?;
    put(257, "ustar\x0000", 8)?;
    put(329, "0000000", 8)?;
    put(337, "0000000", 8)?;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = header.get_mut(148..155) {
        field.copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    Ok(header)
}

/// Lines of tar-split: bytes between files (type 2), files (type 1).
#[derive(Default)]
struct Recipe {
    lines: Vec<u8>,
    position: usize,
}

impl Recipe {
    fn segment(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let payload = base64::engine::general_purpose::STANDARD.encode(bytes);
            let position = self.position;
            self.line(&json!({"type": 2, "payload": payload, "position": position}));
        }
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        let position = self.position;
        if content.is_empty() {
            self.line(&json!({"type": 1, "name": name, "payload": null, "position": position}));
        } else {
            let payload = base64::engine::general_purpose::STANDARD.encode(crc64(content).to_be_bytes());
            self.line(&json!({"type": 1, "name": name, "size": content.len(), "payload": payload, "position": position}));
        }
    }

    fn line(&mut self, value: &serde_json::Value) {
        self.lines.extend_from_slice(value.to_string().as_bytes());
        self.lines.push(b'\n');
        self.position += 1;
    }
}

/// CRC-64 of ISO 3309, as Go's hash/crc64 with `ISO` computes it.
fn crc64(content: &[u8]) -> u64 {
    let mut table = [0_u64; 256];
    for (entry, index) in table.iter_mut().zip(0_u64..) {
        *entry = (0..8).fold(index, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xD800_0000_0000_0000 } else { crc >> 1 });
    }
    !content.iter().fold(!0_u64, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        table.get(usize::from(low ^ byte)).copied().unwrap_or_default() ^ (crc >> 8)
    })
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts an image of that one layer into the Docker directory `docker` (its `/var/lib/docker`), which must not exist yet.
///
/// # Errors
/// As the file system says.
pub(super) fn install(layer: &Layer, docker: &Path) -> anyhow::Result<()> {
    let (archive, recipe) = layer.archive()?;
    let diff = hex(Sha256::digest(&archive));
    // The identity of a chain of one layer is the layer's; the cache's name is the daemon's free choice.
    let cache = hex(Sha256::digest(format!("cache of {diff}")));
    let link: String = hex(Sha256::digest(format!("link of {diff}"))).chars().take(26).map(|it| it.to_ascii_uppercase()).collect();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": ["PATH=/bin"],
            "Cmd": ["/bin/identity"],
            // A process 1 without handlers ignores SIGTERM, and nothing here has anything to put in order.
            "StopSignal": "SIGKILL",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
        "history": [{"created": CREATED, "created_by": "cofferdam lab image"}],
    }))?;
    let image = hex(Sha256::digest(&config));

    let private = |path: &str| {
        let path = docker.join(path);
        fs::DirBuilder::new().recursive(true).mode(0o710).create(&path).with_context(|| format!("making {}", path.display()))?;
        anyhow::Ok(path)
    };
    let write = |path: &Path, content: &[u8]| fs::write(path, content).with_context(|| format!("writing {}", path.display()));
    let at = private(&format!("overlay2/{cache}"))?;
    fs::DirBuilder::new().mode(0o755).create(at.join("diff"))?;
    layer.unpack(&at.join("diff")).context("unpacking the container image")?;
    write(&at.join("link"), link.as_bytes())?;
    symlink(format!("../{cache}/diff"), private("overlay2/l")?.join(link))?;

    let at = private(&format!("image/overlay2/layerdb/sha256/{diff}"))?;
    write(&at.join("cache-id"), cache.as_bytes())?;
    write(&at.join("diff"), format!("sha256:{diff}").as_bytes())?;
    let size: usize = layer.0.iter().map(|(_, item)| if let Item::File(_, content) = item { content.len() } else { 0 }).sum();
    write(&at.join("size"), size.to_string().as_bytes())?;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&recipe)?;
    write(&at.join("tar-split.json.gz"), &packed.finish()?)?;

    write(&private("image/overlay2/imagedb/content/sha256")?.join(&image), &config)?;
    private("image/overlay2/imagedb/metadata/sha256")?;
    let names = json!({"Repositories": {NAME: {format!("{NAME}:latest"): format!("sha256:{image}")}}});
    write(&docker.join("image/overlay2/repositories.json"), names.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Layer {
        let mut layer = Layer::default();
        layer.folder("bin", 0o755);
        layer.file("bin/one", 0o755, vec![7; 1000]);
        layer.file("bin/none", 0o644, "");
        layer.link("bin/two", "one");
        layer
    }

    #[test]
    fn sums_are_those_of_go() {
        // From the tests of Go's hash/crc64 (crc64_test.go, column ISO).
        assert_eq!(crc64(b""), 0);
        assert_eq!(crc64(b"a"), 0x3420_0000_0000_0000);
        assert_eq!(crc64(b"abc"), 0x3776_c420_0000_0000);
    }

    #[test]
    fn tar_reads_the_archive_and_the_recipe_makes_it_again() {
        let (archive, recipe) = sample().archive().unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.tar"), &archive).unwrap();
        let said = std::process::Command::new("tar").arg("tvf").arg(dir.path().join("a.tar")).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines.len() == 4 && lines[0].starts_with("drwxr-xr-x 0/0") && lines[1].contains("1000") && lines[3].ends_with("bin/two -> one"),
            "{said}"
        );

        let mut again = Vec::new();
        for line in recipe.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: serde_json::Value = serde_json::from_slice(line).unwrap();
            if entry["type"] == 2 {
                again.extend(base64::engine::general_purpose::STANDARD.decode(entry["payload"].as_str().unwrap()).unwrap());
            } else if entry["name"] == "bin/one" {
                again.extend([7; 1000]);
            }
        }
        assert_eq!(again, archive);
    }

    #[test]
    fn the_daemon_directory_agrees_with_itself() {
        let dir = tempfile::tempdir().unwrap();
        let docker = dir.path().join("docker");
        install(&sample(), &docker).unwrap();
        let names: serde_json::Value = serde_json::from_slice(&fs::read(docker.join("image/overlay2/repositories.json")).unwrap()).unwrap();
        let image = names["Repositories"][NAME]["cofferdam/busybox:latest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        let config = fs::read(docker.join("image/overlay2/imagedb/content/sha256").join(&image)).unwrap();
        assert_eq!(hex(Sha256::digest(&config)), image);
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let diff = config["rootfs"]["diff_ids"][0].as_str().unwrap().replace(':', "/");
        let layer = docker.join("image/overlay2/layerdb").join(diff);
        let cache = docker.join("overlay2").join(fs::read_to_string(layer.join("cache-id")).unwrap());
        assert_eq!(fs::read(cache.join("diff/bin/two")).unwrap().len(), 1000);
        let link = docker.join("overlay2/l").join(fs::read_to_string(cache.join("link")).unwrap());
        assert!(link.join("bin/one").is_file());
    }
}
