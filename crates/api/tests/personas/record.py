#!/usr/bin/env python3
"""Writes recorded.json: what a Keystone answers to every operation of operations.json, for every persona and target.

The Keystone must be as `keystone-manage bootstrap` leaves it, with `[oslo_policy] enforce_scope` and `enforce_new_defaults` on; one of its
own, for this leaves thousands of objects behind. `[identity] password_hash_rounds = 4` makes it quicker. What the words of operations.json
mean is told in table.rs, which does the same to Cofferdam.

    record.py http://127.0.0.1:5000/v3 PASSWORD VERSION
"""

import concurrent.futures
import http.client
import itertools
import json
import pathlib
import re
import sys
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).parent
TABLE = json.loads((HERE / "operations.json").read_text())
PASSWORD = "correct horse 1"
PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
COUNTER = itertools.count(1)
RUN = f"u{int(time.time()):x}"
THREAD = threading.local()


class Server:
    def __init__(self, url, password):
        parts = urllib.parse.urlsplit(url)
        self.address = parts.netloc
        self.prefix = parts.path.removesuffix("/v3")
        user = {"name": "admin", "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}
        self.admin = None
        self.admin = self.must("nobody", "POST", "/v3/auth/tokens", {"auth": auth})[1]["x-subject-token"]

    def ask(self, token, method, path, body=None, headers=None):
        """The status, the headers by their names in small letters, the body."""
        headers = dict(headers or {})
        if token:
            headers["X-Auth-Token"] = token
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body)
        for attempt in (1, 2):
            line = getattr(THREAD, "line", None)
            if line is None:
                line = THREAD.line = http.client.HTTPConnection(self.address, timeout=60)
            try:
                line.request(method, self.prefix + path, data, headers)
                answer = line.getresponse()
                text = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                # A line kept open was closed from over there.
                line.close()
                THREAD.line = None
                if attempt == 2:
                    raise
        try:
            shown = json.loads(text)
        except ValueError:
            shown = None
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, shown

    def must(self, who, method, path, body=None):
        token = {"admin": self.admin, "nobody": None}.get(who, who)
        status, headers, shown = self.ask(token, method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {shown}")
        return status, headers, shown


class World:
    """Names and what they stand for. What is not here is looked for in `beneath`, or made."""

    def __init__(self, server, names, fresh=(), beneath=None):
        self.server, self.names, self.fresh, self.beneath = server, names, set(fresh), beneath
        self.lock = threading.RLock()

    def value(self, name):
        if name == "unique":
            return f"{RUN}-{next(COUNTER)}"
        with self.lock:
            if name in self.names:
                return self.names[name]
            if self.beneath is not None and name not in self.fresh:
                return self.beneath.value(name)
            made = TABLE["objects"][name]
            if isinstance(made, str):
                self.names[name] = self.filled(made)
            else:
                for step in made:
                    self.do(step)
            return self.names[name]

    def filled(self, what):
        if isinstance(what, dict):
            return {key: self.filled(value) for key, value in what.items()}
        if isinstance(what, list):
            return [self.filled(value) for value in what]
        if isinstance(what, str):
            return PLACE.sub(lambda found: self.value(found[1]), what)
        return what

    def do(self, step):
        who = step.get("as", "admin")
        token = who if who in ("admin", "nobody") else self.value(who)
        method, path = step["send"].split(" ", 1)
        _, headers, shown = self.server.must(token, method, self.filled(path), self.filled(step.get("body")))
        for name, where in step.get("take", {}).items():
            if where.startswith("/"):
                found = shown
                for part in where[1:].split("/"):
                    found = found[int(part)] if isinstance(found, list) else found[part]
                self.names[name] = found
            else:
                self.names[name] = headers[where.lower()]


def login(server, user, scope):
    auth = {"identity": {"methods": ["password"], "password": {"user": {"id": user, "password": PASSWORD}}}}
    if scope:
        auth["scope"] = scope
    return server.must("nobody", "POST", "/v3/auth/tokens", {"auth": auth})[1]["x-subject-token"]


def settle(server):
    """The worlds of the targets, and each persona's token and own world."""
    domain = World(server, {}).value("domain")
    own = World(server, {"domain": domain})
    worlds = {"own": own, "any": own, "other": World(server, {"domain": World(server, {}).value("domain")})}
    worlds["absent"] = World(server, {name: "0" * 31 + "1" for name in TABLE["objects"]})
    scoped, home = (World(server, {"domain": domain}).value("project") for _ in range(2))
    people = []
    for persona in TABLE["personas"]:
        if persona["scope"] == "none":
            people.append((persona["name"], None, own))
            continue
        names = World(server, {"domain": domain, "home": home, "project": scoped if persona["scope"] == "project" else home})
        user = names.value("user")
        names.value("owner")
        scope = None
        if persona["scope"] != "unscoped":
            role = server.must("admin", "GET", f"/v3/roles?name={persona['role']}")[2]["roles"][0]["id"]
            where = {"system": "/v3/system", "domain": f"/v3/domains/{domain}", "project": f"/v3/projects/{scoped}"}[persona["scope"]]
            server.must("admin", "PUT", f"{where}/users/{user}/roles/{role}")
            scopes = {"system": {"all": True}, "domain": {"id": domain}, "project": {"id": scoped}}
            scope = {persona["scope"]: scopes[persona["scope"]]}
        people.append((persona["name"], login(server, user, scope), names))
    return worlds, people


def row(server, operation, method, target, worlds, people):
    """The statuses, in the order of the personas."""
    statuses = []
    made = {}
    for _, token, own in people:
        beneath = own if target == "self" else worlds[target]
        world = made.get(id(beneath))
        if world is None:
            there = target != "absent"
            world = made[id(beneath)] = World(server, {}, operation.get("fresh", ()) if there else (), beneath)
            for step in operation.get("before", ()) if there else ():
                world.do(step)
        path, body, headers = (world.filled(operation.get(what)) for what in ("path", "body", "headers"))
        status, _, shown = server.ask(token, method, path, body, headers)
        expected = (401, 403) if target != "absent" else (401, 403, 404)
        if (status >= 400 and status not in expected) or (status == 401) != (token is None):
            print(f"{operation['rule']} {method} {path} {target}: {status} {shown}", file=sys.stderr)
        statuses.append(status)
        if status < 300 and method not in ("GET", "HEAD"):
            del made[id(beneath)]
    return statuses


def main():
    url, password, version = sys.argv[1:4]
    server = Server(url, password)
    worlds, people = settle(server)
    rows = [
        (" ".join(filter(None, (operation["rule"], method, operation["path"], target, operation.get("case")))), operation, method, target)
        for operation in TABLE["operations"]
        for method in operation["methods"]
        for target in operation["targets"]
    ]
    answers = {}
    # The last ones end the tokens of the personas: alone, and in order.
    last = [it for it in rows if it[2] == "DELETE" and it[3] == "self" and it[1]["path"].endswith("/tokens") and "headers" not in it[1]]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tasks = {it[0]: pool.submit(row, server, *it[1:], worlds, people) for it in rows if it not in last}
        concurrent.futures.wait(tasks.values())
    failed = {name: task.exception() for name, task in tasks.items() if task.exception()}
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    answers = {name: task.result() for name, task in tasks.items() if name not in failed}
    for it in last:
        answers[it[0]] = row(server, *it[1:], worlds, people)
    lines = [f"    {json.dumps(it[0])}: {json.dumps(answers[it[0]])}" for it in rows if it[0] in answers]
    names = json.dumps([name for name, _, _ in people])
    text = f'{{\n  "keystone": "{version}",\n  "personas": {names},\n  "cells": {{\n' + ",\n".join(lines) + "\n  }\n}\n"
    (HERE / "recorded.json").write_text(text)
    print(f"{len(rows)} rows, {sum(map(len, answers.values()))} cells")


main()
