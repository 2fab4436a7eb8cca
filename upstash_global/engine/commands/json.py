"""JSON: documents under keys, read and changed by path, as RedisJSON 2 and Upstash have them.

Commands about one kind of value stand in jsonvalues.py, those about arrays in jsonarrays.py; how paths are answered, and
what goes first when several things are wrong, in jsontargets.py.

Where Upstash differs from RedisJSON, as its SDKs' tests show: `..` goes deepest first, and setting below a parent that is
missing is an error.
"""

from typing import Final

from upstash_global.engine.commands.jsontargets import (
    ROOT,
    changed,
    check_depth,
    document,
    no_such_path,
    one_or_all,
    path_at,
    refuse,
)
from upstash_global.engine.context import EVENT_MODULE, Context
from upstash_global.engine.numbers import INT64_MAX, INT64_MIN
from upstash_global.engine.table import DENYOOM, FIRST, READONLY, VOLATILE, WRITE, Family, Keys
from upstash_global.engine.types.json import (
    Json,
    Layout,
    Value,
    copy,
    encode,
    format,
    memory_bytes,
    number_of,
    parse,
    scalar_text,
    type_name,
)
from upstash_global.engine.types.jsonpath import NAME, Path, Place, compile_path
from upstash_global.errors import error, syntax_error, wrong_arity
from upstash_global.reply import OK, ByProtocol, Reply, Simple

command = Family("json").command

KEYS_BEFORE_PATH: Final = Keys(1, -2, 1)
TRIPLETS: Final = Keys(1, -1, 3)


# -- reads -----------------------------------------------------------------------------------------------------------


@command("JSON.DEBUG HELP", arity=2, flags=READONLY | VOLATILE)
def json_debug_help(ctx: Context, argv: list[bytes]) -> Reply:
    """Show what JSON.DEBUG can do."""
    return ["MEMORY <key> [path] - reports memory usage", "HELP                - this message"]


@command("JSON.DEBUG MEMORY", arity=-3, flags=READONLY, keys=Keys(2, 2, 1))
def json_debug_memory(ctx: Context, argv: list[bytes]) -> Reply:
    """Estimate the bytes that values take."""
    path = path_at(argv, 3)
    json = ctx.find_json(argv[2])
    if json is None:
        return 0 if path.is_legacy else []
    sizes = [memory_bytes(value) for value in path.values(json)]
    return one_or_all(path, sizes) if sizes or not path.is_legacy else refuse(no_such_path(path))


@command("JSON.GET", arity=-2, flags=READONLY, keys=FIRST)
def json_get(ctx: Context, argv: list[bytes]) -> Reply:
    """Get values as JSON text; INDENT, NEWLINE and SPACE lay it out. Several paths give an object of them."""
    layout: Layout | None = None
    at = 2
    while at < len(argv):
        option = argv[at].upper()
        if option == b"NOESCAPE":  # of RedisJSON 1; nothing is escaped that need not be
            at += 1
            continue
        if option not in _LAYOUT_OPTIONS:
            break
        if at + 1 == len(argv):
            raise wrong_arity("json.get")
        layout = layout or Layout()
        text = argv[at + 1].decode("utf-8", "surrogateescape")
        if option == b"INDENT":
            layout.indent = text
        elif option == b"NEWLINE":
            layout.newline = text
        else:
            layout.space = text
        at += 2
    paths = [compile_path(text) for text in argv[at:] or [ROOT]]
    json = ctx.find_json(argv[1])
    if json is None:
        return None
    if len(paths) == 1:
        answer = _found(paths[0], json, paths[0].is_legacy)
    else:
        is_legacy = all([path.is_legacy for path in paths])
        names = [text.decode("utf-8", "replace") for text in argv[at:]]
        answer = {names[i]: _found(paths[i], json, is_legacy) for i in range(len(paths))}
    return encode(answer) if layout is None else format(answer, layout)


_LAYOUT_OPTIONS: Final = (b"INDENT", b"NEWLINE", b"SPACE")


def _found(path: Path, json: Json, is_legacy: bool) -> Value:
    """All matches, or for a legacy answer the first; raises CommandError if that is missing."""
    values = path.values(json)
    if not is_legacy:
        return values
    return values[0] if values else refuse(no_such_path(path))


