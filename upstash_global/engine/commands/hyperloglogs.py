"""HyperLogLogs: estimates of how many different elements were seen, kept in strings (see types/hyperloglog.py).

PFCOUNT of one key keeps its estimate in the string, so it may write: it runs at the leader and its effect is logged.
"""

from typing import Final

from upstash_global.engine.context import EVENT_STRING, Context
from upstash_global.engine.table import ADMIN, ALL, DENYOOM, FAST, FIRST, LEADER, READONLY, WRITE, Family, Keys
from upstash_global.engine.types import hyperloglog
from upstash_global.errors import CommandError, error
from upstash_global.reply import OK, Reply, Simple

command = Family("hyperloglog").command

_FEW: Final = 4  # elements that are looked for one by one before a copy is made


# -- reads ----------------------------------------------------------------------------------------------------------


@command("PFCOUNT", arity=-2, flags=READONLY | LEADER, keys=ALL)
def pfcount(ctx: Context, argv: list[bytes]) -> Reply:
    """Estimate how many different elements one key, or several together, have seen."""
    if len(argv) > 2:
        return _signed(hyperloglog.estimate(_merged(ctx, argv[1:])))
    key = argv[1]
    value = _find(ctx, key)
    if value is None:
        return 0
    estimate = hyperloglog.cached_estimate(value)
    if estimate < 0:
        estimate = hyperloglog.estimate(hyperloglog.unpack(value))
        edited = ctx.edit_string(key)
        hyperloglog.cache_estimate(edited, estimate)
        ctx.save(key, edited)
    return _signed(estimate)


@command("PFSELFTEST", arity=1, flags=ADMIN)
def pfselftest(ctx: Context, argv: list[bytes]) -> Reply:
    """Check that both forms of a HyperLogLog hold the same registers, and that its estimates are near."""
    sparse, dense = hyperloglog.new(), hyperloglog.new()
    hyperloglog.make_dense(dense)
    for n in range(100, 1001, 100):
        elements = [b"%d" % number for number in range(n - 99, n + 1)]
        hyperloglog.add(sparse, elements, ctx.limits.hll_sparse_max_bytes)
        hyperloglog.add(dense, elements, 0)
        registers = hyperloglog.unpack(dense)
        if registers != hyperloglog.unpack(sparse):
            raise CommandError("TESTFAILED", f"the forms differ after {n} elements")
        if abs(hyperloglog.estimate(registers) - n) > 6 * 0.0081 * n:
            raise CommandError("TESTFAILED", f"{n} elements are estimated as {hyperloglog.estimate(registers)}")
    return OK


# -- writes ---------------------------------------------------------------------------------------------------------


@command("PFADD", arity=-2, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def pfadd(ctx: Context, argv: list[bytes]) -> Reply:
    """Count elements; 1 if the estimate may have changed, or the key is new."""
    key = argv[1]
    value = _find(ctx, key)
    if value is not None and len(argv) <= 2 + _FEW and hyperloglog.knows(value, argv[2:]):
        return 0
    edited = hyperloglog.new() if value is None else bytearray(value)
    if not hyperloglog.add(edited, argv[2:], ctx.limits.hll_sparse_max_bytes) and value is not None:
        return 0
    hyperloglog.forget_estimate(edited)
    ctx.save(key, edited)
    ctx.notify(EVENT_STRING, b"pfadd", key)
    return 1


@command("PFDEBUG", arity=3, flags=WRITE | DENYOOM | ADMIN, keys=Keys(2, 2, 1))
def pfdebug(ctx: Context, argv: list[bytes]) -> Reply:
    """Look into a HyperLogLog: GETREG (which makes it dense), DECODE its runs, ENCODING; TODENSE. SIMD is accepted."""
    if argv[1].upper() == b"SIMD":
        if argv[2].upper() not in (b"ON", b"OFF"):
            raise error("Argument must be ON or OFF")
        return Simple("disabled")
    key = argv[2]
    value = _find(ctx, key)
    if value is None:
        raise error("The specified key does not exist")
    word = argv[1].upper()
    is_sparse = hyperloglog.encoding(value) == hyperloglog.SPARSE
    if word == b"ENCODING":
        return Simple("sparse" if is_sparse else "dense")
    if word == b"DECODE":
        if not is_sparse:
            raise error("HLL encoding is not sparse")
        return hyperloglog.describe_runs(value)
    if word not in (b"GETREG", b"TODENSE"):
        shown = argv[1].partition(b"\0")[0].decode("utf-8", "surrogateescape")  # printed as a C string
        raise error(f"Unknown PFDEBUG subcommand '{shown}'")
    registers = hyperloglog.unpack(value)
    if is_sparse:
        edited = bytearray(value)
        hyperloglog.make_dense(edited)
        ctx.save(key, edited)
    return list(registers) if word == b"GETREG" else int(is_sparse)


@command("PFMERGE", arity=-2, flags=WRITE | DENYOOM, keys=ALL)
def pfmerge(ctx: Context, argv: list[bytes]) -> Reply:
    """Make the first key one that has seen what all of them have; dense if one of them is."""
    target = argv[1]
    registers = _merged(ctx, argv[1:])
    is_dense = False
    for key in argv[1:]:
        source = ctx.view_string(key)
        is_dense = is_dense or (source is not None and hyperloglog.encoding(source) == hyperloglog.DENSE)
    value = ctx.view_string(target)
    edited = hyperloglog.new() if value is None else bytearray(value)
    if is_dense and hyperloglog.encoding(edited) == hyperloglog.SPARSE:
        hyperloglog.make_dense(edited)
    hyperloglog.raise_registers(edited, registers, ctx.limits.hll_sparse_max_bytes)
    hyperloglog.forget_estimate(edited)
    ctx.save(target, edited)
    ctx.notify(EVENT_STRING, b"pfadd", target)
    return OK


def _find(ctx: Context, key: bytes) -> bytes | bytearray | None:
    """The string as it stands, or None. Raises WRONGTYPE for what is no HyperLogLog."""
    value = ctx.view_string(key)
    if value is not None and not hyperloglog.is_valid(value):
        raise CommandError("WRONGTYPE", "Key is not a valid HyperLogLog string value.")
    return value


def _merged(ctx: Context, keys: list[bytes]) -> bytearray:
    registers = bytearray(hyperloglog.REGISTERS)
    for key in keys:
        value = _find(ctx, key)
        if value is not None:
            registers = hyperloglog.merge(registers, hyperloglog.unpack(value))
    return registers


def _signed(estimate: int) -> int:
    return estimate if estimate < 1 << 63 else estimate - (1 << 64)
