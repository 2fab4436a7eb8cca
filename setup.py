"""The build hook: compile the hot floors with mypyc where that is possible.

Everything else about the package stands in pyproject.toml. A wheel gets compiled modules when mypyc and a C compiler are
there and UPSTASH_GLOBAL_PURE is not 1; otherwise, and in an editable install, it is pure Python, which runs the same.
The reason is printed and kept in build/uncompiled.txt.
"""

import glob
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMPILED = [
    "upstash_global/bytestrings.py",
    "upstash_global/floats.py",
    "upstash_global/reply.py",
    "upstash_global/engine/**/*.py",
    "upstash_global/protocol/*.py",
    "upstash_global/replication/*.py",
    "upstash_global/node/**/*.py",
    "upstash_global/server/clock.py",
    "upstash_global/server/http.py",
    "upstash_global/server/rates.py",
    "upstash_global/server/resp.py",
    "upstash_global/server/rest.py",
    "upstash_global/server/shell.py",
    "upstash_global/server/units.py",
]
# errors.py is left out because mypyc (seen in 2.4.1) frees an exception without clearing its weak references: a crash
# later. For the same reason no compiled module should define an exception that anybody holds on to.
NOT_COMPILED = [
    "__init__.py",  # they only import
    "upstash_global/replication/messages.py",  # dataclasses with slots, which mypyc does not know
    "upstash_global/replication/storage.py",  # defines exceptions, and waits for the disk anyway
]
REASON = Path("build/uncompiled.txt")
JOBS = os.cpu_count() or 1


def modules() -> list[str]:
    """The source files to compile."""
    found = sorted({path for pattern in COMPILED for path in glob.glob(pattern, recursive=True)})
    return [path for path in found if not any(path.endswith(name) for name in NOT_COMPILED)]


def extensions() -> list[Extension]:
    """What to compile; empty, with the reason told, where that cannot be."""
    if not any(command in sys.argv for command in ("bdist_wheel", "build", "build_ext")):
        return []  # an editable install runs the sources themselves
    if os.environ.get("UPSTASH_GLOBAL_PURE") == "1":
        return uncompiled("UPSTASH_GLOBAL_PURE=1")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return uncompiled(f"there is no C compiler ({compiler})")
    try:
        from mypyc.build import mypycify
    except ImportError:
        return uncompiled("mypyc is not installed")
    options = ["--config-file=pyproject.toml", "--cache-dir=build/mypy_cache"]
    try:
        made = mypycify(
            [*options, *modules()], opt_level="2", debug_level="0", multi_file=True, group_name="upstash_global"
        )
    except (Exception, SystemExit) as problem:  # mypyc exits on what it cannot compile, having printed why
        return uncompiled(f"mypyc does not accept the sources: {problem}")
    REASON.unlink(missing_ok=True)
    return [extension for extension in made if isinstance(extension, Extension)]


def uncompiled(reason: str) -> list[Extension]:
    print(f"upstash-global stays uncompiled: {reason}", file=sys.stderr)
    REASON.parent.mkdir(exist_ok=True)
    REASON.write_text(reason + "\n")
    return []


class BuildExtensions(build_ext):
    """Compiles on all cores and only what has changed; falls back to pure Python when it fails."""

    def build_extensions(self) -> None:
        compile_one = self.compiler._compile
        newest_header = max((os.path.getmtime(path) for path in glob.glob("build/*.h")), default=0.0)

        def compile_changed(target: str, source: str, *rest: Any) -> None:
            newest = max(os.path.getmtime(source), newest_header)
            if not os.path.exists(target) or os.path.getmtime(target) < newest:
                compile_one(target, source, *rest)

        with ThreadPoolExecutor(JOBS) as pool:
            self.compiler.compile = parallel(self.compiler, compile_changed, pool)
            self.parallel = JOBS
            try:
                super().build_extensions()
            except Exception as problem:
                uncompiled(f"the C compiler failed: {problem}")
                for extension in self.extensions:  # half of it would be worse than nothing
                    Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
                self.extensions = []


def parallel(compiler: Any, compile_one: Callable[..., None], pool: ThreadPoolExecutor) -> Callable[..., list[str]]:
    """A replacement of CCompiler.compile, which takes one source after the other."""

    def compile_all(
        sources: list[str],
        output_dir: str | None = None,
        macros: Any = None,
        include_dirs: Any = None,
        debug: bool = False,
        extra_preargs: Any = None,
        extra_postargs: Any = None,
        depends: Any = None,
    ) -> list[str]:
        macros, objects, extra_postargs, pp_opts, build = compiler._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs
        )
        cc_args = compiler._get_cc_args(pp_opts, debug, extra_preargs)
        tasks = [
            pool.submit(compile_one, target, *build[target], cc_args, extra_postargs, pp_opts)
            for target in objects
            if target in build
        ]
        for task in tasks:
            task.result()
        return list(objects)

    return compile_all


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
