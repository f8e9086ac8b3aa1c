"""The house plan, held: who may import whom, how long things may be, and what nobody may do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
import pytest

import astro

ROOT = Path(astro.__file__).parent

SEAMS = ("stores", "sandboxes", "executors", "agents", "models", "mcp", "a2a", "observers")
INNER = ("core", "decisions", "engine", "drawing", *SEAMS)
MAY_IMPORT = {
    "core": {"core"},
    "decisions": {"core", "decisions"},
    "engine": {"core", "decisions", "engine", "drawing"},
    "drawing": {"core", "drawing"},
    **{seam: {"core", seam} for seam in SEAMS},
    "testing": {*INNER, "setup", "testing"},
    "setup": {*INNER, "testing", "setup"},
    # Faces stand on what `setup` assembles; none of them stands on another face.
    **{face: {*INNER, "testing", "setup", face} for face in ("cli", "web", "notebook")},
    # The front door names every public part.
    "__init__": {*INNER, "setup"},
    # `python -m astro` is the command line.
    "__main__": {"cli"},
}

FILE_LINES = 400
FUNCTION_LINES = 40
LONG_FILES = {
    "core/protocols.py": "every seam in one place, mostly docstrings",
    "core/records.py": "the closed union of records, one short class each",
}
LONG_FUNCTIONS = {
    "engine/local.py:LocalEngine.__init__": "the parameter list is the list of parts",
}
CLOCKS = {
    "core/clock.py": "the home of time, ids and chance",
    "stores/sqlite/locking.py": "waits in a thread for other processes, whom no test clock moves",
    "stores/sqlite/writer.py": "bounds how long it holds the lock that other processes wait for",
}
ASYNCIO = {
    "engine/supervisor.py": "background tasks outlive the block that began them (rule 17)",
    "stores/sqlite/": "aiosqlite's futures are asyncio's; native cancellation has to be seen",
    "testing/": "simulated loops and doubles",
}
GUESTS = {
    "sandboxes/docker/supervisor.py": "sent into containers as text; it runs there and never here"
}
ENVIRONMENT = {
    "setup/settings.py": "the home of settings",
    "testing/victim.py": "a process that hashes otherwise is told so by a variable",
}
PROCESSES = {"testing/victim.py": "a process that a test means to kill"}
PRINTERS = {"cli": "a face for terminals"}
HEAVY = {"docker", "tenacity"}
DEPENDENCIES = {"aiosqlite", "anyio", "attrs", "docker", "msgspec", "tenacity", "typing_extensions"}


@attrs.frozen
class Import:
    """One import statement's target.

    Attributes:
        where: File and line.
        module: The module that is imported, dotted.
        names: What is taken from it.
        typing: Whether only type checkers see it.
        inside: Whether it stands in a function.
        guarded: Whether a missing package is turned into an error that names the remedy.
    """

    where: str
    module: str
    names: tuple[str, ...]
    typing: bool
    inside: bool
    guarded: bool


@attrs.frozen
class Module:
    """One file of the package, parsed."""

    path: str
    name: str
    tree: ast.Module
    lines: int

    @property
    def room(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def at(self, node: ast.expr | ast.stmt | ast.ExceptHandler) -> str:
        return f"{self.path}:{node.lineno}"


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        if path in GUESTS:
            continue
        dotted = "astro." + path.removesuffix(".py").replace("/", ".")
        text = file.read_text("utf-8")
        found.append(
            Module(
                path,
                dotted.removesuffix(".__init__"),
                ast.parse(text, path),
                len(text.splitlines()),
            )
        )
    return tuple(found)


def imports(module: Module) -> Iterator[Import]:
    yield from _imports(module, module.tree, typing=False, inside=False, guarded=False)


def _imports(
    module: Module, node: ast.AST, *, typing: bool, inside: bool, guarded: bool
) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(module.at(node), alias.name, (), typing, inside, guarded)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        target = "." * node.level + (node.module or "")
        yield Import(module.at(node), target, names, typing, inside, guarded)
    inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    guarded = guarded or (isinstance(node, ast.Try) and _names_the_remedy(node))
    typing = typing or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    for child in ast.iter_child_nodes(node):
        yield from _imports(module, child, typing=typing, inside=inside, guarded=guarded)


def _names_the_remedy(node: ast.Try) -> bool:
    return any(
        "ImportError" in ast.unparse(handler.type or handler)
        and any("MissingExtraError" in ast.unparse(statement) for statement in handler.body)
        for handler in node.handlers
    )


def every_import() -> Iterator[tuple[Module, Import]]:
    return ((module, one) for module in modules() for one in imports(module))


def targets(one: Import) -> set[str]:
    """Return the modules of ASTRO that an import loads, apart from their packages."""
    known = {module.name for module in modules()}
    inner = {f"{one.module}.{name}" for name in one.names} & known
    names_of_module = set(one.names) - {dotted.rpartition(".")[2] for dotted in inner}
    return inner | ({one.module} & known if names_of_module or not one.names else set())


def calls(module: Module) -> Iterator[tuple[ast.Call, str]]:
    for node in module.nodes():
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


# --- Who may import whom -----------------------------------------------------------------------


def test_every_folder_is_a_room_of_the_plan() -> None:
    assert {module.room for module in modules()} <= MAY_IMPORT.keys()


def test_rooms_import_only_the_rooms_that_the_plan_gives_them() -> None:
    offences = [
        f"{one.where} imports {target}"
        for module, one in every_import()
        for target in targets(one)
        if target != "astro" and target.split(".")[1] not in MAY_IMPORT[module.room]
    ]
    assert not offences, "\n".join(offences)


def test_rooms_import_each_other_by_their_own_names_and_never_the_front_door() -> None:
    rooms = {module.name for module in modules()}
    offences = [
        f"{one.where} imports {one.module}"
        for _, one in every_import()
        if one.module.startswith(".")
        or (one.module == "astro" and not {f"astro.{name}" for name in one.names} <= rooms)
    ]
    assert not offences, "\n".join(offences)


def test_no_module_imports_itself_through_others() -> None:
    edges = {module.name: set[str]() for module in modules()}
    for module, one in every_import():
        if not one.typing and not one.inside:
            edges[module.name] |= targets(one)
    while leaves := {name for name, needs in edges.items() if not needs & edges.keys()}:
        edges = {name: needs for name, needs in edges.items() if name not in leaves}
    assert edges == {}


def test_imports_stand_at_the_top_of_their_file() -> None:
    offences = [
        f"{one.where} imports {one.module}"
        for module, one in every_import()
        if one.inside
        and not one.guarded
        and not module.path.endswith("/plugins.py")
        and one.module.split(".")[0] not in HEAVY
    ]
    assert not offences, "\n".join(offences)


def test_the_two_heavy_packages_load_on_first_use() -> None:
    offences = [
        f"{one.where} imports {one.module}"
        for _, one in every_import()
        if one.module.split(".")[0] in HEAVY and not one.inside and not one.typing
    ]
    assert not offences, "\n".join(offences)


def test_modules_are_found_by_name_only_by_the_doors_of_packages_and_by_plugins() -> None:
    offences = [
        module.at(node)
        for module in modules()
        for node, name in calls(module)
        if name.endswith(("import_module", "__import__"))
        and not module.path.endswith(("__init__.py", "/plugins.py"))
        and module.path not in PROCESSES
    ]
    assert not offences, "\n".join(offences)


def test_packages_that_are_no_dependency_are_imported_behind_a_guard() -> None:
    import sys

    offences = [
        f"{one.where} imports {one.module}"
        for module, one in every_import()
        if (top := one.module.split(".")[0]) not in sys.stdlib_module_names | DEPENDENCIES
        and top not in ("astro", "attr")
        and not one.guarded
        and not one.typing
        and not _is_behind_a_guard(module)
    ]
    assert not offences, "\n".join(offences)


def _is_behind_a_guard(module: Module) -> bool:
    """Return whether the package's own door already fails without its extra."""
    doors = [
        other
        for other in modules()
        if other.path.endswith("__init__.py")
        and other.name != "astro"
        and module.name.startswith(f"{other.name}.")
    ]
    return any(one.guarded for door in doors for one in imports(door))


