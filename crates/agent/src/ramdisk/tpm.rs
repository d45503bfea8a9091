//! The machine's TPM 2.0: what its registers hold, in its own signed words.
//!
//! The few commands needed are put together here; a TPM's own library is written in C and larger than this agent. The key is made
//! anew from the TPM's endorsement seed each time and is always the same, so nothing has to be stored in the TPM.
//!
//! Source: TCG, Trusted Platform Module Library, rev. 1.59: part 1, 18 (command structure), part 3 (commands); tpmrm(4) of Linux.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::failure::{Failure, chain};

/// Longest wait for one answer; making an RSA key takes the slowest TPMs a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// Largest answer (TPM2_PT_MAX_RESPONSE_SIZE of every TPM known).
const MAX_ANSWER: usize = 4096;
/// How often a busy TPM is asked, and how often registers are read that change meanwhile.
const TRIES: u32 = 5;
const REGISTERS: u8 = 24;
/// A nonce must fit a digest's place.
const MAX_NONCE: usize = 32;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const CREATE_PRIMARY: u32 = 0x131;
const QUOTE: u32 = 0x158;
const FLUSH_CONTEXT: u32 = 0x165;
const PCR_READ: u32 = 0x17e;
const ENDORSEMENT: u32 = 0x4000_000b;
/// The password session with an empty password, with the length of it all before.
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY: the same again, later.
const BUSY: [u32; 3] = [0x908, 0x90a, 0x922];

/// `TPMT_PUBLIC` of a restricted signing key, ECDSA on P-256 with SHA-256: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth,
/// noDA, restricted, sign.
const ECC_KEY: &[u8] = &[0, 0x23, 0, 0x0b, 0, 5, 4, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10, 0, 0, 0, 0];
/// The same for RSASSA with 2,048 bits, for TPMs without that curve.
const RSA_KEY: &[u8] = &[0, 1, 0, 0x0b, 0, 5, 4, 0x72, 0, 0, 0, 0x10, 0, 0x14, 0, 0x0b, 8, 0, 0, 0, 0, 0, 0, 0];

/// Where the TPM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A device of the kernel.
    Device(PathBuf),
    /// A simulator that listens on TCP.
    Tcp(SocketAddr),
    /// A simulator that listens on a socket in the file system.
    Unix(PathBuf),
}

impl Default for Place {
    fn default() -> Self {
        // The kernel's resource manager: forgets what its user leaves behind.
        Self::Device("/dev/tpmrm0".into())
    }
}

impl Place {
    /// Reads `tcp:ADDRESS:PORT`, `unix:PATH` or the path of a device.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix("tcp:") {
            return Some(Self::Tcp(address.parse().ok()?));
        }
        let path = text.strip_prefix("unix:");
        path.map(|it| Self::Unix(it.into())).or_else(|| text.starts_with('/').then(|| Self::Device(text.into())))
    }
}

