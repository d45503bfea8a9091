//! A TPM made of `ring` says what is right, then everything that is not.

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

const NONCE: [u8; 20] = [7; 20];
const ATTRIBUTES: u32 = 0x0005_0472;

fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut all = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    all.extend_from_slice(bytes);
    all
}

struct Tpm {
    pair: EcdsaKeyPair,
    attributes: u32,
    magic: u32,
    kind: u16,
}

impl Tpm {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { pair, attributes: ATTRIBUTES, magic: 0xff54_4347, kind: 0x8018 }
    }

    fn public(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        let mut all = vec![0, 0x23, 0, 0x0b];
        all.extend(self.attributes.to_be_bytes());
        all.extend([0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10]);
        all.extend(sized(&point[1..33]));
        all.extend(sized(&point[33..]));
        all
    }

    fn quote(&self, nonce: &[u8], pcrs: &BTreeMap<u8, Register>) -> Evidence {
        let mut mask = [0_u8; 3];
        for number in pcrs.keys() {
            mask[usize::from(number / 8)] |= 1 << (number % 8);
        }
        let values: Vec<u8> = pcrs.values().flatten().copied().collect();
        let mut quote = self.magic.to_be_bytes().to_vec();
        quote.extend(self.kind.to_be_bytes());
        quote.extend(sized(&[1; 34]));
        quote.extend(sized(nonce));
        quote.extend([0; 8]);
        quote.extend([0, 0, 0, 9, 0, 0, 0, 2, 1]);
        quote.extend([0; 8]);
        quote.extend([0, 0, 0, 1, 0, 0x0b, 3]);
        quote.extend(mask);
        quote.extend(sized(ring::digest::digest(&ring::digest::SHA256, &values).as_ref()));
        let signed = self.pair.sign(&SystemRandom::new(), &quote).unwrap();
        let mut signature = vec![0, 0x18, 0, 0x0b];
        signature.extend(sized(&signed.as_ref()[..32]));
        signature.extend(sized(&signed.as_ref()[32..]));
        Evidence { public: self.public(), quote, signature, pcrs: pcrs.clone() }
    }
}

fn registers() -> BTreeMap<u8, Register> {
    BTreeMap::from([(0, [0x11; 32]), (7, [0x77; 32]), (14, [0xee; 32])])
}

fn policy() -> Policy {
    Policy::from_json(&json!({"pcrs": {"0": ["11".repeat(32), "22".repeat(32)], "7": "77".repeat(32)}})).unwrap()
}

#[test]
fn what_is_right_is_believed() {
    let tpm = Tpm::new();
    let evidence = tpm.quote(&NONCE, &registers());
    let first = verify(&evidence, &NONCE, Trust::FirstUse, &policy()).unwrap();
    assert_eq!((first.reset_count, &first.pcrs), (9, &registers()));
    assert_eq!(verify(&evidence, &NONCE, Trust::Pinned(&first.key), &policy()).unwrap(), first);
}

#[test]
fn what_is_not_right_is_refused_for_its_reason() {
    let (tpm, other) = (Tpm::new(), Tpm::new());
    let pin = STANDARD.encode(tpm.public());
    let good = tpm.quote(&NONCE, &registers());
    let judge = |evidence: &Evidence, trust| verify(evidence, &NONCE, trust, &policy()).unwrap_err();
    let pinned = Trust::Pinned(&pin);
    assert_eq!(judge(&good, Trust::Pinned("")), AttestError::NoKey);
    assert_eq!(judge(&other.quote(&NONCE, &registers()), pinned), AttestError::OtherKey);
    assert_eq!(judge(&tpm.quote(&[8; 20], &registers()), pinned), AttestError::Nonce);
    assert_eq!(verify(&tpm.quote(&[], &registers()), &[], pinned, &policy()).unwrap_err(), AttestError::Nonce);

    let claimed = Evidence { public: tpm.public(), ..other.quote(&NONCE, &registers()) };
    assert_eq!(judge(&claimed, pinned), AttestError::Signature);
    let mut turned = good.clone();
    turned.quote[50] ^= 1;
    assert_eq!(judge(&turned, pinned), AttestError::Signature);

    // What the machine started is not what it shows, or not what is allowed.
    let mut painted = good.clone();
    painted.pcrs.insert(0, [0x22; 32]);
    assert_eq!(judge(&painted, pinned), AttestError::Digest);
    let mut extra = good.clone();
    extra.pcrs.insert(8, [0; 32]);
    assert_eq!(judge(&extra, pinned), AttestError::Registers);
    let mut changed = registers();
    changed.insert(7, [0x78; 32]);
    let refused = judge(&tpm.quote(&NONCE, &changed), pinned);
    assert_eq!(refused, AttestError::Refused { number: 7, value: [0x78; 32] });
    assert!(refused.to_string().contains(&"78".repeat(32)), "{refused}");
    changed.remove(&7);
    assert_eq!(judge(&tpm.quote(&NONCE, &changed), pinned), AttestError::Absent(7));
}