def test_nobody_imports_what_another_file_keeps_for_itself() -> None:
    offences = [
        f"{one.where} imports {name} of {one.module}"
        for _, one in every_import()
        for name in one.names
        if one.module.startswith("astro") and name.startswith("_")
    ]
    assert not offences, "\n".join(offences)


# --- How long things may be --------------------------------------------------------------------


def functions(module: Module) -> Iterator[tuple[str, int]]:
    """Yield qualified names of functions with their lines, docstring apart."""
    rest: list[tuple[str, ast.AST]] = [("", module.tree)]
    while rest:
        prefix, node = rest.pop()
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{prefix}.{child.name}".lstrip(".")
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{module.path}:{name}", _length(child)
            rest.append((name, child))


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_files_hold_one_idea() -> None:
    long = {module.path for module in modules() if module.lines > FILE_LINES}
    assert sorted(long) == sorted(LONG_FILES)


def test_functions_fit_on_a_screen() -> None:
    long = {
        name for module in modules() for name, lines in functions(module) if lines > FUNCTION_LINES
    }
    assert sorted(long) == sorted(LONG_FUNCTIONS)


# --- What is public ----------------------------------------------------------------------------


def exported(module: Module) -> list[str] | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def defined(module: Module) -> set[str]:
    """Return the public names that a module defines, type variables apart."""
    found: set[str] = set()
    for node in module.tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not _is_variable(value):
                found.add(name)
    return {name for name in found if not name.startswith("_")}