/// Why the TPM did not answer as hoped.
#[derive(Debug, thiserror::Error)]
enum TpmError {
    #[error("the machine's TPM cannot be reached")]
    Reach(#[source] io::Error),
    #[error("the TPM refused {what} with code {code:#x}")]
    Refused { what: &'static str, code: u32 },
    #[error("the TPM's answer to {0} cannot be read")]
    Answer(&'static str),
    #[error("the registers changed while they were quoted")]
    Restless,
}

enum Line {
    Device(File),
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Tpm(Line);

/// The parts of an answer, read from the front.
struct Answer {
    bytes: Vec<u8>,
    at: usize,
    what: &'static str,
}

impl Answer {
    fn take(&mut self, count: usize) -> Result<&[u8], TpmError> {
        let end = self.at.checked_add(count).ok_or(TpmError::Answer(self.what))?;
        let taken = self.bytes.get(self.at..end).ok_or(TpmError::Answer(self.what))?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, octets: usize) -> Result<u32, TpmError> {
        Ok(self.take(octets)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn sized(&mut self) -> Result<&[u8], TpmError> {
        let count = self.number(2)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut all = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    all.extend_from_slice(bytes);
    all
}

/// `TPML_PCR_SELECTION` of one bank, SHA-256.
fn selection(registers: &[u8]) -> Vec<u8> {
    let mask = registers.iter().filter(|it| **it < REGISTERS).fold(0_u32, |mask, it| mask | 1 << it);
    let [low, middle, high, _] = mask.to_le_bytes();
    vec![0, 0, 0, 1, 0, 0x0b, 3, low, middle, high]
}

impl Tpm {
    fn open(place: &Place) -> Result<Self, TpmError> {
        let line = match place {
            Place::Device(path) => File::options().read(true).write(true).open(path).map(Line::Device),
            Place::Tcp(address) => {
                TcpStream::connect_timeout(address, PATIENCE).and_then(|it| it.set_read_timeout(Some(PATIENCE)).map(|()| it)).map(Line::Tcp)
            }
            Place::Unix(path) => UnixStream::connect(path).and_then(|it| it.set_read_timeout(Some(PATIENCE)).map(|()| it)).map(Line::Unix),
        };
        line.map(Tpm).map_err(TpmError::Reach)
    }

    /// One command and its answer, from behind the code on.
    fn ask(&mut self, what: &'static str, tag: u16, code: u32, body: &[u8]) -> Result<Answer, TpmError> {
        let mut command = tag.to_be_bytes().to_vec();
        command.extend(u32::try_from(body.len() + 10).unwrap_or(u32::MAX).to_be_bytes());
        command.extend(code.to_be_bytes());
        command.extend_from_slice(body);
        for _ in 0..TRIES {
            let bytes = match &mut self.0 {
                Line::Device(line) => exchange_device(line, &command),
                Line::Tcp(line) => exchange(line, &command),
                Line::Unix(line) => exchange(line, &command),
            };
            let mut answer = Answer { bytes: bytes.map_err(TpmError::Reach)?, at: 0, what };
            let (_tag, _size) = (answer.number(2)?, answer.number(4)?);
            match answer.number(4)? {
                0 => return Ok(answer),
                code if BUSY.contains(&code) => std::thread::sleep(Duration::from_millis(200)),
                code => return Err(TpmError::Refused { what, code }),
            }
        }
        Err(TpmError::Refused { what, code: BUSY[0] })
    }

    /// Makes the attestation key; gives its handle and its `TPMT_PUBLIC`.
    fn key(&mut self) -> Result<(u32, Vec<u8>), TpmError> {
        let mut refused = None;
        for template in [ECC_KEY, RSA_KEY] {
            let mut body = ENDORSEMENT.to_be_bytes().to_vec();
            body.extend(EMPTY_PASSWORD);
            // No password, no data; then the template; no outside info, no creation registers.
            body.extend([0, 4, 0, 0, 0, 0]);
            body.extend(sized(template));
            body.extend([0, 0, 0, 0, 0, 0]);
            match self.ask("CreatePrimary", SESSIONS, CREATE_PRIMARY, &body) {
                Ok(mut answer) => {
                    let handle = answer.number(4)?;
                    let _parameters = answer.number(4)?;
                    return Ok((handle, answer.sized()?.to_vec()));
                }
                Err(error @ TpmError::Refused { .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or(TpmError::Answer("CreatePrimary")))
    }

    /// Reads registers; a TPM gives at most eight at a time.
    fn registers(&mut self, numbers: &[u8]) -> Result<Vec<Vec<u8>>, TpmError> {
        let mut values = Vec::new();
        for some in numbers.chunks(8) {
            let mut answer = self.ask("PCR_Read", NO_SESSIONS, PCR_READ, &selection(some))?;
            let _counter = answer.number(4)?;
            // The selection comes back, in the same form, and then as many values.
            let given = answer.take(10)?.to_vec();
            let count = usize::try_from(answer.number(4)?).unwrap_or(0);
            if given != selection(some) || count != some.len() {
                return Err(TpmError::Answer("PCR_Read (is there a SHA-256 bank?)"));
            }
            for _ in 0..count {
                values.push(answer.sized()?.to_vec());
            }
        }
        Ok(values)
    }

    fn quote(&mut self, key: u32, nonce: &[u8], registers: &[u8]) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let mut body = key.to_be_bytes().to_vec();
        body.extend(EMPTY_PASSWORD);
        body.extend(sized(nonce));
        // TPM_ALG_NULL: the key's own scheme.
        body.extend([0, 0x10]);
        body.extend(selection(registers));
        let mut answer = self.ask("Quote", SESSIONS, QUOTE, &body)?;
        let parameters = usize::try_from(answer.number(4)?).unwrap_or(usize::MAX);
        let quote = answer.sized()?.to_vec();
        let rest = parameters.checked_sub(quote.len() + 2).ok_or(TpmError::Answer("Quote"))?;
        Ok((quote, answer.take(rest)?.to_vec()))
    }

    fn forget(&mut self, key: u32) {
        if let Err(error) = self.ask("FlushContext", NO_SESSIONS, FLUSH_CONTEXT, &key.to_be_bytes()) {
            tracing::warn!(error = chain(&error), "the TPM keeps a key that is not used any more");
        }
    }

    fn evidence(&mut self, key: u32, public: &[u8], nonce: &[u8], numbers: &[u8]) -> Result<Value, TpmError> {
        for _ in 0..TRIES {
            let before = self.registers(numbers)?;
            let (quote, signature) = self.quote(key, nonce, numbers)?;
            if self.registers(numbers)? != before {
                continue;
            }
            let hex = |bytes: &Vec<u8>| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            let pcrs: Map<String, Value> =
                numbers.iter().zip(&before).map(|(number, value)| (number.to_string(), hex(value).into())).collect();
            return Ok(json!({
                "public": STANDARD.encode(public), "quote": STANDARD.encode(quote), "signature": STANDARD.encode(signature), "pcrs": pcrs,
            }));
        }
        Err(TpmError::Restless)
    }
}

/// A device takes a command in one write and gives its answer in one read.
fn exchange_device(device: &mut File, command: &[u8]) -> io::Result<Vec<u8>> {
    device.write_all(command)?;
    let mut answer = vec![0; MAX_ANSWER];
    let count = device.read(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

fn exchange(line: &mut (impl Read + Write), command: &[u8]) -> io::Result<Vec<u8>> {
    line.write_all(command)?;
    let mut answer = vec![0; 10];
    line.read_exact(&mut answer)?;
    let size = answer.get(2..6).and_then(|it| it.try_into().ok()).map_or(0, u32::from_be_bytes);
    let rest = usize::try_from(size).unwrap_or(0).checked_sub(answer.len()).filter(|rest| *rest <= MAX_ANSWER);
    let rest = rest.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an answer of an impossible size"))?;
    Read::by_ref(line).take(u64::try_from(rest).unwrap_or(0)).read_to_end(&mut answer)?;
    Ok(answer)
}

fn nonce_of(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|it| it.to_digit(16)).collect();
    let digits = digits.filter(|it| !it.is_empty() && it.len() % 2 == 0 && it.len() <= 2 * MAX_NONCE)?;
    digits.chunks(2).map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).ok()).collect()
}

/// Carries out `attest.quote`: `{"nonce": hex of at most 32 bytes, "pcrs": [0, 7…]}`. Gives `public` (the key), `quote` and
/// `signature` in base64, and `pcrs`, the values by number. Blocking, up to some minutes on a slow TPM.
///
/// # Errors
/// A [`Failure`] that says whether the parameters, the way to the TPM or the TPM is at fault.
pub fn quote(place: &Place, params: &Map<String, Value>) -> Result<Value, Failure> {
    let nonce = params.get("nonce").and_then(Value::as_str).and_then(nonce_of);
    let nonce = nonce.ok_or_else(|| Failure::params("nonce is not the hexadecimal form of 1 to 32 bytes"))?;
    let asked = params.get("pcrs").and_then(Value::as_array).filter(|it| !it.is_empty());
    let number = |it: &Value| it.as_u64().and_then(|it| u8::try_from(it).ok()).filter(|it| *it < REGISTERS);
    let numbers: Option<std::collections::BTreeSet<u8>> = asked.and_then(|all| all.iter().map(number).collect());
    let numbers: Vec<u8> = numbers.ok_or_else(|| Failure::params("pcrs is not a list of numbers from 0 to 23"))?.into_iter().collect();
    let failed = |error: TpmError| Failure::execution(chain(&error));
    let mut tpm = Tpm::open(place).map_err(failed)?;
    let (key, public) = tpm.key().map_err(failed)?;
    let evidence = tpm.evidence(key, &public, &nonce, &numbers);
    tpm.forget(key);
    evidence.map_err(failed)
}

#[cfg(test)]
mod tests;