@command("JSON.MGET", arity=-3, flags=READONLY, keys=KEYS_BEFORE_PATH)
def json_mget(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the values under one path in several documents; nil for a key that holds none."""
    path = compile_path(argv[-1])
    keys = argv[1:-1]
    replies = {
        key: _at_path(ctx.find(key), path) for key in dict.fromkeys(keys)
    }  # each key once, however often it is named
    return [replies[key] for key in keys]


def _at_path(json: object, path: Path) -> bytes | None:
    if type(json) is not Json:
        return None
    values = path.values(json)
    if path.is_legacy:
        return encode(values[0]) if values else None
    return encode(values)


@command("JSON.RESP", arity=-2, flags=READONLY, keys=FIRST)
def json_resp(ctx: Context, argv: list[bytes]) -> Reply:
    """Get values in the forms of the protocol: an array begins with `[`, an object with `{`."""
    path = path_at(argv, 2)
    json = ctx.find_json(argv[1])
    if json is None:
        return None
    replies = [_in_protocol(value) for value in path.values(json)]
    return one_or_all(path, replies) if replies or not path.is_legacy else refuse(no_such_path(path))


def _in_protocol(value: Value) -> Reply:
    kind = type(value)
    if kind is dict:
        members: list[Reply] = [Simple("{")]
        for name, member in value.items():
            members.append(name)
            members.append(_in_protocol(member))
        return members
    if kind is list:
        return [Simple("["), *[_in_protocol(element) for element in value]]
    if kind is bool:
        return Simple("true" if value else "false")
    if value is None or kind is str or (kind is int and INT64_MIN <= value <= INT64_MAX):
        return value
    return scalar_text(value)


@command("JSON.TYPE", arity=-2, flags=READONLY, keys=FIRST)
def json_type(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the type of values: object, array, string, integer, number, boolean or null. RESP3 nests it once more."""
    path = path_at(argv, 2)
    json = ctx.find_json(argv[1])
    if json is None:
        return ByProtocol(None, [None])
    names: list[Reply] = [type_name(value) for value in path.values(json)]
    if path.is_legacy:
        name = names[0] if names else None
        return ByProtocol(name, [name])
    return ByProtocol(names, [names])


# -- writes ----------------------------------------------------------------------------------------------------------


@command("JSON.CLEAR", arity=-2, flags=WRITE, keys=FIRST)
def json_clear(ctx: Context, argv: list[bytes]) -> Reply:
    """Empty arrays and objects and set numbers to 0; reply with how many values changed."""
    path = path_at(argv, 2)
    json = document(ctx, argv[1])
    places = [place for place in _outermost(path.find(json)) if place.value and _is_clearable(place.value)]
    if places:
        ctx.edit_json(argv[1])
        for place in places:
            place.put({} if type(place.value) is dict else [] if type(place.value) is list else 0)
        changed(ctx, argv[1], json, b"json.clear")
    return len(places)


def _is_clearable(value: Value) -> bool:
    """Whether it is an array or an object, or a number other than 0."""
    kind = type(value)
    if kind is dict or kind is list:
        return True
    number = number_of(value)
    return number is not None and number != 0


@command("JSON.DEL", arity=-2, flags=WRITE, keys=FIRST)
def json_del(ctx: Context, argv: list[bytes]) -> Reply:
    """Delete values; reply with how many. Deleting the root deletes the key."""
    path = path_at(argv, 2)
    json = ctx.find_json(argv[1])
    if json is None:
        return 0
    if path.is_root():
        ctx.remove(argv[1])
        ctx.notify(EVENT_MODULE, b"json.del", argv[1])
        return 1
    places = _outermost(path.find(json))
    if places:
        ctx.edit_json(argv[1])
        _delete(places)
        changed(ctx, argv[1], json, b"json.del")
    return len(places)


@command("JSON.FORGET", arity=-2, flags=WRITE, keys=FIRST)
def json_forget(ctx: Context, argv: list[bytes]) -> Reply:
    """Delete values, as JSON.DEL does."""
    return json_del(ctx, argv)


def _outermost(places: list[Place]) -> list[Place]:
    """The places that are not inside of others, in their order."""
    inner: set[int] = set()  # ids of the arrays and objects inside of places met so far
    kept: set[int] = set()  # ids of places
    for place in sorted(places, key=_depth):
        if id(place.parent) not in inner:
            kept.add(id(place))
            if len(places) > 1:
                _note_containers(place.value, inner)
    return [place for place in places if id(place) in kept]


def _depth(place: Place) -> int:
    return place.depth


def _note_containers(value: Value, ids: set[int]) -> None:
    if type(value) is dict:
        ids.add(id(value))
        for member in value.values():
            _note_containers(member, ids)
    elif type(value) is list:
        ids.add(id(value))
        for element in value:
            _note_containers(element, ids)


def _delete(places: list[Place]) -> None:
    """Delete values that are not inside of each other; an array is walked once, however many it loses."""
    losses: dict[int, tuple[list[Value], set[int]]] = {}  # by the id of an array: the array, and the indexes it loses
    for place in places:
        if type(place.parent) is dict:
            del place.parent[place.key]
        else:
            loss = losses.get(id(place.parent))
            if loss is None:
                losses[id(place.parent)] = place.parent, {place.key}
            else:
                loss[1].add(place.key)
    for array, lost in losses.values():
        if len(lost) == 1:
            for index in lost:
                del array[index]
        else:
            array[:] = [array[i] for i in range(len(array)) if i not in lost]


@command("JSON.MERGE", arity=-4, flags=WRITE | DENYOOM, keys=FIRST)
def json_merge(ctx: Context, argv: list[bytes]) -> Reply:
    """Merge a value into values (RFC 7396): members are added or replaced, and deleted where the value has null."""
    if len(argv) > 4:
        raise wrong_arity("json.merge")
    path = compile_path(argv[2])
    patch = parse(argv[3])
    found = ctx.find_json(argv[1])
    json = found or Json(None)
    places = _places_to_set(path, json, found is None)
    check_depth(places, patch)
    ctx.edit_json(argv[1])
    for place in places:
        place.put(_merged(place.now(), patch))
    changed(ctx, argv[1], json, b"json.merge")
    return OK


def _merged(target: Value, patch: Value) -> Value:
    """The target with the patch merged into it, changed in place where both are objects."""
    if type(patch) is not dict:
        return copy(patch)
    if type(target) is not dict:
        target = {}
    for name, member in patch.items():
        if member is None:
            target.pop(name, None)
        else:
            target[name] = _merged(target.get(name), member)
    return target


@command("JSON.MSET", arity=-4, flags=WRITE | DENYOOM, keys=TRIPLETS)
def json_mset(ctx: Context, argv: list[bytes]) -> Reply:
    """Set values under several keys, all or none; a later one sees what an earlier one has set."""
    if len(argv) % 3 != 1:
        raise wrong_arity("json.mset")
    n_times: dict[bytes, int] = {}
    for key in argv[1::3]:
        n_times[key] = n_times.get(key, 0) + 1
    drafts: dict[
        bytes, Json
    ] = {}  # copies for keys that come several times, so that nothing changes before all is checked
    edits: list[tuple[bytes, Json, list[Place], Value]] = []
    for i in range(1, len(argv), 3):
        key = argv[i]
        path = compile_path(argv[i + 1])
        value = parse(argv[i + 2])
        found = drafts.get(key) or ctx.find_json(key)
        json = found or Json(None)
        if n_times[key] > 1 and key not in drafts:
            json = Json(copy(json.root))
        places = _places_to_set(path, json, found is None)
        check_depth(places, value)
        if n_times[key] > 1:
            _set_all(places, value)
            drafts[key] = json
        else:
            edits.append((key, json, places, value))
    for key, json, places, value in edits:
        ctx.edit_json(key)
        _set_all(places, value)
        changed(ctx, key, json, b"json.mset")
    for key, draft in drafts.items():
        json = ctx.edit_json(key)
        json.root = draft.root
        changed(ctx, key, json, b"json.mset")
    return OK


@command("JSON.SET", arity=-4, flags=WRITE | DENYOOM, keys=FIRST)
def json_set(ctx: Context, argv: list[bytes]) -> Reply:
    """Set values, or a new member of an object; nil if NX (only new) or XX (only present) forbids it."""
    only_new = only_present = False
    if len(argv) > 4:
        option = argv[4].upper()
        only_new, only_present = option == b"NX", option == b"XX"
        if len(argv) > 5 or not (only_new or only_present):
            raise syntax_error()
    path = compile_path(argv[2])
    value = parse(argv[3])
    found = ctx.find_json(argv[1])
    json = found or Json(None)
    places = _places_to_set(path, json, found is None, only_new, only_present)
    if not places:
        return None
    check_depth(places, value)
    ctx.edit_json(argv[1])
    _set_all(places, value)
    changed(ctx, argv[1], json, b"json.set")
    return OK


def _places_to_set(
    path: Path, json: Json, is_new: bool, only_new: bool = False, only_present: bool = False
) -> list[Place]:
    """Where a value is to be set: all matches, or a new member of an object; [] if NX or XX forbids it.

    Raises CommandError where there is nothing and nothing can be made; of a new document only the root can.
    """
    if is_new:
        if only_present:
            return []
        if not path.is_root():
            raise error("new objects must be created at the root")
        return path.find(json)
    places = path.find(json)
    if places:
        return [] if only_new else places
    if only_present:
        return []
    if not path.is_static():
        raise error("wrong static path")
    last = path.segments[-1].selectors[0]
    if last.kind != NAME:
        raise error("array index out of range")
    parents = path.find_parents(json)
    if not parents or type(parents[0].value) is not dict:
        raise error("missing key at non-terminal path level")
    parent = parents[0]
    return [Place(parent.value, last.name, None, parent.depth + 1)]


def _set_all(places: list[Place], value: Value) -> None:
    """Put the value into each place; each gets its own copy."""
    for i in range(len(places)):
        places[i].put(value if i == 0 else copy(value))
