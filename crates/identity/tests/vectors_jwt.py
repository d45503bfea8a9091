#!/usr/bin/env python3
"""Writes vectors_jwt.json: tokens signed by Python's `cryptography`, with the public keys that check them.

The private keys are made here and thrown away.
"""

import base64
import json
import pathlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLAIMS = {"iss": "https://idp.example", "aud": ["other", "cofferdam"], "sub": "alice", "exp": 2_000_000_000, "iat": 1_700_000_000}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length):
    return b64(value.to_bytes(length, "big"))


def sign_rsa(key, pss, algorithm):
    how = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size) if pss else padding.PKCS1v15()
    return lambda data: key.sign(data, how, algorithm)


def sign_ec(key, algorithm, length):
    def sign(data):
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(algorithm)))
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")
    return sign


rsa_key = rsa.generate_private_key(65537, 2048)
p256, p384, ed = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
rsa_numbers = rsa_key.public_key().public_numbers()
p256_numbers, p384_numbers = p256.public_key().public_numbers(), p384.public_key().public_numbers()
keys = [
    {"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(rsa_numbers.n, 256), "e": number(rsa_numbers.e, 3)},
    {"kty": "EC", "kid": "p256", "crv": "P-256", "alg": "ES256", "x": number(p256_numbers.x, 32), "y": number(p256_numbers.y, 32)},
    {"kty": "EC", "kid": "p384", "crv": "P-384", "x": number(p384_numbers.x, 48), "y": number(p384_numbers.y, 48)},
    {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))},
    {"kty": "oct", "kid": "hmac", "k": b64(b"secret")},
]
signers = {
    "RS256": ("rsa", sign_rsa(rsa_key, False, hashes.SHA256())), "RS384": ("rsa", sign_rsa(rsa_key, False, hashes.SHA384())),
    "RS512": ("rsa", sign_rsa(rsa_key, False, hashes.SHA512())), "PS256": ("rsa", sign_rsa(rsa_key, True, hashes.SHA256())),
    "PS384": ("rsa", sign_rsa(rsa_key, True, hashes.SHA384())), "PS512": ("rsa", sign_rsa(rsa_key, True, hashes.SHA512())),
    "ES256": ("p256", sign_ec(p256, hashes.SHA256(), 32)), "ES384": ("p384", sign_ec(p384, hashes.SHA384(), 48)),
    "EdDSA": ("ed", ed.sign),
}
tokens = {}
for name, (kid, sign) in signers.items():
    signed = b64(json.dumps({"alg": name, "kid": kid}).encode()) + "." + b64(json.dumps(CLAIMS).encode())
    tokens[name] = signed + "." + b64(sign(signed.encode()))
vectors = {"jwks": {"keys": keys}, "tokens": tokens}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(vectors, indent=1) + "\n")
