#!/usr/bin/env python3
"""Writes vectors_mapping.json: what Keystone's own rule processors and validator say about mappings.

Run with a Python that has keystone 30.0.0. Sets of Keystone are sorted, since their order there is random.
"""

import copy
import json
import pathlib
import random

import keystone.conf
from keystone import exception
from keystone.federation import utils

SEED = 20261121
RNG = random.Random(SEED)
keystone.conf.configure()
keystone.conf.CONF([], project="keystone", default_config_files=[])

ASSERTION = {"REMOTE_USER": "alice", "mail": "alice@example.org", "groups": "dev;ops;dev", "one": "only", "empty": "", "ünï": "Größe;b'c"}


def user(**more):
    return {"user": {"name": "{0}", **more}}


def mapping(local, remote, version="1.0"):
    return {"schema_version": version, "rules": [{"local": local, "remote": remote}]}


def cases():
    me = {"type": "REMOTE_USER"}
    domain = {"name": "corp"}
    for version in ["1.0", "2.0", "3.0"]:
        yield mapping([user()], [me], version), {}
        yield mapping([user(domain={"id": "d"}), {"domain": domain}], [me], version), {}
        yield mapping([{**user(), "domain": domain}], [me], version), {}
        yield mapping([user(), {"projects": [{"name": "p-{0}", "roles": [{"name": "member"}]}], "domain": domain}], [me], version), {}
    yield mapping([user(type="local", id="x{0}", email="{1}")], [me, {"type": "mail"}]), {}
    yield mapping([user()], [{"type": "absent"}]), {}
    yield mapping([user()], [{"type": "empty"}]), {}
    yield mapping([user(email="{1}")], [me]), {}
    yield mapping([user(email="{name}")], [me]), {}
    yield mapping([user(email="{0")], [me]), {}
    yield mapping([user(email="{{0}} {0[1]} {0!r}")], [me]), {}
    yield mapping([{"user": {"name": "{} {}"}}], [me, {"type": "groups"}]), {}
    yield mapping([{"user": {}}, user(), user(name="second")], [me]), {}
    yield mapping([{"groups": "{1}", "domain": domain}, user()], [me, {"type": "groups"}]), {}
    yield mapping([{"groups": "{1}"}, user()], [me, {"type": "groups"}]), {}
    yield mapping([{"groups": "{0}", "domain": domain}], [{"type": "groups"}]), {"groups": "team-names;x"}
    yield mapping([{"groups": "{0}"}], [{"type": "groups"}]), {"groups": 'JSON:{"name":"g1","domain":{"name":"d1"}};JSON:{"name":"g2","domain":{"id":"d2"}}'}
    yield mapping([{"groups": "{0}"}], [{"type": "groups"}]), {"groups": 'JSON:{"name":"g1","domain":{"name":"d1"}}'}
    yield mapping([{"groups": "{0}"}], [{"type": "groups"}]), {"groups": 'JSON:{"name":"g1"}'}
    yield mapping([{"groups": "{0}"}], [{"type": "groups"}]), {"groups": "JSON:name"}
    yield mapping([{"group_ids": "{0}"}], [{"type": "groups"}]), {}
    yield mapping([{"group_ids": "{0}"}], [{"type": "one"}]), {}
    yield mapping([{"group_ids": "{0}"}], [{"type": "one"}]), {"one": "['x', 'y']"}
    yield mapping([{"group_ids": "{0}"}], [{"type": "ünï"}]), {}
    yield mapping([{"group": {"id": "{0}"}}, {"group": {"id": "fix"}}, {"group": {"id": "fix"}}], [me]), {}
    yield mapping([{"group": {"name": n, "domain": d}} for n, d in [("a", {"id": "1"}), ("b", {"id": "1"}), ("a", {"name": "2"}), ("a", {"id": "1"})]], [me]), {}
    for regex in [False, True]:
        for test in ["any_one_of", "not_any_of", "whitelist", "blacklist"]:
            for values in [["dev"], ["none"], ["^d", "s$"], [], ["d.v", "ops"], ["(?i)DEV"], ["dev\\Z"], ["o(?=p)"], [7, "dev"] if not regex else ["("]]:
                remote = [me, {"type": "groups", test: values, "regex": regex}]
                yield mapping([user(), {"groups": "{1}", "domain": domain}], remote), {}
                yield mapping([user()], remote), {}
    projects = [{"name": "a", "roles": [{"name": "r"}]}, {"name": "b", "roles": [], "domain": {"id": "own"}}]
    for version in ["2.0", "3.0"]:
        yield mapping([{**user(), "projects": projects, "domain": domain}], [me], version), {}
    both = {**user(), "projects": projects[:1], "projects_json": "{1}", "domain": domain}
    for text in [json.dumps(projects), "[]", "{}", "nonsense", '[{"name": "x"}]', "a;b", '[{"name": 1, "roles": [], "more": 2}]']:
        yield mapping([both], [me, {"type": "json"}], "3.0"), {"json": text}
    for index in ["{1}", "1", "{9}", "x", "{1} tail"]:
        yield mapping([{"projects_json": index}], [me, {"type": "json"}], "3.0"), {"json": "[]"}
    for _ in range(150):
        yield random_mapping(), random_assertion()


