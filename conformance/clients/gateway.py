"""A client of the Xinqiao gateway, written from docs/openapi.json alone. Python 3.9 or newer, nothing else.

    python3 gateway.py BASE KEY REQUESTS     exercises a sandbox; REQUESTS is its directory of request bodies
    python3 gateway.py verify SECRET         reads a webhook call as JSON from standard input and checks its signature

A bank may copy this file: `Client` and `verify_webhook` stand alone.
"""

import base64
import hashlib
import hmac
import json
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid


class Problem(Exception):
    """An RFC 9457 problem. Decide by `code`; `retry_after` is in seconds, or None."""

    def __init__(self, document, retry_after):
        super().__init__(f"{document['code']}: {document['detail']}")
        self.document = document
        self.code = document["code"]
        self.status = document["status"]
        self.request_id = document["request_id"]
        self.retry_after = retry_after


class Client:
    """One system of the bank. `authorities` is a PEM file for https with a certificate of the bank's own."""

    def __init__(self, base, key, authorities=None, timeout=60):
        self.base = base.rstrip("/")
        self.key = key
        self.timeout = timeout
        self.context = ssl.create_default_context(cafile=authorities) if base.startswith("https") else None

    def ask(self, idempotency_key=None, **question):
        """Asks, and asks again while the node says when to: under one key it stays one question."""
        key = idempotency_key or str(uuid.uuid4())
        for attempt in range(4):
            try:
                return self._json("POST", "/v1/queries", question, {"Idempotency-Key": key})
            except Problem as problem:
                if problem.status != 503 or problem.retry_after is None or attempt == 3:
                    raise
                time.sleep(problem.retry_after)

    def query(self, query_id):
        return self._json("GET", f"/v1/queries/{query_id}")

    def queries(self, limit=20):
        """Every question of this key, page after page."""
        cursor = None
        while True:
            words = {"limit": limit, **({"cursor": cursor} if cursor else {})}
            page = self._json("GET", "/v1/queries?" + urllib.parse.urlencode(words))
            yield from page["queries"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def evidence(self, query_id):
        return self._send("GET", f"/v1/queries/{query_id}/evidence")[0]

    def add_grant(self, grant):
        return self._json("POST", "/v1/grants", {"grant": base64.b64encode(grant).decode()})

    def grant(self, grant_id):
        return self._json("GET", f"/v1/grants/{grant_id}")

    def events(self, after=0, limit=100, wait=0):
        words = urllib.parse.urlencode({"after": after, "limit": limit, "wait": wait})
        return self._json("GET", "/v1/events?" + words)

    def stream(self, after=0):
        """Events as they come, from server-sent events. Ends when the connection does; go on after the last number."""
        request = self._request("GET", f"/v1/events?after={after}", None, {"Accept": "text/event-stream"})
        with urllib.request.urlopen(request, timeout=self.timeout, context=self.context) as response:
            data = []
            for raw in response:
                line = raw.decode().rstrip("\n")
                if line.startswith("data: "):
                    data.append(line[6:])
                elif not line and data:
                    yield json.loads("\n".join(data))
                    data = []

    def health(self):
        return self._json("GET", "/v1/health")

    def _json(self, method, path, body=None, headers=None):
        return json.loads(self._send(method, path, body, headers)[0])

    def _request(self, method, path, body, headers):
        data = None if body is None else json.dumps(body).encode()
        head = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        if data is not None:
            head["Content-Type"] = "application/json"
        return urllib.request.Request(self.base + path, data=data, method=method, headers=head)

    def _send(self, method, path, body=None, headers=None):
        request = self._request(method, path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout, context=self.context) as response:
                return response.read(), response.headers
        except urllib.error.HTTPError as error:
            after = error.headers.get("Retry-After")
            raise Problem(json.loads(error.read()), int(after) if after else None) from None


def verify_webhook(secret, headers, body, now=None, tolerance=300):
    """The event of a webhook call whose signature holds and is not old. `headers` with lower-case names."""
    identity, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        raise ValueError("the call is old")
    key = base64.b64decode(secret[len("whsec_"):])
    tag = hmac.new(key, f"{identity}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(tag).decode()
    if not any(hmac.compare_digest(wanted, one) for one in headers["webhook-signature"].split(" ")):
        raise ValueError("the signature does not hold")
    return json.loads(body)


def exercise(base, key, requests):
    client = Client(base, key)
    assert client.health()["status"] == "ready"

    def ask(name, **more):
        with open(f"{requests}/{name}.json", encoding="utf-8") as file:
            return client.ask(**{**json.load(file), **more})

    def penalties(answer):
        return [record for record in answer["records"] if record["item"] == "CF"]

    clean = ask("clean")
    assert clean["complete"] and not penalties(clean) and len(clean["records"]) == 1, clean
    adverse = ask("adverse", idempotency_key="python-1")
    assert adverse["complete"] and len(penalties(adverse)) == 1
    assert penalties(adverse)[0]["standing"] == "active" and penalties(adverse)[0]["fields"]
    assert ask("adverse", idempotency_key="python-1") == adverse
    assert client.query(adverse["id"]) == adverse
    assert len(client.evidence(adverse["id"])) > 1000
    assert not penalties(ask("repaired")) and not penalties(ask("masked"))
    assert penalties(ask("disputed"))[0]["disputed"] is True
    revoked = ask("grant-revoked")
    assert all(member["outcome"] == "denied" for member in revoked["members"])
    assert {field["rule"] for member in revoked["members"] for field in member["withheld"]} == {"grant-revoked"}
    with open(f"{requests}/clean.json", encoding="utf-8") as file:
        grant = client.add_grant(base64.b64decode(json.load(file)["grant"]))
    assert client.grant(grant["id"]) == grant and grant["status"] == "active"
    assert client.ask(purpose="pre-loan", clerk="li", grant_id=grant["id"])["complete"]
    try:
        client.ask(purpose="pre-loan", clerk="li", grant_id=grant["id"], items=[{"item": "NOPE"}])
        raise AssertionError("an unknown item was asked for")
    except Problem as problem:
        assert (problem.code, problem.status) == ("item.unknown", 422)
    listed = [row["id"] for row in client.queries(limit=3)]
    assert adverse["id"] in listed and len(listed) == len(set(listed)) >= 7
    kinds = [event["type"] for event in client.events()["events"]]
    for kind in ("record.repaired", "record.disputed", "record.masked", "grant.revoked"):
        assert kind in kinds, kinds
    assert next(client.stream())["sequence"] == client.events(limit=1)["events"][0]["sequence"]
    print("python: ok")


if __name__ == "__main__":
    if sys.argv[1] == "verify":
        call = json.load(sys.stdin)
        print(verify_webhook(sys.argv[2], call["headers"], call["body"])["sequence"])
    else:
        exercise(*sys.argv[1:4])
