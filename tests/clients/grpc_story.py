"""The life of a token over gRPC, by a client that has no stubs: it asks the server for its services and messages."""

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Client:
    """Calls methods by their names, with fields by theirs."""

    def __init__(self, address: str, token: str | None):
        self._channel = grpc.insecure_channel(address)
        self._database = ProtoReflectionDescriptorDatabase(self._channel)
        self._pool = DescriptorPool(self._database)
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    def services(self) -> list[str]:
        return sorted(self._database.get_services())

    def call(self, service: str, method: str, **fields):
        found = self._pool.FindServiceByName(service).methods_by_name[method]
        request, reply = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
        send = self._channel.unary_unary(
            f"/{service}/{method}", request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )
        return send(request(**fields), metadata=self._metadata, timeout=30)

    def tokens(self, method: str, **fields):
        return self.call("tok.v1.TokenService", method, **fields)

    def refused(self, code: grpc.StatusCode, service: str, method: str, **fields) -> None:
        try:
            answer = self.call(service, method, **fields)
        except grpc.RpcError as error:
            assert error.code() == code, f"{method}: {error.code()}, not {code}: {error.details()}"
            return
        raise AssertionError(f"{method} was not refused: {answer}")


def walk(client: Client, size: int) -> list[str]:
    """The IDs of all tokens, page by page."""
    seen, cursor = [], ""
    while True:
        page = client.tokens("List", page_size=size, cursor=cursor)
        assert len(page.tokens) <= size
        seen += [token.id for token in page.tokens]
        cursor = page.next_cursor
        if not cursor:
            return seen


def story(address: str, token: str) -> None:
    client = Client(address, token)
    services = client.services()
    for expected in ("tok.v1.TokenService", "tok.v1.AuthorizationService", "grpc.health.v1.Health"):
        assert expected in services, services
    assert client.call("grpc.health.v1.Health", "Check").status == 1, "SERVING"
    assert client.call("tok.v1.IdentityService", "Whoami").user == "ann"

    made = [client.tokens("Create", name=f"job {number}", scopes=["repo:read"], expires="1h") for number in range(5)]
    first = made[0].token
    seen = walk(client, 2)
    assert sorted(seen) == sorted(set(seen)) and {one.token.id for one in made} <= set(seen)
    assert walk(client, 100) == seen

    changed = client.tokens("Modify", reference=first.id, name="job of acme", if_version=first.version).token
    assert (changed.name, changed.version > first.version) == ("job of acme", True)
    stale = {"reference": first.id, "name": "too late", "if_version": first.version}
    client.refused(grpc.StatusCode.ALREADY_EXISTS, "tok.v1.TokenService", "Modify", **stale)
    assert client.tokens("Show", reference=first.id).token.name == "job of acme"

    rotate = {"reference": first.id, "grace": "1h", "idempotency_key": "rotate-by-grpc"}
    lost, kept = client.tokens("Rotate", **rotate), client.tokens("Rotate", **rotate)
    authorization = "tok.v1.AuthorizationService"
    active = lambda text: client.call(authorization, "Introspect", token=text).active
    assert [active(text) for text in (made[0].secret, lost.secret, kept.secret)] == [True, False, True]

    client.tokens("Revoke", reference=made[1].token.id)
    assert client.call(authorization, "Introspect", token=made[1].secret).ByteSize() == 0, "inactive, and no more"
    client.refused(grpc.StatusCode.NOT_FOUND, "tok.v1.TokenService", "Show", reference="tokpat_0000")
    client.refused(grpc.StatusCode.INVALID_ARGUMENT, "tok.v1.TokenService", "Create", name="x", scopes=["repo:wrote"])
    client.refused(grpc.StatusCode.PERMISSION_DENIED, "tok.v1.IdentityService", "ListUsers")
    for nobody in (Client(address, None), Client(address, made[1].secret)):
        nobody.refused(grpc.StatusCode.UNAUTHENTICATED, "tok.v1.IdentityService", "Whoami")
