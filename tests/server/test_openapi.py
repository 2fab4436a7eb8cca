"""The description of the REST API holds: schemathesis sends what it allows, and every answer is one that it names."""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any, Final

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import checks
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok

from tests.conftest import volume
from tests.server.serving import ADMIN_TOKEN, Served
from upstash_global.engine.table import all_rows
from upstash_global.protocol.rest import MAX_COMMANDS, Mode, Request, parse_request
from upstash_global.server.openapi import NODES, description, is_sent_by_clients

# What is not sent: streams have no end, and these two wait as long as they are asked to.
LEFT_OUT: Final = ("/subscribe/{channel}", "/psubscribe/{pattern}", "/monitor", "/wait/", "/waitaof/")
HELD: Final = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
GROUPS: Final = sorted({row.group for row in all_rows() if is_sent_by_clients(row)} | {"any command", NODES})


# A key of each type: what is sent is about these, or about none.
KEYS: Final = {
    "string": ["SET", "string", "text"],
    "number": ["SET", "number", "5"],
    "list": ["RPUSH", "list", "a", "b", "c"],
    "set": ["SADD", "set", "a", "b", "c"],
    "zset": ["ZADD", "zset", "1", "a", "2.5", "b"],
    "hash": ["HSET", "hash", "a", "1", "b", "2"],
    "stream": ["XADD", "stream", "1-1", "a", "1"],
    "geo": ["GEOADD", "geo", "13.36", "38.11", "a"],
    "json": ["JSON.SET", "json", "$", '{"a":[1,"two",null]}'],
    "missing": ["DEL", "missing"],
}
# Arguments that would seldom be right by chance.
LIKELY: Final[dict[str, list[Any]]] = {
    **dict.fromkeys(("key", "source", "destination", "destkey", "sourcekey", "newkey", "key1", "key2"), list(KEYS)),
    **dict.fromkeys(("member", "field", "element", "member1", "member2", "value"), ["a", "b", "1"]),
    **dict.fromkeys(("start", "stop", "end", "min", "max", "index", "offset", "count"), [0, 1, -1]),
    "numkeys": [1],
}


def likely(document: dict[str, Any]) -> dict[str, Any]:
    """The description with values that mean something, for parameters whose name says what they are."""
    for item in document["paths"].values():
        for parameter in item.get("parameters", ()):
            if parameter.get("name") in LIKELY:
                parameter["schema"] = {"enum": LIKELY[parameter["name"]]}
    return document


class Api:
    """A node whose API is tried by a user who may do anything but administer it."""

    def __init__(self, served: Served) -> None:
        self.url = f"http://127.0.0.1:{served.rest}"
        with served.redis() as admin:
            admin.config_set("proto-max-bulk-len", "1mb")  # or SETRANGE would make strings of half a GiB
            rights = ["~*", "&*", "+@all", "-@admin", "-@dangerous", "+sort", "+keys", "+info"]
            admin.execute_command("ACL", "SETUSER", "anybody", "on", ">secret", *rights)
            self.token = admin.execute_command("ACL", "RESTTOKEN", "anybody", "secret").decode()
        self.session = requests.Session()
        self.session.trust_env = False

    def fill(self) -> None:
        """Put something under every key, whatever the requests before have done."""
        rows = [["DEL", *KEYS], *KEYS.values()]
        self.session.post(f"{self.url}/pipeline", json=rows, headers=self.headers, timeout=60).raise_for_status()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def try_out(self, operation: Any, n_examples: int, seed: int) -> None:
        """Send so many requests that the description allows; each answer must be as it says."""

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=n_examples,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def send(case: Any) -> None:
            if case.query:
                case.query.pop("_token", None)  # made up, and it would win
            case.call_and_validate(
                base_url=self.url, session=self.session, checks=HELD, headers=self.headers, timeout=60
            )

        self.fill()
        send()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with Served(tmp_path_factory.mktemp("one")) as served:
        tried = Api(served)
        yield tried
        tried.session.close()


@pytest.fixture(scope="module")
def operations() -> dict[str, list[Any]]:
    """What the description has, by its tag."""
    schema = schemathesis.openapi.from_dict(likely(description()))
    found: dict[str, list[Any]] = {}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        found.setdefault(operation.definition.raw["tags"][0], []).append(operation)
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_every_answer_is_one_that_the_description_names(
    api: Api, operations: dict[str, list[Any]], group: str, seed: int, request: pytest.FixtureRequest
) -> None:
    n_examples = volume(request, "--examples", 2, 100)
    for operation in operations[group]:
        if not operation.path.startswith(LEFT_OUT):
            api.try_out(operation, 10 * n_examples if group == "any command" else n_examples, seed)


def change_status(document: dict[str, Any]) -> None:
    responses = document["paths"]["/get/{key}"]["get"]["responses"]
    responses["418"] = responses.pop("400")


def change_shape(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Value"] = {"type": "integer"}


def demand_header(document: dict[str, Any]) -> None:
    document["components"]["headers"]["upstash-sync-token-status"]["required"] = True


@pytest.mark.parametrize("change", [change_status, change_shape, demand_header])
def test_an_answer_that_is_not_described_would_be_seen(
    api: Api, change: Callable[[dict[str, Any]], None], seed: int
) -> None:
    document = likely(description())
    change(document)
    operation = schemathesis.openapi.from_dict(document)["/get/{key}"]["GET"]
    with pytest.raises((FailureGroup, Failure)):
        api.try_out(operation, 30, seed)


def test_the_admin_port_serves_the_description_of_its_node(served: Served) -> None:
    connection = HTTPConnection("127.0.0.1", served.admin)
    connection.request("GET", "/v1/openapi.json", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert json.load(answer) == description(f"http://127.0.0.1:{served.rest}")
    connection.close()


def test_a_path_of_the_description_is_that_command_with_enough_arguments() -> None:
    paths = description()["paths"]
    for row in all_rows():
        if not is_sent_by_clients(row):
            continue
        words = row.name.lower().replace(" ", "/")
        (path,) = [
            path
            for path, item in paths.items()
            if item.get("get", {}).get("operationId") == row.name.lower().replace(" ", "-")
        ]
        assert path == f"/{words}" or path.startswith(f"/{words}/")
        call = parse_request(Request(b"GET", path.replace("{", "").replace("}", "").encode(), {}))
        (argv,) = call.commands
        assert call.mode is Mode.SINGLE and isinstance(argv, list) and row.arity_fits(len(argv)), path
    assert paths["/pipeline"]["post"]["requestBody"]
    assert description()["components"]["schemas"]["Commands"]["maxItems"] == MAX_COMMANDS
