"""Writes vectors.json: what a real Keystone makes of known facts, for tests/keystone.rs to compare with.

Needs the packages keystone and cryptography (made with keystone 30.0.0):

    python crates/identity/tests/vectors.py
"""

import json
import pathlib
import tempfile

import msgpack
from cryptography import fernet
from keystone.common import password_hashing
from keystone.common.password_hashers import bcrypt, pbkdf2, scrypt
from keystone.token import token_formatters as forms
import keystone.conf

KEY = "Qk9VTkQtRk9SLVRIRS1URVNUUy1PTkxZLTAxMjM0NTY="
HEX = "0123456789abcdef0123456789abcdef"
USER, PROJECT, DOMAIN, TRUST, CREDENTIAL = (digit * 8 + HEX[8:] for digit in "abcde")
LDAP_USER = "f" * 64
AUDIT = ["AAECAwQFBgcICQoLDA0ODw", "_-7dzLuqmYh3ZlVEMyIRAA"]
EXPIRES = "2026-11-21T16:50:00.000000Z"
METHODS = [
    "external", "password", "token", "oauth1", "mapped", "application_credential", "ec2credential",
    "totp", "oauth2_credential", "saml2", "openid", "x509", "kerberos",
]
GROUPS = ["1" * 32, "2" * 32, "a-group-of-text"]

# Version, name, and what differs from a plain user with a password.
CASES = [
    ("unscoped", forms.UnscopedPayload, {}),
    ("unscoped, user of LDAP, two factors, part of a second", forms.UnscopedPayload,
     {"user_id": LDAP_USER, "methods": ["totp", "password"], "expires_at": "2026-11-21T16:50:00.123457Z", "audit_ids": AUDIT}),
    ("unscoped, far away", forms.UnscopedPayload, {"expires_at": "2199-12-31T23:59:59.999999Z"}),
    ("unscoped, every method", forms.UnscopedPayload, {"methods": METHODS}),
    ("domain", forms.DomainScopedPayload, {"domain_id": DOMAIN}),
    ("default domain", forms.DomainScopedPayload, {"domain_id": "default", "audit_ids": AUDIT}),
    ("project", forms.ProjectScopedPayload, {"project_id": PROJECT}),
    ("project, from a token", forms.ProjectScopedPayload, {"project_id": PROJECT, "methods": ["token", "password"], "audit_ids": AUDIT}),
    ("project with an id of text", forms.ProjectScopedPayload, {"project_id": "admin project ü"}),
    ("trust", forms.TrustScopedPayload, {"project_id": PROJECT, "trust_id": TRUST, "audit_ids": AUDIT}),
    ("trust without a project", forms.TrustScopedPayload, {"trust_id": TRUST}),
    ("federated", forms.FederatedUnscopedPayload, {"groups": GROUPS}),
    ("federated, no groups", forms.FederatedUnscopedPayload, {"groups": []}),
    ("federated, project", forms.FederatedProjectScopedPayload, {"groups": GROUPS[:2], "project_id": PROJECT}),
    ("federated, domain", forms.FederatedDomainScopedPayload, {"groups": GROUPS[1:], "domain_id": "default"}),
    ("federated, twenty groups", forms.FederatedUnscopedPayload, {"groups": [f"{n:032x}" for n in range(20)]}),
    ("oauth1", forms.OauthScopedPayload, {"project_id": PROJECT, "access_token_id": CREDENTIAL, "methods": ["oauth1"]}),
    ("system", forms.SystemScopedPayload, {"system": "all"}),
    ("application credential", forms.ApplicationCredentialScopedPayload,
     {"project_id": PROJECT, "app_cred_id": CREDENTIAL, "methods": ["application_credential"]}),
    ("oauth2, project", forms.Oauth2CredentialsScopedPayload,
     {"project_id": PROJECT, "thumbprint": "4vFKh1ZQtVhFMoBFFwZh7sX3V3BVrGl_wXz8FtlvTi0", "methods": ["oauth2_credential"]}),
    ("oauth2, domain", forms.Oauth2CredentialsScopedPayload,
     {"domain_id": DOMAIN, "thumbprint": "4vFKh1ZQtVhFMoBFFwZh7sX3V3BVrGl_wXz8FtlvTi0", "methods": ["oauth2_credential"]}),
]


def token(formatter, name, form, facts):
    """One token, its payload, and the facts as Keystone reads them back from it."""
    facts = {"user_id": USER, "methods": ["password"], "expires_at": EXPIRES, "audit_ids": AUDIT[:1], **facts}
    groups = facts.pop("groups", None)
    if groups is not None:
        facts |= {"federated_group_ids": [{"id": it} for it in groups], "identity_provider_id": "corp", "protocol_id": "openid"}
        facts["methods"] = ["mapped"]
    text = formatter.create_token(payload_class=form, **facts)
    names = (
        "user_id", "methods", "audit_ids", "system", "domain_id", "project_id", "trust_id", "groups",
        "identity_provider_id", "protocol_id", "access_token_id", "app_cred_id", "thumbprint", "issued_at", "expires_at",
    )
    back = dict(zip(names, formatter.validate_token(text)))
    if back["groups"] is not None:
        back["groups"] = [it["id"] for it in back["groups"]]
    # Keystone prints zeros for the part of a second, though it stands in the token.
    back["expires_at"] = facts["expires_at"]
    payload = formatter.unpack(text)
    assert msgpack.unpackb(payload)[0] == form.version
    return {"name": name, "version": form.version, "token": text, "payload": payload.hex(), **back}


def hashes():
    long = "long " * 30
    yield "bcrypt", "secret", bcrypt.Bcrypt.hash(b"secret", rounds=4)
    yield "bcrypt, not ASCII", "pässwörd 密码", bcrypt.Bcrypt.hash("pässwörd 密码".encode(), rounds=5)
    yield "bcrypt, empty", "", bcrypt.Bcrypt.hash(b"", rounds=4)
    keystone.conf.CONF.set_override("password_hash_rounds", 4, "identity")
    yield "bcrypt, cut", long, password_hashing.hash_password(long)
    yield "bcrypt_sha256", "secret", bcrypt.Bcrypt_sha256.hash(b"secret", rounds=10)
    yield "bcrypt_sha256, long", long, bcrypt.Bcrypt_sha256.hash(long.encode(), rounds=10)
    yield "scrypt", "secret", scrypt.Scrypt.hash(b"secret", n=8)
    yield "scrypt, other costs", long, scrypt.Scrypt.hash(long.encode(), salt_size=24, n=6, r=4, p=2)
    yield "pbkdf2_sha512", "secret", pbkdf2.Sha512.hash(b"secret", rounds=1000)
    yield "pbkdf2_sha512, as passlib wrote it", long, pbkdf2.Sha512.hash(long.encode(), salt_size=11, rounds=1001).replace("+", ".")


def main():
    conf = keystone.conf.CONF
    keystone.conf.configure()
    with tempfile.TemporaryDirectory() as folder:
        conf([], project="keystone", default_config_files=[], default_config_dirs=[])
        conf.set_override("key_repository", folder, "fernet_tokens")
        conf.set_override("methods", METHODS, "auth")
        pathlib.Path(folder, "1").write_text(KEY)
        pathlib.Path(folder, "0").write_text(fernet.Fernet.generate_key().decode())
        formatter = forms.TokenFormatter()
        out = {
            "key": KEY,
            "tokens": [token(formatter, *case) for case in CASES],
            "hashes": [{"name": name, "password": password, "hash": text} for name, password, text in hashes()],
        }
    path = pathlib.Path(__file__).with_name("vectors.json")
    path.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")


main()
