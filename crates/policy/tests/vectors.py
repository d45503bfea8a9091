"""Writes vectors.json: what oslo.policy answers, for tests/vectors.rs to compare with.

Needs the pip package oslo.policy. Run it with the Python that has it:

    python3 crates/policy/tests/vectors.py

Cases are the same on every run: random ones have a fixed seed. Left out is what the library cannot parse or ends with
an exception for, because the engine here refuses such text when it is loaded.
"""

import json
import logging
import pathlib
import random

from oslo_policy import _checks, _parser

logging.disable(logging.CRITICAL)

# Rules that others refer to.
RULES = {
    "admin_required": "role:admin or is_admin:1",
    "service_role": "role:service",
    "owner": "user_id:%(user_id)s",
    "admin_or_owner": "rule:admin_required or rule:owner",
    "cloud_reader": "role:reader and system_scope:all",
    "domain_target": "'manager':%(target.role.name)s or 'member':%(target.role.name)s",
    "always": "@",
    "never": "!",
    "empty": "",
    "with:colon": "role:member",
}

# What is known of the caller, by the names of the fields of Credentials.
CREDENTIALS = [
    {"user_id": "u1", "user_domain_id": "d1"},
    {"user_id": "u1", "user_domain_id": "d1", "project_id": "p1", "project_domain_id": "d1", "roles": ["member", "reader"]},
    {"user_id": "u2", "user_domain_id": "d2", "project_id": "p2", "project_domain_id": "d2", "roles": ["Admin"]},
    {"user_id": "u3", "user_domain_id": "d1", "domain_id": "d1", "roles": ["manager", "member", "reader"]},
    {"user_id": "u4", "user_domain_id": "default", "system": True, "roles": ["reader"]},
    {"user_id": "u5", "user_domain_id": "default", "system": True, "roles": ["admin", "manager", "member", "reader"]},
    {
        "user_id": "u1",
        "user_domain_id": "d1",
        "project_id": "p1",
        "project_domain_id": "d1",
        "roles": ["reader", "Étranger"],
        "service": {
            "user_id": "s1",
            "user_domain_id": "default",
            "project_id": "services",
            "project_domain_id": "default",
            "roles": ["service"],
        },
    },
]

# As the service hands them over, nested; Keystone flattens them (keystone.common.utils.flatten_dict) before it asks.
TARGETS = [
    {},
    {"user_id": "u1", "project_id": "p1", "target": {"user": {"id": "u1", "domain_id": "d1", "enabled": True}}},
    {"user_id": "u2", "project_id": "p2", "target": {"user": {"id": "u2", "domain_id": "d2", "enabled": False}}},
    {"target": {"role": {"id": "r1", "name": "manager", "domain_id": None}, "domain": {"id": "d1"}}},
    {"target": {"role": {"id": "r2", "name": "ADMIN", "domain_id": "d2"}, "domain_id": None}},
    {"target.user.domain_id": "d1", "target.role.name": "member", "target": {"project": {"id": "p1", "domain_id": "d1"}}},
    {"target": {"n": 5, "f": 1.5, "big": 1e16, "small": 1e-05, "neg": -3, "list": ["a", 1, None, True], "none": [], "text": "a%b"}},
    {"target": {"token": {"user_id": "u1", "user": {"domain": {"id": "d1"}}}, "trust": {"trustor_user_id": "u1"}}},
]