def _is_variable(value: ast.expr) -> bool:
    made = ast.unparse(value.func) if isinstance(value, ast.Call) else ""
    return made in ("TypeVar", "ParamSpec", "TypeVarTuple")


def at_hand(module: Module) -> set[str]:
    """Return every name that can be imported from a module."""
    taken = {
        name.rpartition(".")[2]
        for one in imports(module)
        if not one.inside
        for name in (one.names or (one.module,))
    }
    inner = {other.name.rpartition(".")[2] for other in modules()}
    return defined(module) | taken | (inner if module.path.endswith("__init__.py") else set())


def _rank(name: str) -> tuple[bool, bool, str]:
    """Return what puts constants first, then classes, then functions, as ruff does."""
    return (not name.isupper(), not name[:1].isupper(), name)


def with_content() -> list[Module]:
    return [
        module for module in modules() if module.room != "__main__" and len(module.tree.body) > 1
    ]


def test_every_module_says_what_is_public_in_order() -> None:
    offences = [
        module.path
        for module in with_content()
        if (names := exported(module)) is None or names != sorted(set(names), key=_rank)
    ]
    assert not offences, "\n".join(offences)


def test_every_name_that_is_defined_without_an_underscore_is_public() -> None:
    offences = [
        f"{module.path}: {name}"
        for module in with_content()
        for name in sorted(defined(module) - set(exported(module) or ()))
    ]
    assert not offences, "\n".join(offences)


def test_every_public_name_exists() -> None:
    offences = [
        f"{module.path}: {name}"
        for module in with_content()
        for name in exported(module) or ()
        if name not in at_hand(module)
    ]
    assert not offences, "\n".join(offences)


def test_the_front_door_shows_checkers_what_it_gives() -> None:
    (door,) = (module for module in modules() if module.path == "__init__.py")
    typed = {name for one in imports(door) if one.typing for name in one.names} - {"Any"}
    assert sorted(typed) == exported(door)


@pytest.mark.parametrize("name", astro.__all__)
def test_a_public_name_can_be_imported_from_the_front_door(name: str) -> None:
    assert name in dir(astro)
    assert getattr(astro, name) is vars(astro)[name]


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = astro.nothing


def test_dir_lists_the_public_names() -> None:
    assert dir(astro) == astro.__all__


def test_every_module_and_class_says_what_it_is_for() -> None:
    offences = [
        f"{module.path}: {getattr(node, 'name', 'module')}"
        for module in with_content()
        for node in module.nodes()
        if isinstance(node, (ast.Module, ast.ClassDef))
        and not getattr(node, "name", "").startswith("_")
        and ast.get_docstring(node) is None
    ]
    assert not offences, "\n".join(offences)


