"""Functions: libraries of Lua functions that FUNCTION LOAD brought, by their names.

A system table: it changes only by applied entries, so FCALL finds the same functions in every region. What a library
registered is kept beside its code, so that a snapshot is loaded without running Lua; an interpreter loads a library when one of
its functions is first called there.
"""

from typing import Any

from upstash_global.engine.scripts import sha_of
from upstash_global.errors import error


class Function:
    def __init__(self, name: bytes, description: bytes | None, flags: list[bytes]) -> None:
        self.name = name
        self.description = description
        self.flags = flags


class Library:
    def __init__(self, name: bytes, code: bytes, functions: list[Function]) -> None:
        self.name = name
        self.code = code  # as it came, with its first line
        self.sha = sha_of(code)
        self.functions = functions


class Functions:
    def __init__(self) -> None:
        self.libraries: dict[bytes, Library] = {}
        self.by_name: dict[bytes, tuple[Library, Function]] = {}  # lower case: functions are found in any

    def find(self, name: bytes) -> tuple[Library, Function] | None:
        return self.by_name.get(name.lower())

    def join(self, added: list[Library], replaces: bool) -> None:
        """Take libraries in, over those of the same names if that is wanted. Raises CommandError, and then has changed nothing."""
        names = {library.name for library in added}
        for library in added:
            if not replaces and library.name in self.libraries:
                raise error(f"Library {_shown(library.name)} already exists")
            for function in library.functions:
                found = self.find(function.name)
                if found is not None and found[0].name not in names:
                    raise error(f"Function {_shown(function.name)} already exists")
        for library in added:
            self.remove(library.name)
            self.libraries[library.name] = library
            for function in library.functions:
                self.by_name.setdefault(function.name.lower(), (library, function))

    def remove(self, name: bytes) -> bool:
        """False if there is no such library."""
        library = self.libraries.pop(name, None)
        if library is None:
            return False
        self.by_name = {key: found for key, found in self.by_name.items() if found[0] is not library}
        return True

    def flush(self) -> bool:
        """Forget all; False if there were none."""
        had_any = bool(self.libraries)
        self.libraries.clear()
        self.by_name.clear()
        return had_any

    def dump(self) -> Any:
        """Plain structures for a snapshot: [name, code, [name, description, flags] of each function] of each library."""
        return [
            [library.name, library.code, [[each.name, each.description, each.flags] for each in library.functions]]
            for library in self.libraries.values()
        ]

    def restore(self, plain: Any) -> None:
        """Take over what `dump` gave; None stands for an empty table."""
        self.flush()
        libraries = [
            Library(name, code, [Function(*each) for each in functions]) for name, code, functions in plain or []
        ]
        self.join(libraries, False)


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