def random_assertion():
    return {name: ";".join(RNG.choice(["dev", "ops", "alice", "a b", "it's", '"q"', "x\\y", "[1]", "0", ""]) for _ in range(RNG.randrange(1, 4)))
            for name in RNG.sample(["REMOTE_USER", "mail", "groups", "one"], RNG.randrange(2, 5))}


def random_mapping():
    version = RNG.choice(["1.0", "2.0", "3.0"])
    rules = []
    for _ in range(RNG.randrange(1, 4)):
        remote = []
        for _ in range(RNG.randrange(1, 4)):
            requirement = {"type": RNG.choice(["REMOTE_USER", "mail", "groups", "one"])}
            test = RNG.choice([None, None, "any_one_of", "not_any_of", "whitelist", "blacklist"])
            if test:
                requirement[test] = RNG.sample(["dev", "ops", "alice", "a b", "0", "^.$", "x"], RNG.randrange(1, 4))
                if RNG.random() < 0.5:
                    requirement["regex"] = RNG.random() < 0.7
            remote.append(requirement)
        local = []
        for _ in range(RNG.randrange(1, 4)):
            t = lambda: RNG.choice(["{0}", "{1}", "{0}-{1}", "fix", "{0} {0}", "{0!r}", "{0}{1}"])
            section = {}
            if RNG.random() < 0.6:
                section["user"] = {key: t() for key in RNG.sample(["name", "id", "email"], RNG.randrange(1, 4))}
            if RNG.random() < 0.3:
                section["domain"] = {RNG.choice(["id", "name"]): t()}
            if RNG.random() < 0.3:
                section["groups"] = t()
                if RNG.random() < 0.9:
                    section["domain"] = {"id": "d"}
            if RNG.random() < 0.3:
                section["group_ids"] = t()
            if RNG.random() < 0.2:
                section["group"] = RNG.choice([{"id": t()}, {"name": t(), "domain": {"name": t()}}])
            if RNG.random() < 0.3:
                section["projects"] = [{"name": t(), "roles": [{"name": t()}]} for _ in range(RNG.randrange(3))]
            local.append(section)
        rules.append({"local": local, "remote": remote})
    return {"schema_version": version, "rules": rules}


def apply_all():
    for case, more in cases():
        assertion = {**ASSERTION, **more} if len(more) < 2 else more
        utils.validate_mapping_structure(case)
        entry = {"mapping": case, "assertion": assertion}
        try:
            processor = utils.create_attribute_mapping_rules_processor({"id": "m", **copy.deepcopy(case)})
            result = processor.process(assertion)
            names = {json.dumps(group, sort_keys=True): group for group in result["group_names"]}
            entry["result"] = {
                "user": result["user"], "projects": result["projects"],
                "group_ids": sorted(result["group_ids"], key=str), "group_names": [names[key] for key in sorted(names)],
            }
        except Exception as error:
            entry["error"] = type(error).__name__
        yield entry


def malformed():
    me = [{"type": "REMOTE_USER"}]
    yield {}
    yield {"rules": []}
    yield {"rules": "x"}
    yield {"rules": [{}]}
    yield {"rules": [{"local": [], "remote": []}]}
    yield {"rules": [{"local": {}, "remote": me}]}
    yield {"rules": [{"local": [1], "remote": [2]}]}
    yield {"rules": [{"local": [{}], "remote": me, "more": 1, "Extra": None}]}
    yield {"rules": [{"local": [], "remote": me}], "schema_version": "2.0", "anything": True}
    for section in [
        {"user": {"name": 1}}, {"user": "x"}, {"user": {"type": "robot"}}, {"user": {"nick": "x"}}, {"user": {"domain": {"x": "y"}}},
        {"user": {"domain": {"id": 1.5}}}, {"groups": ["a"]}, {"group_ids": ["a"]}, {"domain": "x"}, {"group": {}}, {"group": {"id": 1}},
        {"group": {"name": "a"}}, {"group": {"name": "a", "domain": {}}}, {"group": {"id": "1", "name": "a", "domain": {}}}, {"group": "x"},
        {"projects": {}}, {"projects": [{}]}, {"projects": [{"name": "a", "roles": [{"id": "x"}]}]}, {"projects": "{0}"},
        {"projects": [{"name": "a", "roles": [], "domain": {"name": "d"}}]}, {"projects_json": "{0}"}, {"projects_json": 1}, {"it's": '"'},
    ]:
        for version in ["1.0", "2.0", "3.0"]:
            yield {"rules": [{"local": [section], "remote": me}], "schema_version": version}
    for requirement in [
        {}, {"type": 1}, {"type": "a", "more": 1}, {"type": "a", "any_one_of": "x"}, {"type": "a", "any_one_of": [], "not_any_of": []},
        {"any_one_of": []}, {"type": "a", "regex": True}, {"type": "a", "whitelist": [], "regex": "yes"}, {"type": "a", "blacklist": [None, True]}, "x",
    ]:
        yield {"rules": [{"local": [], "remote": [requirement]}]}


def validate_all():
    for case in malformed():
        entry = {"mapping": case, "complaint": None}
        try:
            utils.validate_mapping_structure(case)
        except exception.ValidationError as error:
            entry["complaint"] = str(error)
        yield entry


vectors = {"seed": SEED, "apply": list(apply_all()), "validate": list(validate_all())}
text = json.dumps(vectors, ensure_ascii=False, separators=(",", ":")).replace('{"mapping"', '\n{"mapping"')
pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")
