"""What the REST API looks like, as OpenAPI 3.1: made from the command table, served on the admin port and kept in docs/.

Every command has its path form, with the arguments that it cannot do without as segments; what it may have beside them are
query parameters. The forms that hold any command (`/`, `/pipeline`, `/multi-exec`, the event streams, and a path with a body)
stand once. Answers are the same everywhere, so they are named in one place and referred to.
"""

import json
from typing import Any, Final

from upstash_global import __version__
from upstash_global.engine.facts import facts_of
from upstash_global.engine.table import INTERNAL, Row, all_rows
from upstash_global.protocol.consistency import FORMS
from upstash_global.protocol.rest import EVENTS, JSON, MAX_COMMANDS, MAX_IDEMPOTENCY_KEY, OCTETS, is_out_of_place

Plain = dict[str, Any]  # JSON

DEFAULT_URL: Final = "http://127.0.0.1:8080"

# of which requests something holds
ANY: Final = "any"
READ: Final = "a read"
WRITE: Final = "a write"
BODY: Final = "one with a body"

NODES: Final = "nodes"  # the tag of what is no command

CONSISTENCY: Final = "^(eventual|session(; scope=key)?|leader|bounded; max-staleness-ms=[0-9]{1,9})$"

# name, schema, what it does, and in which requests it has a meaning
_REQUEST_HEADERS: Final[list[tuple[str, Plain, str, str]]] = [
    ("Upstash-Encoding", {"enum": ["base64"]}, "Strings of the answer come in base64, all but the status OK.", ANY),
    (
        "Upstash-Response-Format",
        {"enum": ["json", "resp2"]},
        "resp2: the raw reply. Not together with base64, and not for /multi-exec.",
        ANY,
    ),
    ("Upstash-Sync-Token", {"type": "string"}, "From an earlier answer of any node: nothing older is read.", ANY),
    ("Upstash-Consistency", {"type": "string", "pattern": CONSISTENCY}, f"How new a read must be: {FORMS}.", ANY),
    (
        "Idempotency-Key",
        {"type": "string", "maxLength": MAX_IDEMPOTENCY_KEY, "pattern": "^[!-~]*$"},
        "A write with it runs once; a retry gets the first answer.",
        WRITE,
    ),
    ("If-Match", {"type": "string"}, "An ETag: run only if no key that it names has changed since.", WRITE),
    ("If-None-Match", {"type": "string"}, "An ETag: 304 if no key that was read has changed since.", READ),
]

# name, what it tells, and whether every answer to commands that were run has it
_ANSWER_HEADERS: Final[list[tuple[str, str, bool]]] = [
    ("upstash-sync-token", "Where the client has been now; to be sent with its next request.", True),
    ("upstash-region", "Who computed the answer.", True),
    ("upstash-position", "EPOCH-LSN, which every reply includes at least.", True),
    ("upstash-staleness-ms", "How old that state was.", True),
    ("upstash-sync-token-status", "lost-epoch: the token named a write that was lost in a forced promotion.", False),
    ("etag", "Of an answer to reads alone: the position that they were served from, signed.", False),
]

# status, what it means, of which requests, whether a command's own error may have it (raw, if that was asked for)
_REFUSALS: Final[list[tuple[int, str, str, bool]]] = [
    (400, "The command failed, or the request is malformed.", ANY, True),
    (401, "No token, or a wrong one.", ANY, False),
    (409, "The Idempotency-Key was used, and its answer was too long to be kept; not executed.", WRITE, False),
    (412, "If-Match: a key has changed since; not executed.", WRITE, False),
    (413, "The body is too large, or has too many commands.", BODY, False),
    (414, "The path and query are too long.", ANY, False),
    (422, "The Idempotency-Key was used for another request; not executed.", WRITE, False),
    (429, "Too many clients, or commands of this token; not executed.", ANY, False),
    (431, "The headers are too large.", ANY, False),
    (500, "A bug of ours; the connection ends.", ANY, False),
    (503, "No leader, too stale, loading, disk full, busy; not executed.", ANY, True),
    (504, "The write may or may not have been applied.", WRITE, True),
]
_ALL: Final = {ANY, READ, WRITE, BODY}


def description(url: str = DEFAULT_URL) -> Plain:
    """The whole document; `url` is where the API is served."""
    paths: Plain = {
        "/": {"post": _body_form()},
        "/pipeline": {"post": _batch_form("pipeline", "Several commands in order, each answered for itself.")},
        "/multi-exec": {"post": _batch_form("multi-exec", "Several commands as one transaction.")},
        "/subscribe/{channel}": _stream("subscribe", "channel", "Messages of a channel as events."),
        "/psubscribe/{pattern}": _stream("psubscribe", "pattern", "Messages of all channels that fit a pattern."),
        "/monitor": _stream("monitor", "", "Every command that the node runs."),
        "/v1/nearest": _nearest(),
        "/{command}/{argument}": _form_with_a_body(),
    }
    for row in sorted(all_rows(), key=lambda row: row.name):
        if is_sent_by_clients(row):
            path, item = _path_form(row)
            paths[path] = item
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "upstash-global",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Redis commands over HTTP, as Upstash's SDKs send them. Further arguments of a path form are further "
            "segments, or query parameters behind them: `/set/key/value?EX=10&NX`. PUT is as POST, HEAD as GET without a body.",
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}, {"parameter": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "parameter": {"type": "apiKey", "in": "query", "name": "_token"},
            },
            "parameters": _parameters(),
            "headers": {
                name: {"description": text, "required": is_always, "schema": {"type": "string"}}
                for name, text, is_always in _ANSWER_HEADERS
            },
            "schemas": _schemas(),
            "responses": _responses(),
        },
    }


