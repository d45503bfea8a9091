//! Rescue: whoever rents the machine gets into this ramdisk with a password, and the control plane no longer does.
//!
//! Source: ironic-python-agent, `extensions/rescue.py`; shadow(5), crypt(5).

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sha_crypt::{PasswordHasher as _, ShaCrypt};

use super::failure::Failure;

/// Name of the user that rescues.
const USER: &str = "rescue";
/// Where ironic-python-agent leaves the password for the ramdisk's own scripts.
const PASSWORD_FILE: &str = "ipa-rescue-config/ipa-rescue-password";
const LONGEST: usize = 1024;

/// Writes the password of the rescue user below `etc`, hashed: a line of `shadow` (and of `passwd`, where there is none), and the
/// file that ironic-python-agent writes. Repeatable.
///
/// # Errors
/// The password cannot be one, or a file cannot be written; never says the password.
pub fn finalize(etc: &Path, password: &str, hashed: bool) -> Result<(), Failure> {
    // A colon or a line's end would make another line, or another field, of it.
    if password.is_empty() || password.len() > LONGEST || (hashed && password.contains([':', '\n', '\0'])) {
        return Err(Failure::params("rescue_password is empty, too long, or not a hash of crypt(5)"));
    }
    let hash = if hashed { password.to_owned() } else { hash(password)? };
    let failed = |what: &'static str| move |error: std::io::Error| Failure::execution(format!("cannot write {what}: {error}"));
    let file = etc.join(PASSWORD_FILE);
    std::fs::create_dir_all(file.parent().unwrap_or(etc)).map_err(failed("the rescue password's folder"))?;
    write(&file, &hash).map_err(failed("the rescue password"))?;
    let passwd = etc.join("passwd");
    let users = std::fs::read_to_string(&passwd).unwrap_or_default();
    if !users.lines().any(is_user) {
        // As in the ramdisks of ironic-python-agent-builder: the rescue user may do everything.
        std::fs::write(&passwd, format!("{}{USER}:x:0:0:rescue:/:/bin/sh\n", ended(&users))).map_err(failed("passwd"))?;
    }
    let shadow = etc.join("shadow");
    let others: String = std::fs::read_to_string(&shadow)
        .unwrap_or_default()
        .lines()
        .filter(|line| !is_user(line))
        .fold(String::new(), |text, line| text + line + "\n");
    write(&shadow, &format!("{others}{USER}:{hash}:1:0:99999:7:::\n")).map_err(failed("shadow"))
}

fn is_user(line: &str) -> bool {
    line.split(':').next() == Some(USER)
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// Readable by root only, from its first byte on; whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&fresh, path)
}

fn hash(password: &str) -> Result<String, Failure> {
    let mut salt = [0; 12];
    getrandom::fill(&mut salt).map_err(|_| Failure::execution("there is no randomness for a salt"))?;
    let hashed = ShaCrypt::default().hash_password_with_salt(password.as_bytes(), &salt);
    hashed.map(|it| it.to_string()).map_err(|_| Failure::execution("the rescue password cannot be hashed"))
}

#[cfg(test)]
mod tests {
    use sha_crypt::PasswordVerifier as _;

    use super::*;

    #[test]
    fn the_password_is_set_and_set_again() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path();
        std::fs::write(etc.join("shadow"), "root:*:1:0:99999:7:::\nrescue:old:1:0:99999:7:::\n").unwrap();
        std::fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh").unwrap();
        for _ in 0..2 {
            finalize(etc, "$5$salt$hash", true).unwrap();
        }
        let shadow = std::fs::read_to_string(etc.join("shadow")).unwrap();
        assert_eq!(shadow, "root:*:1:0:99999:7:::\nrescue:$5$salt$hash:1:0:99999:7:::\n");
        let passwd = std::fs::read_to_string(etc.join("passwd")).unwrap();
        assert_eq!(passwd, "root:x:0:0:root:/root:/bin/sh\nrescue:x:0:0:rescue:/:/bin/sh\n");
        assert_eq!(std::fs::read_to_string(etc.join(PASSWORD_FILE)).unwrap(), "$5$salt$hash");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(etc.join("shadow")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_plain_password_is_hashed() {
        let folder = tempfile::tempdir().unwrap();
        finalize(folder.path(), "open:sesame\n", false).unwrap();
        let hash = std::fs::read_to_string(folder.path().join(PASSWORD_FILE)).unwrap();
        assert!(hash.starts_with("$6$") && !hash.contains("sesame"), "{hash}");
        ShaCrypt::default().verify_password(b"open:sesame\n", hash.as_str()).unwrap();
        // What another program makes of these (openssl passwd -6).
        let known = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        ShaCrypt::default().verify_password(b"Hello world!", known).unwrap();
    }

    #[test]
    fn what_would_break_the_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (password, hashed) in [("", false), ("a:b", true), ("a\nroot::", true)] {
            assert_eq!(finalize(folder.path(), password, hashed).unwrap_err().kind, "InvalidCommandParamsError");
        }
        assert!(!folder.path().join("shadow").exists());
    }
}
