"""Syntax: one pass over the nodes of a file, without recursion, that measures and finds.

A scope is a stretch of code that is measured together: a function, or the module with the bodies
of its classes. A lambda counts for the complexity of the function around it, yet what it calls is
called later and elsewhere. Speed decides the form here: a large tree has a million nodes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from examples.audit.rules import blocks, mutable_defaults, swallows
from examples.audit.values import Finding, FunctionFacts, Kind

__all__ = ["COMPLEX", "Survey", "survey"]

COMPLEX: Final = 20
"""The complexity above which a function is a finding."""

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

# Fields that hold no code worth a visit: names, contexts, operators, annotations.
_DULL: Final = frozenset({"annotation", "ctx", "kind", "names", "op", "ops", "returns"})
_LEAVES: Final = frozenset({ast.Name, ast.Constant, ast.Pass, bool, int, str, type(None)})
_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field for field in kind._fields if field not in _DULL)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}
_BRANCHES: Final = frozenset(
    {ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp}
)


@attrs.define(kw_only=True)
class _Scope:
    """What is being measured together."""

    name: str
    node: _Function | None = None
    complexity: int = 1


@attrs.define(kw_only=True)
class _Area:
    """Code of one scope that waits for its visit.

    Attributes:
        prefix: Of the qualified names of what is defined here.
        public: Whether what is defined here can be part of the module's interface.
        method: Whether functions defined here are methods.
        waits: Whether the code runs on the event loop.
    """

    nodes: list[ast.AST]
    scope: _Scope
    prefix: str = ""
    public: bool = True
    method: bool = False
    waits: bool = False


@attrs.define
class Survey:
    """What one pass over the nodes of a file has seen.

    Attributes:
        docstrings: First and last line of each.
    """

    path: str
    classes: int = 0
    coroutines: int = 0
    documentable: int = 0
    documented: int = 0
    annotatable: int = 0
    annotated: int = 0
    functions: list[FunctionFacts] = attrs.field(factory=list)
    findings: list[Finding] = attrs.field(factory=list)
    docstrings: list[tuple[int, int]] = attrs.field(factory=list)
    _areas: list[_Area] = attrs.field(factory=list)
    _scopes: list[_Scope] = attrs.field(factory=list)
    _imported: dict[str, str] = attrs.field(factory=dict)
    _calls: list[tuple[ast.Call, str]] = attrs.field(factory=list)

    def module(self, tree: ast.Module) -> None:
        """Visit a whole file."""
        if tree.body:
            self._document(tree, public=True)
        self._areas.append(_Area(nodes=[*tree.body], scope=_Scope(name="module")))
        while self._areas:
            self._visit(self._areas.pop())
        for call, place in self._calls:
            name = blocks(call, self._imported)
            if name:
                self._find("blocking call", call.lineno, place, name)
        for scope in self._scopes:
            self._measure(scope)
        self.findings.sort(key=lambda finding: finding.line)

    def _visit(self, area: _Area) -> None:
        """Visit the code of one area; definitions inside it become areas of their own."""
        nodes, scope, calls = area.nodes, area.scope, self._calls
        while nodes:
            node = nodes.pop()
            kind = node.__class__
            if kind in _LEAVES:
                continue
            if kind in _BRANCHES:
                scope.complexity += 1
            if kind is ast.Call:
                if area.waits:
                    calls.append((node, scope.name))  # type: ignore[arg-type]  # by its class
            elif kind in _VISITS:
                nodes.extend(_VISITS[kind](self, node, area))
                continue
            for field in _FIELDS[kind]:
                value = getattr(node, field)
                if value.__class__ is list:
                    nodes.extend(value)
                elif value is not None:
                    nodes.append(value)

    # --- What deserves more than its children: each returns the nodes to visit in this area --

    def _function(self, node: _Function, area: _Area) -> Iterator[ast.AST]:
        name = area.prefix + node.name
        scope = _Scope(name=name, node=node)
        waits = isinstance(node, ast.AsyncFunctionDef)
        self._scopes.append(scope)
        self.coroutines += waits
        # Setters and overloads say again what has been documented once.
        again = any(_last(each) in _AGAIN for each in node.decorator_list)
        self._document(node, public=area.public and not again and not node.name.startswith("_"))
        self._annotate(node, method=area.method)
        for line, text in mutable_defaults(node.args):
            self._find("mutable default", line, name, text)
        self._areas.append(
            _Area(nodes=[*node.body], scope=scope, prefix=f"{name}.", public=False, waits=waits)
        )
        if not area.prefix:
            self._imported.setdefault(node.name, "")
        yield from node.decorator_list
        yield from node.args.defaults
        yield from (default for default in node.args.kw_defaults if default is not None)

    def _class(self, node: ast.ClassDef, area: _Area) -> Iterator[ast.AST]:
        self.classes += 1
        public = area.public and not node.name.startswith("_")
        self._document(node, public=public)
        self._areas.append(
            _Area(
                nodes=[*node.body],
                scope=area.scope,
                prefix=f"{area.prefix}{node.name}.",
                public=public,
                method=True,
                waits=area.waits,
            )
        )
        yield from node.decorator_list
        yield from node.bases
        yield from node.keywords

    def _lambda(self, node: ast.Lambda, area: _Area) -> Iterator[ast.AST]:
        self._areas.append(attrs.evolve(area, nodes=[node.body], waits=False))
        yield from node.args.defaults

    def _await(self, node: ast.Await, area: _Area) -> Iterator[ast.AST]:
        # What is awaited gives way, whatever it is called.
        if isinstance(node.value, ast.Call):
            yield node.value.func
            yield from node.value.args
            yield from node.value.keywords
        else:
            yield node.value

    def _handler(self, node: ast.ExceptHandler, area: _Area) -> Iterator[ast.AST]:
        idle, text = swallows(node)
        if text:
            kind: Kind = "swallowed exception" if idle else "bare except"
            self._find(kind, node.lineno, area.scope.name, text)
        yield from node.body

    def _operators(self, node: ast.BoolOp, area: _Area) -> Iterator[ast.AST]:
        area.scope.complexity += len(node.values) - 1
        yield from node.values

    def _generator(self, node: ast.comprehension, area: _Area) -> Iterator[ast.AST]:
        area.scope.complexity += 1 + len(node.ifs)
        yield node.iter
        yield from node.ifs

    def _case(self, node: ast.match_case, area: _Area) -> Iterator[ast.AST]:
        pattern = node.pattern
        anything = isinstance(pattern, ast.MatchAs) and pattern.pattern is None
        area.scope.complexity += node.guard is not None or not anything
        if node.guard is not None:
            yield node.guard
        yield from node.body

    def _import(self, node: ast.Import, area: _Area) -> Iterator[ast.AST]:
        for alias in node.names:
            head = alias.name.partition(".")[0]
            self._imported[alias.asname or head] = alias.name if alias.asname else head
        yield from ()

    def _import_from(self, node: ast.ImportFrom, area: _Area) -> Iterator[ast.AST]:
        home = "." * node.level + (node.module or "")
        for alias in node.names:
            self._imported[alias.asname or alias.name] = f"{home}.{alias.name}"
        yield from ()

    # --- What is written down ----------------------------------------------------------------

    def _find(self, kind: Kind, line: int, place: str, text: str) -> None:
        self.findings.append(Finding(kind=kind, path=self.path, line=line, place=place, text=text))

    def _document(self, node: ast.Module | ast.ClassDef | _Function, *, public: bool) -> None:
        first = node.body[0] if node.body else None
        written = (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        )
        if first is not None and written:
            self.docstrings.append((first.lineno, first.end_lineno or first.lineno))
        self.documentable += public
        self.documented += public and written

    def _annotate(self, node: _Function, *, method: bool) -> None:
        args = node.args
        placed = [*args.posonlyargs, *args.args]
        if method and placed and not any(_last(d) == "staticmethod" for d in node.decorator_list):
            placed = placed[1:]
        rest = [each for each in (args.vararg, args.kwarg) if each is not None]
        hints = [each.annotation for each in (*placed, *args.kwonlyargs, *rest)]
        if not (method and node.name in ("__init__", "__new__")):
            hints.append(node.returns)
        self.annotatable += len(hints)
        self.annotated += sum(hint is not None for hint in hints)

    def _measure(self, scope: _Scope) -> None:
        node = scope.node
        if node is None:
            return
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        self.functions.append(
            FunctionFacts(
                name=scope.name,
                path=self.path,
                line=node.lineno,
                complexity=scope.complexity,
                lines=lines,
            )
        )
        if scope.complexity > COMPLEX:
            text = f"complexity {scope.complexity}"
            self._find("complex function", node.lineno, scope.name, text)


_AGAIN: Final = frozenset({"deleter", "overload", "setter"})
# By their class, nodes are of the type that the function takes.
_VISITS: Final[Mapping[type, Callable[[Survey, Any, _Area], Iterator[ast.AST]]]] = {
    ast.AsyncFunctionDef: Survey._function,
    ast.Await: Survey._await,
    ast.BoolOp: Survey._operators,
    ast.ClassDef: Survey._class,
    ast.ExceptHandler: Survey._handler,
    ast.FunctionDef: Survey._function,
    ast.Import: Survey._import,
    ast.ImportFrom: Survey._import_from,
    ast.Lambda: Survey._lambda,
    ast.comprehension: Survey._generator,
    ast.match_case: Survey._case,
}


def _last(decorator: ast.expr) -> str:
    """Return the last part of a decorator's name."""
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    if isinstance(decorator, ast.Attribute):
        return decorator.attr
    return decorator.id if isinstance(decorator, ast.Name) else ""


def survey(tree: ast.Module, *, path: str) -> Survey:
    """Return what one pass over the nodes of a file sees."""
    seen = Survey(path)
    seen.module(tree)
    return seen
