//! The hash of a password as `/etc/shadow` has it: SHA-512 crypt (Source: U. Drepper, "Unix crypt using SHA-256 and SHA-512").

use sha2::{Digest as _, Sha512};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: u32 = 5000;

fn letter(six: u32) -> char {
    ALPHABET.get(usize::try_from(six & 63).unwrap_or_default()).copied().map_or('.', char::from)
}

/// Hashes a password with a salt of its own.
///
/// # Errors
/// There is no randomness.
pub(crate) fn sha512(password: &str) -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    let salt: String = bytes.iter().map(|byte| letter(u32::from(*byte))).collect();
    Ok(with_salt(password.as_bytes(), &salt))
}

fn repeated(block: &[u8], length: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(length).collect()
}

fn with_salt(password: &[u8], salt: &str) -> String {
    let salt: String = salt.chars().take(16).collect();
    let salt_bytes = salt.as_bytes();
    let second = Sha512::new().chain_update(password).chain_update(salt_bytes).chain_update(password).finalize();
    let mut first = Sha512::new().chain_update(password).chain_update(salt_bytes).chain_update(repeated(&second, password.len()));
    let mut length = password.len();
    while length > 0 {
        first = if length & 1 == 1 { first.chain_update(second) } else { first.chain_update(password) };
        length >>= 1;
    }
    let mut digest = first.finalize();
    let mut of_password = Sha512::new();
    for _ in 0..password.len() {
        of_password.update(password);
    }
    let p = repeated(&of_password.finalize(), password.len());
    let mut of_salt = Sha512::new();
    for _ in 0..16 + usize::from(digest.first().copied().unwrap_or_default()) {
        of_salt.update(salt_bytes);
    }
    let s = repeated(&of_salt.finalize(), salt_bytes.len());
    for round in 0..ROUNDS {
        let mut hash = Sha512::new();
        if round & 1 == 1 {
            hash.update(&p);
        } else {
            hash.update(digest);
        }
        if round % 3 != 0 {
            hash.update(&s);
        }
        if round % 7 != 0 {
            hash.update(&p);
        }
        if round & 1 == 1 {
            hash.update(digest);
        } else {
            hash.update(&p);
        }
        digest = hash.finalize();
    }
    let at = |index: usize| u32::from(digest.get(index).copied().unwrap_or_default());
    let mut out = format!("$6${salt}$");
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        let three = (at(a) << 16) | (at(b) << 8) | at(c);
        out.extend((0..4).map(|place| letter(three >> (6 * place))));
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    out.extend((0..2).map(|place| letter(at(63) >> (6 * place))));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_its_specification_has_it() {
        assert_eq!(
            with_salt(b"Hello world!", "saltstring"),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        assert_ne!(sha512("secret").unwrap(), sha512("secret").unwrap());
    }
}