# --- What nobody may do ------------------------------------------------------------------------


def attributes(module: Module) -> Iterator[tuple[ast.Attribute, str]]:
    for node in module.nodes():
        if isinstance(node, ast.Attribute):
            yield node, ast.unparse(node)


CLOCK_READINGS = {
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "date.today",
    "datetime.datetime.now",
    "os.urandom",
    "random.SystemRandom",
    *(f"random.{name}" for name in ("random", "randint", "choice", "uniform", "shuffle", "seed")),
}


def test_only_the_clock_reads_time_and_draws_chance() -> None:
    read = [
        f"{module.at(node)} {name}"
        for module in modules()
        for node, name in attributes(module)
        if (name in CLOCK_READINGS or name.startswith("time.")) and module.path not in CLOCKS
    ]
    taken = [
        f"{one.where} imports {one.module}"
        for module, one in every_import()
        if (
            one.module in ("time", "secrets")
            or (one.module == "uuid" and set(one.names) != {"UUID"})
            or (one.module == "random" and one.names)
        )
        and module.path not in CLOCKS
    ]
    assert not read + taken, "\n".join(read + taken)


def test_only_settings_read_the_environment() -> None:
    offences = [
        f"{module.at(node)} {name}"
        for module in modules()
        for node, name in attributes(module)
        if name in ("os.environ", "os.getenv", "os.putenv") and module.path not in ENVIRONMENT
    ]
    assert not offences, "\n".join(offences)


def test_nothing_turns_bytes_into_code_or_starts_a_process() -> None:
    modules_nobody_needs = {
        "code",
        "dill",
        "marshal",
        "multiprocessing",
        "pickle",
        "pty",
        "runpy",
        "shelve",
        "subprocess",
    }
    taken = [
        f"{one.where} imports {one.module}"
        for _, one in every_import()
        if one.module.split(".")[0] in modules_nobody_needs
    ]
    called = [
        f"{module.at(node)} calls {name}"
        for module in modules()
        for node, name in calls(module)
        if name in ("eval", "exec", "compile", "os.system", "os.popen", "os.fork")
        or name.startswith(("os.exec", "os.spawn", "os.posix_spawn", "anyio.run_process"))
        or any(word.arg == "shell" for word in node.keywords)
        if module.path not in PROCESSES
    ]
    assert not taken + called, "\n".join(taken + called)


def test_only_faces_print() -> None:
    offences = [
        module.at(node)
        for module in modules()
        for node, name in calls(module)
        if name in ("print", "input", "breakpoint") and module.room not in PRINTERS
    ]
    assert not offences, "\n".join(offences)


def test_whoever_catches_everything_raises_it_again() -> None:
    offences = [
        module.at(node)
        for module in modules()
        for node in module.nodes()
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or "BaseException" in ast.unparse(node.type))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]
    assert not offences, "\n".join(offences)


def test_nobody_uses_asyncio_but_through_anyio() -> None:
    offences = [
        f"{one.where} imports {one.module}"
        for module, one in every_import()
        if one.module.split(".")[0] in ("asyncio", "trio")
        and not module.path.startswith(tuple(ASYNCIO))
    ]
    assert not offences, "\n".join(offences)


def test_every_ignored_type_error_names_its_code_and_its_reason() -> None:
    offences = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in ROOT.rglob("*.py")
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1)
        if "# type: ignore" in line and not _has_code_and_reason(line)
    ]
    assert not offences, "\n".join(offences)


def _has_code_and_reason(line: str) -> bool:
    ignored = line.partition("# type: ignore")[2]
    code, _, reason = ignored.partition("#")
    return code.startswith("[") and bool(reason.strip())


def test_modules_share_no_state_that_changes() -> None:
    offences = [
        f"{module.at(node)} global {', '.join(node.names)}"
        for module in modules()
        for node in module.nodes()
        if isinstance(node, ast.Global)
    ]
    assert not offences, "\n".join(offences)
