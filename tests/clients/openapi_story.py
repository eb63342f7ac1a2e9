"""The life of a token, by a client that knows the paths, the bodies and the answers from /openapi.json alone.

Every answer is held against the document: its status, its content type, its headers and its schema.
"""

import schemathesis


class Client:
    """Calls operations by their names in the document."""

    def __init__(self, url: str, token: str | None):
        self._schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        self._operations = {
            found.ok().definition.raw["operationId"]: found.ok() for found in self._schema.get_all_operations()
        }
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, name: str, expect: int, headers=None, **parts):
        """Calls it, expects this status, and gives the response."""
        operation = self._operations[name]
        if "body" in parts:
            parts["media_type"] = next(iter(operation.definition.raw["requestBody"]["content"]))
        case = operation.Case(headers=self._headers | (headers or {}), **parts)
        response = case.call()
        assert response.status_code == expect, f"{name}: {response.status_code}, not {expect}: {response.text}"
        case.validate_response(
            response,
            checks=[
                schemathesis.checks.not_a_server_error,
                schemathesis.specs.openapi.checks.status_code_conformance,
                schemathesis.specs.openapi.checks.content_type_conformance,
                schemathesis.specs.openapi.checks.response_headers_conformance,
                schemathesis.specs.openapi.checks.response_schema_conformance,
            ],
        )
        return response


def walk(client: Client, size: int) -> list[str]:
    """The IDs of all tokens, page by page."""
    seen, query = [], {"page_size": size}
    while True:
        page = client.call("listTokens", 200, query=query).json()
        assert len(page["tokens"]) <= size
        seen += [token["id"] for token in page["tokens"]]
        if page["next_cursor"] is None:
            return seen
        query = {"page_size": size, "cursor": page["next_cursor"]}


def etag(response) -> str:
    [tag] = response.headers["etag"]
    return tag


def story(url: str, token: str) -> None:
    client = Client(url, token)
    assert client.call("whoami", 200).json()["user"] == "ann"
    scopes = [scope["scope"] for scope in client.call("listScopes", 200).json()["scopes"]]
    assert "repo:read" in scopes, scopes

    # Create, and list with paging.
    body = {"name": "CI", "scopes": ["repo:read"], "expires": "1h"}
    made = [client.call("createToken", 201, body=body | {"name": f"CI {number}"}).json() for number in range(5)]
    first = made[0]["token"]["id"]
    assert made[0]["secret"].startswith("tokpat_") and "secret" not in made[0]["token"]
    seen = walk(client, 2)
    assert sorted(seen) == sorted(set(seen)) and {one["token"]["id"] for one in made} <= set(seen)
    assert walk(client, 100) == seen

    # A retry under one key leaves one live token.
    key = {"Idempotency-Key": "create-once"}
    once = [client.call("createToken", 201, headers=key, body=body | {"name": "once"}).json() for _ in range(2)]
    states = [client.call("showToken", 200, path_parameters={"id": one["token"]["id"]}).json()["state"] for one in once]
    assert states == ["revoked", "active"], states

    # Modify under the version that was seen: a stale one changes nothing.
    shown = client.call("showToken", 200, path_parameters={"id": first})
    tag = {"If-Match": etag(shown)}
    change = {"path_parameters": {"id": first}, "body": {"name": "CI of acme"}}
    changed = client.call("modifyToken", 200, headers=tag, **change)
    assert changed.json()["name"] == "CI of acme" and etag(changed) != etag(shown)
    problem = client.call("modifyToken", 412, headers=tag, **change).json()
    assert problem["status"] == 412 and problem["code"], problem

    # Rotate, twice under one key: the successor of the lost reply is replaced.
    rotate = {"path_parameters": {"id": first}, "headers": {"Idempotency-Key": "rotate-once"}, "body": {"grace": "1h"}}
    lost = client.call("rotateToken", 201, **rotate).json()
    kept = client.call("rotateToken", 201, **rotate).json()
    assert lost["secret"] != kept["secret"]
    active = lambda text: client.call("introspect", 200, body={"token": text}).json()["active"]
    assert [active(text) for text in (made[0]["secret"], lost["secret"], kept["secret"])] == [True, False, True]

    # Revoke, and undo it, and revoke by value.
    end = {"path_parameters": {"id": made[1]["token"]["id"]}}
    assert client.call("revokeToken", 200, **end).json()["token"]["state"] == "revoked"
    assert client.call("introspect", 200, body={"token": made[1]["secret"]}).json() == {"active": False}
    assert client.call("restoreToken", 200, **end).json()["token"]["state"] == "active"
    assert active(made[1]["secret"])
    client.call("revokeSecret", 200, body={"token": made[1]["secret"]})
    assert not active(made[1]["secret"])

    # What is refused is in the document, too.
    client.call("showToken", 404, path_parameters={"id": "1b4e28ba-2fa1-4d2e-883f-0016d3cca427"})
    client.call("createToken", 400, body=body | {"scopes": ["repo:wrote"]})
    client.call("listUsers", 403)
    Client(url, None).call("whoami", 401)
    Client(url, made[1]["secret"]).call("whoami", 401)