def as_text(document: Plain) -> str:
    """The document as JSON, with a line for each path: a change of one command changes one line."""
    lines = [f"{json.dumps(name)}:{_compact(part)}" for name, part in document.items() if name != "paths"]
    paths = [f"{json.dumps(path)}:{_compact(item)}" for path, item in document["paths"].items()]
    lines.append('"paths":{\n' + ",\n".join(paths) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(part: Any) -> str:
    return json.dumps(part, separators=(",", ":"))


def is_sent_by_clients(row: Row) -> bool:
    """Whether a client may send it over REST as a plain command."""
    if row.flags & INTERNAL or (row.handler is None and row.session_handler is None):
        return False
    return not is_out_of_place(row.name.partition(" ")[0].encode())


# -- the forms


def _path_form(row: Row) -> tuple[str, Plain]:
    """(path, what can be done there) of one command."""
    facts = facts_of(row)
    kinds = {ANY, WRITE if row.needs_leader else READ}
    segments = _segments(row, facts.get("arguments", []))
    summary = (facts.get("summary") or row.summary).split("\n")[0].rstrip(".:") + "."
    operation: Plain = {
        "operationId": row.name.lower().replace(" ", "-"),
        "tags": [row.group],
        "summary": summary,
        "responses": _answers("Result", kinds),
    }
    parameters = [*_headers(kinds), *[segment for segment in segments if isinstance(segment, dict)]]
    if row.arity < 0:
        parameters.append(_reference("parameters", "options"))
    words = [row.name.lower().replace(" ", "/")]
    words += [segment if isinstance(segment, str) else f"{{{segment['name']}}}" for segment in segments]
    return f"/{'/'.join(words)}", {"parameters": parameters, "get": operation}


def _length(row: Row, segments: list[str | Plain]) -> int:
    return len(row.name.split(" ")) + len(segments)


def _segments(row: Row, arguments: list[Plain]) -> list[str | Plain]:
    """The arguments that a command cannot do without: fixed words, and parameters of the path."""
    segments: list[str | Plain] = []
    _add_required(segments, arguments, set())
    least = abs(row.arity)
    if _length(row, segments) < least or not row.arity_fits(_length(row, segments)):  # what is known of it does not fit
        named = [f"argument{n}" for n in range(1, least - _length(row, []) + 1)]
        keys = row.keys.find([word.encode() for word in [*row.name.split(" "), *named]])
        names = set[str]()
        segments = []
        for name in named:
            _add_parameter(
                segments, "key" if name.encode() in keys else name, {"type": "string", "minLength": 1}, names
            )
    return segments


def _add_required(segments: list[str | Plain], arguments: list[Plain], names: set[str]) -> None:
    for argument in arguments:
        if "optional" in argument.get("flags", ()):
            continue
        kind, token = argument["type"], argument.get("token")
        inner = argument.get("arguments", [])
        if token:
            segments.append(token)
        if kind == "block":
            _add_required(segments, inner, names)
        elif kind == "oneof" and not all(each["type"] == "pure-token" for each in inner):
            _add_required(segments, inner[:1], names)
        elif kind != "pure-token":
            _add_parameter(segments, argument["name"], _schema(kind, inner), names)


def _add_parameter(segments: list[str | Plain], name: str, schema: Plain, names: set[str]) -> None:
    while name in names:
        name += "2"
    names.add(name)
    segments.append(_segment(name, schema))


def _schema(kind: str, alternatives: list[Plain]) -> Plain:
    if kind == "oneof":
        return {"enum": [each["token"] for each in alternatives]}
    if kind in ("integer", "unix-time"):
        return {"type": "integer", "format": "int64"}
    return {"type": "number"} if kind == "double" else {"type": "string", "minLength": 1}


def _segment(name: str, schema: Plain) -> Plain:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _body_form() -> Plain:
    return {
        "operationId": "command",
        "tags": ["any command"],
        "summary": "One command as JSON: its name and arguments.",
        "parameters": _headers(_ALL),
        "requestBody": _json_body("Command"),
        "responses": _answers("Result", _ALL),
    }


def _batch_form(name: str, summary: str) -> Plain:
    return {
        "operationId": name,
        "tags": ["any command"],
        "summary": summary,
        "parameters": _headers(_ALL),
        "requestBody": _json_body("Commands"),
        "responses": _answers("Results", _ALL),
    }


def _form_with_a_body() -> Plain:
    return {
        "parameters": [
            *_headers(_ALL),
            _segment("command", {"type": "string", "minLength": 1}),
            _segment("argument", {"type": "string", "minLength": 1}),
            _reference("parameters", "options"),
        ],
        "post": {
            "operationId": "command-with-body",
            "tags": ["any command"],
            "summary": "One command whose last argument, before the query parameters, is the whole body, as it comes.",
            "requestBody": {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}},
            "responses": _answers("Result", _ALL),
        },
    }