LEAVES = [
    "@",
    "!",
    "role:admin",
    "role:ADMIN",
    "role:member",
    "role:reader",
    "role:service",
    "role:étranger",
    "role:ÉTRANGER",
    "role:",
    "role:%(target.role.name)s",
    "role:man%(target.role.suffix)s",
    "role:%%admin",
    "rule:admin_required",
    "rule:owner",
    "rule:admin_or_owner",
    "rule:cloud_reader",
    "rule:domain_target",
    "rule:always",
    "rule:never",
    "rule:empty",
    "rule:with:colon",
    "user_id:u1",
    "user_id:%(user_id)s",
    "user_id:%(target.user.id)s",
    "user_id:%(target.token.user_id)s",
    "user_id:%(target.trust.trustor_user_id)s",
    "user_domain_id:%(target.user.domain_id)s",
    "project_id:%(project_id)s",
    "project_id:%(target.project.id)s",
    "project_id:None",
    "domain_id:%(target.user.domain_id)s",
    "domain_id:%(target.role.domain_id)s",
    "domain_id:%(target.domain.id)s",
    "domain_id:None",
    "project_domain_id:%(target.project.domain_id)s",
    "system_scope:all",
    "system_scope:None",
    "system:all",
    "roles:member",
    "roles:Member",
    "roles:%(target.role.name)s",
    "service_roles:service",
    "service_user_id:s1",
    "service_project_id:services",
    "service_project_domain_id:default",
    "service_user_domain_id:None",
    "is_admin_project:True",
    "is_admin:1",
    "nothing:x",
    "nothing.at.all:x",
    "token.user.id:u1",
    "token.user.domain.id:%(target.user.domain_id)s",
    "token.project.id:p1",
    "token.project.domain.id:%(target.domain.id)s",
    "token.domain.id:%(target.domain.id)s",
    "token.system.all:True",
    "token.roles.name:reader",
    "'manager':%(target.role.name)s",
    '"manager":%(target.role.name)s',
    "'Manager':%(target.role.name)s",
    "'':%(target.role.name)s",
    "'a%b':%(target.text)s",
    "'a%%b':%(target.text)s",
    "'x':x",
    "'50%':50%%",
    "('a':'a')",
    "None:%(target.role.domain_id)s",
    "None:%(target.domain_id)s",
    "'None':%(target.role.domain_id)s",
    "True:%(target.user.enabled)s",
    "False:%(target.user.enabled)s",
    "1:%(target.user.enabled)s",
    "5:%(target.n)s",
    "5.0:%(target.n)s",
    "'5':%(target.n)s",
    "1.5:%(target.f)s",
    "1.50:%(target.f)s",
    "1e16:%(target.big)s",
    "1e-5:%(target.small)s",
    "-3:%(target.neg)s",
    "+3:3",
    "1_000:1000",
    "00:0",
    "1.:1.0",
    "\"['a',\":%(target.list)s",
    "'[]':%(target.none)s",
    "'p1-u1':%(project_id)s-%(user_id)s",
    "'u1':%(user_id)s%(target.missing)s",
    "user_id:%(target.user)s",
    "user_id:%(target.user.id.more)s",
]

SHAPES = [
    "not {0}",
    "NOT {0}",
    "not not {0}",
    "({0})",
    "(({0}))",
    "{0} and {1}",
    "{0} or {1}",
    "{0} AND {1}",
    "{0} Or {1}",
    "not {0} and {1}",
    "not ({0} and {1})",
    "not ({0} or {1})",
    "{0} and {1} or {2}",
    "{0} or {1} and {2}",
    "({0} or {1}) and {2}",
    "{0} and ({1} or {2})",
    "{0} and not {1} or {2}",
    "{0} or not {1} and not {2}",
    "{0} or ({1} and {2}) and {3}",
    "{0} and {1} or {2} and {3}",
    "{0} or {1} and {2} or {3}",
    "({0} or {1}) and ({2} or {3})",
    "(not {0} or (not ({1} and {2})))   and\t{3}",
]

LISTS = [
    [],
    [[]],
    [[], []],
    [["role:admin"]],
    [["role:admin"], ["role:reader"]],
    [["role:member", "user_id:%(user_id)s"]],
    [["role:member", "user_id:%(user_id)s"], ["system_scope:all"]],
    [[], ["role:member"]],
    ["role:member", ["role:reader", "domain_id:%(target.domain.id)s"]],
    ["", ["role:reader"]],
    [["@"]],
    [["!"], ["@", "role:reader"]],
    [["rule:admin_required"], ["rule:owner"]],
    [["role:two words"], ["'two words':%(target.role.name)s", "!"]],
]


