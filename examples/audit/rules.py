"""The rules: which pieces of syntax are findings, each decided from its own nodes alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["blocks", "dotted", "mutable_defaults", "swallows"]

_BLOCKING: Final = frozenset(
    {
        "builtins.input",
        "builtins.open",
        "io.open",
        "os.popen",
        "os.system",
        "os.wait",
        "os.waitpid",
        "psycopg2.connect",
        "pymysql.connect",
        "select.select",
        "socket.create_connection",
        "socket.getaddrinfo",
        "socket.getfqdn",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.gethostbyname_ex",
        "sqlite3.connect",
        "time.sleep",
        "urllib.request.urlopen",
        "urllib.request.urlretrieve",
    }
)
_BLOCKING_MODULES: Final = {
    "httpx": frozenset({"delete", "get", "head", "options", "patch", "post", "put", "request"}),
    "requests": frozenset({"delete", "get", "head", "options", "patch", "post", "put", "request"}),
    "shutil": frozenset(
        {"copy", "copy2", "copyfile", "copytree", "make_archive", "move", "rmtree"}
    ),
    "subprocess": frozenset(
        {"Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"}
    ),
}
_BLOCKING_METHODS: Final = frozenset({"read_bytes", "read_text", "write_bytes", "write_text"})
_BUILTINS: Final = frozenset({"input", "open"})
_BROAD: Final = frozenset({"BaseException", "Exception"})
_MUTABLE_CALLS: Final = frozenset({"bytearray", "dict", "list", "set"})
_MUTABLE: Final[Mapping[type, str]] = {
    ast.Dict: "{}",
    ast.DictComp: "{… for …}",
    ast.List: "[]",
    ast.ListComp: "[… for …]",
    ast.Set: "{…}",
    ast.SetComp: "{… for …}",
}


def dotted(node: ast.expr) -> str:
    """Return a name with its attributes, as `urllib.request.urlopen`; empty for all else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))


def blocks(call: ast.Call, imported: Mapping[str, str]) -> str:
    """Return the full name of what a call waits for without giving way; empty if it does not.

    Args:
        imported: What each name of the file stands for, as `{"sleep": "time.sleep"}`; a name
            that the file defines itself stands for nothing.
    """
    name = dotted(call.func)
    head, _, rest = name.partition(".")
    home = imported.get(head, f"builtins.{head}" if head in _BUILTINS else "")
    full = f"{home}.{rest}" if rest else home
    module, _, last = full.rpartition(".")
    if full in _BLOCKING or last in _BLOCKING_MODULES.get(module, ()):
        return full.removeprefix("builtins.")
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return f".{method}()" if method in _BLOCKING_METHODS and not home else ""


def swallows(handler: ast.ExceptHandler) -> tuple[bool, str]:
    """Return whether a broad handler does nothing, and how it reads; `(False, "")` for most.

    A bare `except:` that does something, but never raises, reads as `except:`.
    """
    caught = _broad(handler.type)
    if caught is None:
        return False, ""
    idle = [_spelling(statement) for statement in handler.body]
    if all(idle):
        last = next((word for word in reversed(idle) if word != '"..."'), "pass")
        return True, f"except{caught}: {last}"
    if handler.type is None and not any(
        isinstance(node, ast.Raise) for body in handler.body for node in ast.walk(body)
    ):
        return False, "except:"
    return False, ""


def _broad(caught: ast.expr | None) -> str | None:
    """Return how a type that catches nearly everything reads; None for a narrower one."""
    if caught is None:
        return ""
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    for name in names:
        if isinstance(name, ast.Name) and name.id in _BROAD:
            return f" {name.id}"
    return None


def _spelling(statement: ast.stmt) -> str:
    """Return how a statement that does nothing about an exception reads; empty for all others."""
    if isinstance(statement, ast.Pass):
        return "pass"
    if isinstance(statement, ast.Continue):
        return "continue"
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return "..." if statement.value.value is ... else '"..."'
    return ""


def mutable_defaults(arguments: ast.arguments) -> Iterator[tuple[int, str]]:
    """Yield line and spelling of each default that all calls of a function share, as `names=[]`."""
    placed = [*arguments.posonlyargs, *arguments.args]
    missing = len(placed) - len(arguments.defaults)
    pairs: list[tuple[ast.arg, ast.expr | None]] = [
        *zip(placed[missing:], arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    for parameter, default in pairs:
        name = dotted(default.func) if isinstance(default, ast.Call) else ""
        shown = f"{name}()" if name in _MUTABLE_CALLS else _MUTABLE.get(type(default), "")
        if default is not None and shown:
            yield default.lineno, f"{parameter.arg}={shown}"
