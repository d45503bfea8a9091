#!/usr/bin/env python3
"""Writes vectors_ec2.json: signatures by python-keystoneclient's Ec2Signer and Keystone's S3 check.

Run with a Python that has keystone 30.0.0 and python-keystoneclient 6.0.0.
"""

import base64
import copy
import datetime
import json
import pathlib
import random

import iso8601
from keystone.api import s3tokens
from keystoneclient.contrib.ec2 import utils

SEED = 20261121
RNG = random.Random(SEED)
WORDS = ["Action", "a b", "ü", "x=y&z", "~tilde", "per%cent", "slash/", "A", "Zz", "1.5", "", "plus+", "new\nline"]


def base(version):
    params = {"Action": "DescribeInstances", "Timestamp": "2026-11-21T10:49:00Z", "AWSAccessKeyId": "access"}
    if version is not None:
        params["SignatureVersion"] = version
    return {"access": "access", "host": "cloud.example:8788", "verb": "GET", "path": "/services/Cloud", "params": params, "headers": {}}


def v4(where, agent=None):
    scope = "access/20261121/RegionOne/ec2/aws4_request"
    headers = {"Host": " cloud.example:8788 ", "X-Amz-Date": "20261121T104900Z", "Content-Type": "application/json"}
    if agent:
        headers["User-Agent"] = agent
    request = base(None)
    request["body_hash"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    if where == "header":
        names = "content-type;host;x-amz-date;absent"
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names},Signature=abc"
    else:
        del headers["X-Amz-Date"]
        request["params"].update({
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": scope, "X-Amz-Date": "20261121T104900Z",
            "X-Amz-SignedHeaders": "host",
        })
    request["headers"] = headers
    return request


def requests():
    for version in ["0", "1", "2"]:
        yield f"v{version}", base(version)
        for at in range(6):
            request = base(version)
            for _ in range(RNG.randrange(6)):
                request["params"][RNG.choice(WORDS) + str(RNG.randrange(9))] = RNG.choice(WORDS)
            request["verb"] = RNG.choice(["GET", "POST", "put"])
            request["path"] = RNG.choice(["/", "/a b", "/ü"])
            request["host"] = RNG.choice(["h", "H:1", "[::1]:80"])
            yield f"v{version} random {at}", request
    numbers = base("2")
    numbers["params"].update({"count": 7, "flag": True, "none": None})
    yield "v2 with values that are not text", numbers
    for where in ["header", "query"]:
        yield f"v4 {where}", v4(where)
        post = v4(where)
        post["verb"] = "post"
        yield f"v4 {where} post", post
        for agent in ["Boto/2.9.2 Python", "Boto/2.9.3 Python", "Boto/2.10.1", "x Boto/2.1.1"]:
            yield f"v4 {where} {agent}", v4(where, agent)
        for at in range(4):
            request = v4(where)
            for _ in range(RNG.randrange(6)):
                request["params"][RNG.choice(WORDS) + str(RNG.randrange(9))] = RNG.choice(WORDS)
            yield f"v4 {where} random {at}", request
    for name, change in {
        "another day": lambda it: it["headers"].update({"X-Amz-Date": "20261122T000000Z"}),
        "no date": lambda it: it["headers"].pop("X-Amz-Date"),
        "no body hash": lambda it: it.pop("body_hash"),
        "short scope": lambda it: it["headers"].update({"Authorization": "AWS4-HMAC-SHA256 Credential=a/20261121/R, SignedHeaders=host"}),
        "no scope": lambda it: it["headers"].update({"Authorization": "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host"}),
        "no credential": lambda it: it["headers"].update({"Authorization": "AWS4-HMAC-SHA256"}),
    }.items():
        request = v4("header")
        change(request)
        yield f"v4 with {name}", request
    yield "unknown version", base("3")
    yield "no version", base(None)
    for version, missing in [("0", "params.Action"), ("0", "params.Timestamp"), ("2", "host"), ("2", "verb"), ("2", "path")]:
        request = base(version)
        if missing.startswith("params."):
            del request["params"][missing[7:]]
        else:
            del request[missing]
        yield f"v{version} without {missing}", request


def ec2():
    for name, request in requests():
        secret = RNG.choice(["secret", "sëcret", "x" * 100])
        try:
            signature = utils.Ec2Signer(secret).generate(copy.deepcopy(request))
        except Exception:
            signature = None
        yield {"name": name, "secret": secret, "credentials": request, "signature": signature}


def s3():
    scope = "20261121/RegionOne/{}/aws4_request"
    texts = ["GET\n\n\nSat, 21 Nov 2026 10:49:00 GMT\n/bucket/ü?acl", "", "A" * 400]
    texts += [f"AWS4-HMAC-SHA256\n20261121T104900Z\n{scope.format(service)}\n{'0' * 64}" for service in ["s3", "iam", "sts", "ec2"]]
    texts += ["AWS4-HMAC-SHA256\n20261121T104900Z\n20261121/RegionOne/s3/aws4\nx", "AWS4-HMAC-SHA1\na\nb\nc", "AWS4", "AWS4-HMAC-SHA256\na\nb/c\nd"]
    for text in texts:
        signed = text.encode()
        try:
            maker = s3tokens._calculate_signature_v4 if signed[0:4] == b"AWS4" else s3tokens._calculate_signature_v1
            signature = maker(signed, "secret")
        except Exception:
            signature = None
        yield {"secret": "secret", "token": base64.urlsafe_b64encode(signed).decode(), "signature": signature}


def times():
    for text in [
        "2026-11-21T10:49:00Z", "20261121T104900Z", "2026-11-21T10:49:00", "2026-11-21 10:49", "2026-11-21T10", "2026", "2026-11", "202611",
        "20261121", "2026-11-21T10:49:00.123456789Z", "2026-11-21T10:49:00,5+01:30", "2026-11-21T10:49:00-0800", "2026-11-21T10:49:00+05",
        "2024-02-29", "2026-02-29", "2026-13-01", "2026-00-01", "2026-11-31", "2026-11-21T24:00:00Z", "2026-11-21T10:60:00Z",
        "2026-11-21T10:49:60Z", "0001-01-01", "1969-12-31T23:59:59Z", "1900-03-01", "2000-02-29T00:00:00Z", "2026-1-2", "2026-11-21T10:49:5Z",
        "", "x", "2026-11-21T", "2026-11-21T10:49:00ZZ", "2026-11-21Z", "2026-11-21T10:49:00.Z", "9999-12-31T23:59:59Z",
    ]:
        try:
            moment = iso8601.parse_date(text)
            epoch = iso8601.parse_date("1970-01-01T00:00:00Z")
            micros = (moment - epoch) // datetime.timedelta(microseconds=1)
        except iso8601.ParseError:
            micros = None
        yield {"text": text, "micros": micros}


vectors = {"seed": SEED, "ec2": list(ec2()), "s3": list(s3()), "times": list(times())}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(vectors, indent=1) + "\n")