def _stream(name: str, parameter: str, summary: str) -> Plain:
    operation = {
        "tags": ["event streams"],
        "summary": summary,
        "responses": {
            "200": {
                "description": "An event for each message, a comment line every 15 s; it does not end.",
                "content": {EVENTS: {"schema": {"type": "string"}}},
            },
            **_refusals({ANY}),
        },
    }
    item: Plain = {
        "get": {"operationId": f"get-{name}", **operation},
        "post": {"operationId": name, **operation},
    }
    if parameter:
        item["parameters"] = [_segment(parameter, {"type": "string", "minLength": 1})]
    return item


def _nearest() -> Plain:
    node = {"type": "object", "required": ["name", "region", "role", "url"]}
    nodes = {"type": "array", "items": node}
    return {
        "get": {
            "operationId": "nearest",
            "tags": [NODES],
            "summary": "All nodes, the best first, as this one sees them.",
            "parameters": [
                _asked(
                    "lag",
                    {"type": "integer", "minimum": 0},
                    "How many milliseconds behind a node may be to come first.",
                ),
                _asked("region", {"type": "string"}, "Only the nodes of this region."),
            ],
            "responses": {
                "200": {
                    "description": "The nodes.",
                    "content": {
                        JSON: {"schema": {"type": "object", "required": ["nodes"], "properties": {"nodes": nodes}}}
                    },
                },
                **_refusals({ANY}),
            },
        }
    }


def _asked(name: str, schema: Plain, text: str) -> Plain:
    return {"name": name, "in": "query", "description": text, "schema": schema}


# -- what they share


def _answers(result: str, kinds: set[str]) -> Plain:
    """The responses of an operation for requests of these kinds."""
    answers = {"200": _reference("responses", result)}
    if READ in kinds:
        answers["304"] = _reference("responses", "304")
    return answers | _refusals(kinds)


def _refusals(kinds: set[str]) -> Plain:
    return {str(status): _reference("responses", str(status)) for status, _, kind, _ in _REFUSALS if kind in kinds}


def _json_body(schema: str) -> Plain:
    return {"required": True, "content": {"application/json": {"schema": _reference("schemas", schema)}}}


def _reference(kind: str, name: str) -> Plain:
    return {"$ref": f"#/components/{kind}/{name}"}


def _headers(kinds: set[str]) -> list[Plain]:
    return [_reference("parameters", name.lower()) for name, _, _, kind in _REQUEST_HEADERS if kind in kinds]


def _parameters() -> Plain:
    named: Plain = {
        name.lower(): {"name": name, "in": "header", "description": text, "schema": schema}
        for name, schema, text, _ in _REQUEST_HEADERS
    }
    named["options"] = {
        "name": "options",
        "in": "query",
        "style": "form",
        "explode": True,
        "description": "Further arguments: each name, and its value if there is a `=`.",
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    return named


def _schemas() -> Plain:
    value = _reference("schemas", "Value")
    argument = {"type": ["string", "number", "boolean"]}
    item = {"oneOf": [_reference("schemas", "Result"), _reference("schemas", "Error")]}
    return {
        "Value": {
            "description": "A reply in the shapes of RESP2.",
            "anyOf": [{"type": ["string", "integer", "null"]}, {"type": "array", "items": value}],
        },
        "Result": _object("result", value),
        "Error": _object("error", {"type": "string"}),
        "Results": {"type": "array", "items": item},
        "Command": {"type": "array", "minItems": 1, "items": argument},
        "Commands": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_COMMANDS,
            "items": _reference("schemas", "Command"),
        },
    }


def _object(name: str, schema: Plain) -> Plain:
    return {"type": "object", "required": [name], "properties": {name: schema}, "additionalProperties": False}


def _responses() -> Plain:
    told = {name: _reference("headers", name) for name, _, _ in _ANSWER_HEADERS}
    raw = {OCTETS: {"schema": {"type": "string", "format": "binary"}}}
    responses: Plain = {
        name: {
            "description": text,
            "headers": told,
            "content": {JSON: {"schema": _reference("schemas", name)}} | raw,
        }
        for name, text in (("Result", "The reply."), ("Results", "A reply or an error for each command."))
    }
    responses["304"] = {"description": "No key that was read has changed since the ETag.", "headers": told}
    for status, text, _, may_be_raw in _REFUSALS:
        refusal: Plain = {
            "description": text,
            "content": {JSON: {"schema": _reference("schemas", "Error")}} | (raw if may_be_raw else {}),
        }
        if status in (429, 503):
            refusal["headers"] = {"retry-after": {"required": True, "schema": {"type": "integer"}}}
        responses[str(status)] = refusal
    return responses
