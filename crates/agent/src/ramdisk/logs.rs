//! What an operator needs to see of a ramdisk that will be gone soon: base64 of a gzip-packed tar file.
//!
//! Source: ironic-python-agent, `utils.py` (`collect_system_logs`); POSIX.1-2017, `pax`, "ustar Interchange Format".

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use base64::Engine as _;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::failure::Failure;

/// Largest single text, in bytes; of longer ones the end is kept.
const LONGEST: usize = 1 << 20;
/// Files of the kernel that say what the machine is like.
const FILES: [&str; 10] = [
    "/proc/cmdline",
    "/proc/mounts",
    "/proc/partitions",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/modules",
    "/proc/net/dev",
    "/proc/net/route",
    "/proc/net/arp",
    "/proc/version",
];

/// Packs the kernel's log, what its files say, and `commands`. Blocking, quick.
///
/// # Errors
/// Packing failed.
pub fn collect(commands: &[Value]) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::execution(format!("cannot pack the logs: {error}"));
    let mut tar = GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut add = |name: &str, text: &[u8]| {
        let start = text.len().saturating_sub(LONGEST);
        let text = text.get(start..).unwrap_or_default();
        let padding = text.len().next_multiple_of(512) - text.len();
        tar.write_all(&header(name, text.len())).and_then(|()| tar.write_all(text)).and_then(|()| tar.write_all(&[0; 512][..padding]))
    };
    add("dmesg", &kernel_log()).map_err(failed)?;
    for file in FILES {
        if let Ok(text) = std::fs::read_to_string(file) {
            add(file.trim_start_matches('/').replace('/', "_").as_str(), without_secrets(&text).as_bytes()).map_err(failed)?;
        }
    }
    add("commands.json", &serde_json::to_vec_pretty(commands).unwrap_or_default()).map_err(failed)?;
    tar.write_all(&[0; 1024]).map_err(failed)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(tar.finish().map_err(failed)?))
}

/// The kernel command line may hold the token.
fn without_secrets(text: &str) -> String {
    let word = |word: &str| {
        word.split_once('=').filter(|(key, _)| key.contains("token") || key.contains("password")).map(|it| format!("{}=******", it.0))
    };
    let line = |line: &str| line.split(' ').map(|it| word(it).unwrap_or_else(|| it.to_owned())).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// What the kernel has said so far; empty where that may not be read.
fn kernel_log() -> Vec<u8> {
    let mut text = Vec::new();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut log) = opened else { return text };
    let mut record = vec![0; 8192];
    // Each read gives one record; the end is an error, since the log goes on.
    while let Ok(count @ 1..) = log.read(&mut record) {
        text.extend_from_slice(record.get(..count).unwrap_or_default());
        if text.len() > 4 * LONGEST {
            break;
        }
    }
    without_secrets(&String::from_utf8_lossy(&text)).into_bytes()
}

fn header(name: &str, size: usize) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &str| {
        for (place, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
            *place = byte;
        }
    };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    put(0, name.get(..name.len().min(99)).unwrap_or("log"));
    put(100, "0000640\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, &format!("{since:011o}\0"));
    // The checksum counts its own place as blanks.
    put(148, "        0");
    put(257, "ustar\u{0}00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *place = byte;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_was_packed() {
        let packed = collect(&[serde_json::json!({"id": "one"})]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("logs.tar.gz");
        std::fs::write(&file, base64::engine::general_purpose::STANDARD.decode(packed).unwrap()).unwrap();
        let done = std::process::Command::new("tar").arg("xzf").arg(&file).arg("-C").arg(folder.path()).status();
        if !done.expect("Debian has tar").success() {
            panic!("tar does not understand it");
        }
        assert!(std::fs::read_to_string(folder.path().join("commands.json")).unwrap().contains("one"));
        assert!(std::fs::read_to_string(folder.path().join("proc_meminfo")).unwrap().contains("MemTotal"));
        assert!(folder.path().join("dmesg").exists());
    }

    #[test]
    fn secrets_are_left_out() {
        let shown = without_secrets("quiet ipa-agent-token=hush ipa-api-url=http://x\nrescue_password=hush");
        assert_eq!(shown, "quiet ipa-agent-token=****** ipa-api-url=http://x\nrescue_password=******\n");
    }
}
