//! Against swtpm, an independent TPM; what it says is judged by `attest`, which shares no code with this.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use attest::{AttestError, Evidence, Policy, Trust, verify};

use super::*;

struct Swtpm {
    child: Child,
    _state: tempfile::TempDir,
    place: Place,
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits for one connection after the other, as a TPM stays when its user goes.
fn swtpm(over_tcp: bool) -> Option<Swtpm> {
    let state = tempfile::tempdir().unwrap();
    let (server, place) = if over_tcp {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        (format!("type=tcp,port={},bindaddr=127.0.0.1", free.port()), Place::Tcp(free))
    } else {
        let path = state.path().join("socket");
        (format!("type=unixio,path={}", path.display()), Place::Unix(path))
    };
    let started = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--server", &server])
        .arg("--tpmstate")
        .arg(format!("dir={}", state.path().display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else {
        println!("skipped: the program swtpm is missing");
        return None;
    };
    let tpm = Swtpm { child, _state: state, place };
    let deadline = Instant::now() + Duration::from_secs(20);
    while Tpm::open(&tpm.place).and_then(|mut it| it.registers(&[0])).is_err() {
        assert!(Instant::now() < deadline, "swtpm does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(tpm)
}

const NONCE: [u8; 32] = [0xab; 32];

fn ask(place: &Place, pcrs: &[u8]) -> Evidence {
    let params = json!({"nonce": "ab".repeat(32), "pcrs": pcrs});
    Evidence::from_json(&quote(place, params.as_object().unwrap()).unwrap()).unwrap()
}

fn policy(evidence: &Evidence) -> Policy {
    let pcrs: Map<String, Value> = evidence.pcrs.iter().map(|(number, value)| (number.to_string(), attest::hex(value).into())).collect();
    Policy::from_json(&json!({ "pcrs": pcrs })).unwrap()
}

/// PCR_Extend with SHA-256.
fn extend(place: &Place, register: u8) {
    let mut body = vec![0, 0, 0, register];
    body.extend(EMPTY_PASSWORD);
    body.extend([0, 0, 0, 1, 0, 0x0b]);
    body.extend([0x5a; 32]);
    Tpm::open(place).unwrap().ask("PCR_Extend", SESSIONS, 0x182, &body).unwrap();
}

#[test]
fn a_machine_is_believed_until_it_starts_something_else() {
    let (Some(tpm), Some(other)) = (swtpm(false), swtpm(true)) else { return };
    let all: Vec<u8> = (0..24).collect();
    let good = ask(&tpm.place, &all);
    assert_eq!(good.pcrs.len(), 24);
    let known = verify(&good, &NONCE, Trust::FirstUse, &policy(&good)).unwrap();
    // The key is the same each time: it can be pinned.
    let again = ask(&tpm.place, &[0, 7, 14]);
    let pinned = Trust::Pinned(&known.key);
    verify(&again, &NONCE, pinned, &policy(&again)).unwrap();

    assert_eq!(verify(&again, &[0xac; 32], pinned, &policy(&again)).unwrap_err(), AttestError::Nonce);
    let stranger = ask(&other.place, &[0, 7, 14]);
    assert_eq!(verify(&stranger, &NONCE, pinned, &policy(&again)).unwrap_err(), AttestError::OtherKey);
    let claimed = Evidence { public: again.public.clone(), ..stranger };
    assert_eq!(verify(&claimed, &NONCE, pinned, &policy(&again)).unwrap_err(), AttestError::Signature);

    extend(&tpm.place, 7);
    let changed = ask(&tpm.place, &[0, 7, 14]);
    let refused = verify(&changed, &NONCE, pinned, &policy(&again)).unwrap_err();
    assert!(matches!(refused, AttestError::Refused { number: 7, .. }), "{refused}");
    let painted = Evidence { pcrs: again.pcrs.clone(), ..changed };
    assert_eq!(verify(&painted, &NONCE, pinned, &policy(&again)).unwrap_err(), AttestError::Digest);
}

#[test]
fn an_rsa_key_attests_as_well() {
    let Some(tpm) = swtpm(true) else { return };
    let mut line = Tpm::open(&tpm.place).unwrap();
    let mut body = ENDORSEMENT.to_be_bytes().to_vec();
    body.extend(EMPTY_PASSWORD);
    body.extend([0, 4, 0, 0, 0, 0]);
    body.extend(sized(RSA_KEY));
    body.extend([0; 6]);
    let mut made = line.ask("CreatePrimary", SESSIONS, CREATE_PRIMARY, &body).unwrap();
    let (key, _) = (made.number(4).unwrap(), made.number(4).unwrap());
    let public = made.sized().unwrap().to_vec();
    let evidence = Evidence::from_json(&line.evidence(key, &public, &NONCE, &[4]).unwrap()).unwrap();
    line.forget(key);
    verify(&evidence, &NONCE, Trust::FirstUse, &policy(&evidence)).unwrap();
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let place = Place::Device("/nonexistent".into());
    for params in [
        json!({}),
        json!({"nonce": "", "pcrs": [0]}),
        json!({"nonce": "abc", "pcrs": [0]}),
        json!({"nonce": "zz", "pcrs": [0]}),
        json!({"nonce": "ab".repeat(33), "pcrs": [0]}),
        json!({"nonce": "ab", "pcrs": []}),
        json!({"nonce": "ab", "pcrs": [24]}),
        json!({"nonce": "ab", "pcrs": ["0"]}),
    ] {
        assert_eq!(quote(&place, params.as_object().unwrap()).unwrap_err().kind, "InvalidCommandParamsError", "{params}");
    }
    let failure = quote(&place, json!({"nonce": "ab", "pcrs": [0]}).as_object().unwrap()).unwrap_err();
    assert!(failure.details.contains("cannot be reached"), "{failure}");
}

#[test]
fn places_are_told_apart() {
    assert_eq!(Place::parse("tcp:127.0.0.1:2321"), Some(Place::Tcp("127.0.0.1:2321".parse().unwrap())));
    assert_eq!(Place::parse("unix:/run/tpm"), Some(Place::Unix("/run/tpm".into())));
    assert_eq!(Place::parse("/dev/tpm0"), Some(Place::Device("/dev/tpm0".into())));
    assert_eq!(Place::parse("tcp:host"), None);
    assert_eq!(Place::parse("tpm0"), None);
}
