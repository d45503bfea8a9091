//! OpenSSH public keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

/// Longest key we take, in bytes (Nova's limit).
const MAX_LENGTH: usize = 16384;

/// Key types sshd takes.
const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A key as one line, and its MD5 fingerprint with colons, as Nova shows it.
///
/// # Errors
/// It is not one key in the form `type base64 comment`, or its inside is of another type than it says.
pub fn read(text: &str) -> Result<(String, String), &'static str> {
    let line = text.trim();
    if line.len() > MAX_LENGTH || line.contains(['\n', '\r', '\0']) {
        return Err("a public key is one line of at most 16384 bytes");
    }
    let mut parts = line.splitn(3, [' ', '\t']);
    let (Some(kind), Some(encoded)) = (parts.next(), parts.next()) else {
        return Err("a public key has the form 'type base64 comment'");
    };
    if !TYPES.contains(&kind) {
        return Err("the type of the public key is not one that sshd takes");
    }
    let blob = STANDARD.decode(encoded).map_err(|_| "the public key is not base64")?;
    let (length, rest) = blob.split_first_chunk::<4>().ok_or("the public key is too short")?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let inside = rest.get(..length).ok_or("the public key is too short")?;
    if inside != kind.as_bytes() || rest.len() <= length {
        return Err("the inside of the public key is not of the type it says");
    }
    let digest = Md5::digest(&blob);
    let fingerprint: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((line.to_owned(), fingerprint.join(":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here now";

    #[test]
    fn keys_and_what_is_none() {
        let (line, fingerprint) = read(&format!("{KEY}\n")).unwrap();
        assert_eq!(line, KEY);
        assert_eq!(fingerprint.len(), 47);
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 ????",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
            "ssh-dss AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 /////////w==",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
