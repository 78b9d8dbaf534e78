"""A client of the Xinqiao gateway, made from docs/openapi.json alone. Python 3.9 or newer, nothing else.

    python3 gateway.py BASE KEY REQUESTS     exercises a sandbox; REQUESTS is its directory of request bodies
    python3 gateway.py verify SECRET         reads a webhook call as JSON from standard input and checks its signature

A bank may copy this file: `Operations`, `Client` and `verify_webhook` stand alone.
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


# Between this line and the next of its kind: what follows is written by `cargo xtask clients --write` from docs/openapi.json.
class Operations:
    """Every operation of the document, one call each."""

    def document(self):
        """
        This document: GET /openapi.json
        Gives an object.
        """
        return self._call(
            "GET",
            "/openapi.json",
        )

    def catalog(self):
        """
        What can be asked about: GET /v1/catalog
        Gives Catalog: catalog, items, policy, purposes, rules, version.
        """
        return self._call(
            "GET",
            "/v1/catalog",
        )

    def events(self, *, after=None, limit=None, wait=None, last_event_id=None):
        """
        Repairs, marks and changes of grants that this member was told of: GET /v1/events
        after (not needed): Events with a higher number.
        limit (not needed): Events on the page.
        wait (not needed): Seconds to wait for an event when there is none.
        last_event_id (not needed): Of a stream that comes back; stands before `after`. What is no number is
        400.
        Gives EventPage: events, more, next.
        """
        return self._call(
            "GET",
            "/v1/events",
            query={"after": after, "limit": limit, "wait": wait},
            headers={"Last-Event-ID": last_event_id},
        )

    def add_grant(self, *, grant):
        """
        Hand in a grant: POST /v1/grants
        grant (needed): The file of `xinqiao grant issue` in base64.
        Gives Grant: collector, id, keep_days, key_id, letter_sha256, not_after, not_before, period, purposes,
        scope, status, status_zh, subject, uses_max.
        """
        return self._call(
            "POST",
            "/v1/grants",
            body={"grant": grant},
        )

    def get_grant(self, id):
        """
        A grant handed in before: GET /v1/grants/{id}
        id (needed): Digest of the signed grant.
        Gives Grant: collector, id, keep_days, key_id, letter_sha256, not_after, not_before, period, purposes,
        scope, status, status_zh, subject, uses_max.
        """
        return self._call(
            "GET",
            f"/v1/grants/{_quoted(id)}",
        )

    def health(self):
        """
        Whether the node answers questions: GET /v1/health
        Gives Health: member, status, version.
        """
        return self._call(
            "GET",
            "/v1/health",
        )

    def list_queries(self, *, limit=None, cursor=None):
        """
        Questions asked with this key: GET /v1/queries
        limit (not needed): Rows on the page.
        cursor (not needed): `next_cursor` of the page before.
        Gives QueryPage: next_cursor, queries.
        """
        return self._call(
            "GET",
            "/v1/queries",
            query={"limit": limit, "cursor": cursor},
        )

    def ask(self, *, clerk, purpose, checks=None, deadline_ms=None, grant=None, grant_id=None, items=None, subject=None, idempotency_key=None):
        """
        Ask about a subject through the outlet: POST /v1/queries
        clerk (needed): The person who asks. The key's prefix is put before it; both together have at most 64
        characters, and stand in the access logs of every member. No control characters, none that nobody sees
        or that is unassigned or of private use, no blanks but U+0020 and U+3000, and none at either end. What
        begins as another key's prefix does is 403 `key.not-allowed`.
        purpose (needed): For what.
        checks (not needed): What is to be checked and not told: ITEM:FIELD=VALUE, ITEM:FIELD>=VALUE,
        ITEM:FIELD<=VALUE, ITEM:FIELD=LOW..HIGH, ITEM:none-since=YYYY-MM-DD, ITEM:paid=N@YYYY-MM. What can be
        checked of a field `xinqiao catalog ITEM` shows. Each different one counts against a budget per
        subject and field; one that is repeated counts once. More than 16, repeated ones too: 422
        `question.malformed`.
        deadline_ms (not needed): Time for the members to answer, in milliseconds. What has not come by then
        is `unreachable`. `10000.0` and `1e4` are the integer 10000.
        grant (not needed): The subject's grant in base64: the file of `xinqiao grant issue`.
        grant_id (not needed): Instead of `grant`: the id of one handed in before.
        items (not needed): Items and fields, each item once, at most 64 fields in all; otherwise 422
        `question.malformed`. Default: what the grant names, where nothing is to be checked.
        subject (not needed): Unified social credit code or resident number. Default: whom the grant names.
        idempotency_key (not needed): 1 to 128 visible ASCII characters. A retry with the same key and content
        is the same question: no second access entry anywhere and no second use of a grant. A complete answer
        is given again; an incomplete one is asked for again, and what members have decided is added to it,
        for a day after the deadline from those that had decided by then. With other content: 422
        `question.reused`.
        Gives Query: asked_at, clerk, complete, deadline, id, keep_until, members, purpose, question, records,
        subject.
        """
        return self._call(
            "POST",
            "/v1/queries",
            headers={"Idempotency-Key": idempotency_key},
            body={"checks": checks, "clerk": clerk, "deadline_ms": deadline_ms, "grant": grant, "grant_id": grant_id, "items": items, "purpose": purpose, "subject": subject},
        )

    def get_query(self, id):
        """
        A question asked with this key, as it stands now: GET /v1/queries/{id}
        id (needed): The question's id.
        Gives Query: asked_at, clerk, complete, deadline, id, keep_until, members, purpose, question, records,
        subject.
        """
        return self._call(
            "GET",
            f"/v1/queries/{_quoted(id)}",
        )

    def evidence(self, id):
        """
        The sealed answer as a file for `xinqiao verify`: GET /v1/queries/{id}/evidence
        id (needed): The question's id.
        Gives a file.
        """
        return self._call(
            "GET",
            f"/v1/queries/{_quoted(id)}/evidence",
            file=True,
        )


# End of what is written by `cargo xtask clients`.


def _quoted(text):
    return urllib.parse.quote(text, safe="")


def _given(words):
    return {name: value for name, value in (words or {}).items() if value is not None}


class Client(Operations):
    """One system of the bank. `authorities` is a PEM file for https with a certificate of the bank's own."""

    def __init__(self, base, key, authorities=None, timeout=60):
        self.base = base.rstrip("/")
        self.key = key
        self.timeout = timeout
        self.context = ssl.create_default_context(cafile=authorities) if base.startswith("https") else None

    def ask_surely(self, idempotency_key=None, **question):
        """Asks, and asks again while the node says when to: under one key it stays one question."""
        key = idempotency_key or str(uuid.uuid4())
        for attempt in range(4):
            try:
                return self.ask(idempotency_key=key, **question)
            except Problem as problem:
                if problem.status not in (429, 503) or problem.retry_after is None or attempt == 3:
                    raise
                time.sleep(problem.retry_after)

    def all_queries(self, limit=20):
        """Every question of this key, page after page."""
        cursor = None
        while True:
            page = self.list_queries(limit=limit, cursor=cursor)
            yield from page["queries"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

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

    def _call(self, method, path, query=None, headers=None, body=None, file=False):
        words = urllib.parse.urlencode(_given(query))
        body = None if body is None else _given(body)
        request = self._request(method, path + ("?" + words if words else ""), body, _given(headers))
        try:
            with urllib.request.urlopen(request, timeout=self.timeout, context=self.context) as response:
                return response.read() if file else json.loads(response.read())
        except urllib.error.HTTPError as error:
            after = error.headers.get("Retry-After")
            raise Problem(json.loads(error.read()), int(after) if after else None) from None

    def _request(self, method, path, body, headers):
        data = None if body is None else json.dumps(body).encode()
        head = {"Authorization": f"Bearer {self.key}", **headers}
        if data is not None:
            head["Content-Type"] = "application/json"
        return urllib.request.Request(self.base + path, data=data, method=method, headers=head)


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
    assert client.document()["info"]["title"] == "Xinqiao gateway"
    assert client.health()["status"] == "ready"

    def ask(name, **more):
        with open(f"{requests}/{name}.json", encoding="utf-8") as file:
            return client.ask_surely(**{**json.load(file), **more})

    def penalties(answer):
        return [record for record in answer["records"] if record["item"] == "CF"]

    clean = ask("clean")
    assert clean["complete"] and not penalties(clean) and len(clean["records"]) == 1, clean
    adverse = ask("adverse", idempotency_key="python-1")
    assert adverse["complete"] and len(penalties(adverse)) == 1
    assert penalties(adverse)[0]["standing"] == "active" and penalties(adverse)[0]["fields"]
    assert ask("adverse", idempotency_key="python-1") == adverse
    assert client.get_query(adverse["id"]) == adverse
    assert len(client.evidence(adverse["id"])) > 1000
    assert not penalties(ask("repaired")) and not penalties(ask("masked"))
    assert penalties(ask("disputed"))[0]["disputed"] is True
    revoked = ask("grant-revoked")
    assert all(member["outcome"] == "denied" for member in revoked["members"])
    assert {field["rule"] for member in revoked["members"] for field in member["withheld"]} == {"grant-revoked"}
    with open(f"{requests}/clean.json", encoding="utf-8") as file:
        grant = client.add_grant(grant=json.load(file)["grant"])
    assert client.get_grant(grant["id"]) == grant and grant["status"] == "active"
    assert client.ask(purpose="pre-loan", clerk="li", grant_id=grant["id"])["complete"]
    try:
        client.ask(purpose="pre-loan", clerk="li", grant_id=grant["id"], items=[{"item": "NOPE"}])
        raise AssertionError("an unknown item was asked for")
    except Problem as problem:
        assert (problem.code, problem.status) == ("item.unknown", 422)
    listed = [row["id"] for row in client.all_queries(limit=3)]
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