#[test]
fn only_a_restricted_key_of_a_tpm_and_only_a_quote_counts() {
    for attributes in [0x0004_0472, 0x0005_0470, 0x0005_0452, 0x0007_0472, 0x0001_0472] {
        let tpm = Tpm { attributes, ..Tpm::new() };
        let refused = verify(&tpm.quote(&NONCE, &registers()), &NONCE, Trust::FirstUse, &policy()).unwrap_err();
        assert_eq!(refused, AttestError::Key(KeyError::Attributes), "{attributes:#x}");
    }
    let tpm = Tpm { magic: 0xff54_4348, ..Tpm::new() };
    let refused = verify(&tpm.quote(&NONCE, &registers()), &NONCE, Trust::FirstUse, &policy()).unwrap_err();
    assert_eq!(refused, AttestError::Quote(QuoteError::Magic));
    let tpm = Tpm { kind: 0x8017, ..Tpm::new() };
    let refused = verify(&tpm.quote(&NONCE, &registers()), &NONCE, Trust::FirstUse, &policy()).unwrap_err();
    assert_eq!(refused, AttestError::Quote(QuoteError::Kind));
}

#[test]
fn a_nonce_depends_on_every_part_and_its_place() {
    let all = [nonce(&[b"ab", b"c"]), nonce(&[b"a", b"bc"]), nonce(&[b"c", b"ab"]), nonce(&[b"abc"]), nonce(&[])];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one));
    }
    assert_eq!(nonce(&[b"ab", b"c"]), all[0]);
}

#[test]
fn policies_say_what_is_wrong_with_them() {
    let read = |policy: serde_json::Value| Policy::from_json(&policy);
    for bad in [json!(null), json!([]), json!({}), json!({"pcrs": {}}), json!({"pcrs": []})] {
        assert_eq!(read(bad).unwrap_err(), PolicyError::Empty);
    }
    for bad in ["24", "-1", "x", ""] {
        assert_eq!(read(json!({"pcrs": {bad: ["11".repeat(32)]}})).unwrap_err(), PolicyError::Number(bad.into()));
    }
    for bad in [json!([]), json!(["11"]), json!("zz".repeat(32)), json!([5]), json!("é".repeat(32))] {
        assert_eq!(read(json!({"pcrs": {"3": bad}})).unwrap_err(), PolicyError::Values(3));
    }
}

#[test]
fn two_policies_hold_together() {
    let image = read(&[("4", &["aa", "bb"]), ("5", &["cc"])]);
    let node = read(&[("0", &["11"]), ("4", &["bb", "dd"])]);
    let both = image.and(&node);
    assert_eq!(both.registers().collect::<Vec<_>>(), [0, 4, 5]);
    let shown = |four: u8| BTreeMap::from([(0, [0x11; 32]), (4, [four; 32]), (5, [0xcc; 32])]);
    assert_eq!(both.allows(&shown(0xbb)), Ok(()));
    assert_eq!(both.allows(&shown(0xaa)), Err(AttestError::Refused { number: 4, value: [0xaa; 32] }));
}

fn read(of: &[(&str, &[&str])]) -> Policy {
    let pcrs: serde_json::Map<String, Value> = of
        .iter()
        .map(|(number, values)| ((*number).to_owned(), json!(values.iter().map(|it| it.repeat(32)).collect::<Vec<_>>())))
        .collect();
    Policy::from_json(&json!({ "pcrs": pcrs })).unwrap()
}

#[test]
fn the_agents_answer_is_read() {
    let evidence = Tpm::new().quote(&NONCE, &registers());
    let answer = json!({
        "public": STANDARD.encode(&evidence.public), "quote": STANDARD.encode(&evidence.quote),
        "signature": STANDARD.encode(&evidence.signature),
        "pcrs": evidence.pcrs.iter().map(|(number, value)| (number.to_string(), hex(value).into())).collect::<serde_json::Map<_, _>>(),
    });
    assert_eq!(Evidence::from_json(&answer).unwrap(), evidence);
    for key in ["public", "quote", "signature", "pcrs"] {
        let mut bad = answer.clone();
        bad[key] = json!("*");
        assert!(matches!(Evidence::from_json(&bad), Err(AttestError::Answer(_))), "{key}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(public: Vec<u8>, quote: Vec<u8>, signature: Vec<u8>) {
        let evidence = Evidence { public, quote, signature, pcrs: registers() };
        prop_assert!(verify(&evidence, &NONCE, Trust::FirstUse, &policy()).is_err());
        let _ = Quote::parse(&evidence.quote);
    }

    /// What is nearly right reaches deeper than noise does.
    #[test]
    fn no_change_of_good_bytes_is_believed(which in 0..3_usize, at: prop::sample::Index, bit in 0..8_u8, cut: bool) {
        let tpm = Tpm::new();
        let mut evidence = tpm.quote(&NONCE, &registers());
        let pin = STANDARD.encode(&evidence.public);
        let bytes = [&mut evidence.public, &mut evidence.quote, &mut evidence.signature].into_iter().nth(which).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        prop_assert!(verify(&evidence, &NONCE, Trust::Pinned(&pin), &policy()).is_err());
        let _ = verify(&evidence, &NONCE, Trust::FirstUse, &policy());
        let _ = Quote::parse(&evidence.quote);
        if let Ok(key) = AttestationKey::parse(&evidence.public) {
            prop_assert!(!key.verifies(&evidence.quote, &evidence.signature) || which == 0);
        }
    }
}