def values_of(who):
    """What Keystone's request context makes of a token (to_policy_values, with the token's body as `token`)."""
    service = who.get("service", {})
    user = {"id": who["user_id"], "domain": {"id": who["user_domain_id"]}}
    token = {"methods": ["password"], "user": user}
    roles = [{"id": name, "name": name} for name in who.get("roles", [])]
    if who.get("system"):
        token.update(roles=roles, system={"all": True})
    elif who.get("domain_id"):
        token.update(roles=roles, domain={"id": who["domain_id"]})
    elif who.get("project_id"):
        token.update(roles=roles, project={"id": who["project_id"], "domain": {"id": who["project_domain_id"]}})
    values = {
        "user_id": who["user_id"],
        "user_domain_id": who["user_domain_id"],
        "system_scope": "all" if who.get("system") else None,
        "domain_id": who.get("domain_id"),
        "project_id": who.get("project_id"),
        "project_domain_id": who.get("project_domain_id"),
        "roles": who.get("roles", []),
        "is_admin_project": True,
        "service_user_id": service.get("user_id"),
        "service_user_domain_id": service.get("user_domain_id"),
        "service_project_id": service.get("project_id"),
        "service_project_domain_id": service.get("project_domain_id"),
        "service_roles": service.get("roles", []),
        "token": token,
    }
    if values["system_scope"]:
        values["system"] = values["system_scope"]
    return values


def flat(nested, prefix=""):
    out = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            out.update(flat(value, prefix + key + "."))
        else:
            out[prefix + key] = value
    return out


class Enforcer:
    """As much of the library's as a check asks for."""

    rules = {name: _parser.parse_rule(text) for name, text in RULES.items()}


def parsed(rule):
    """The check, or nothing if the library could not parse the rule and made it "never"."""
    if isinstance(rule, str):
        if not rule:
            return _checks.TrueCheck()
        state = _parser.ParseState()
        for token in _parser._parse_tokenize(rule):
            state.shift(token)
        try:
            return state.result
        except ValueError:
            return None
    return _parser.parse_rule(rule)


def answer(check, who, target):
    try:
        return bool(check(flat(target), values_of(who), Enforcer))
    except Exception:
        return None


def main():
    chance = random.Random(20260701)
    cases = []

    def add(rule, who, target):
        check = parsed(rule)
        if check is None:
            return
        allowed = answer(check, CREDENTIALS[who], TARGETS[target])
        if allowed is not None:
            cases.append({"rule": rule, "who": who, "target": target, "allowed": allowed})

    everyone = range(len(CREDENTIALS))
    everything = range(len(TARGETS))
    # Every leaf with everyone, and with every target that has something to say to it.
    for leaf in LEAVES:
        if "%(" in leaf:
            for target in everything:
                add(leaf, chance.choice(everyone), target)
                add(leaf, chance.choice(everyone), target)
        else:
            for who in everyone:
                add(leaf, who, chance.choice(everything))
    # Every truth table of every shape.
    for shape in SHAPES:
        places = sum(f"{{{place}}}" in shape for place in range(4))
        for bits in range(2**places):
            add(shape.format(*["@" if bits >> place & 1 else "!" for place in range(4)]), 0, 0)
    # Shapes within shapes over random leaves.
    for _ in range(400):
        text = chance.choice(SHAPES).format(*[chance.choice(LEAVES) for _ in range(4)])
        if chance.random() < 0.4:
            text = chance.choice(SHAPES).format(f"({text})", *[chance.choice(LEAVES) for _ in range(3)])
        add(text, chance.choice(everyone), chance.choice(everything))
    for rule in LISTS:
        for who in everyone:
            add(rule, who, chance.choice(everything))
    add("", 0, 0)

    out = {"rules": RULES, "credentials": CREDENTIALS, "targets": TARGETS}
    lines = ",\n".join("    " + json.dumps(case, ensure_ascii=False) for case in cases)
    head = json.dumps(out, indent=2, ensure_ascii=False)[:-2]
    path = pathlib.Path(__file__).with_name("vectors.json")
    path.write_text(head + ',\n  "cases": [\n' + lines + "\n  ]\n}\n", encoding="utf-8")
    print(len(cases), "cases,", sum(case["allowed"] for case in cases), "allowed")


if __name__ == "__main__":
    main()
