"""The pytest plugin of ASTRO: fixtures and detectors for who tests tasks, workflows and parts.

pytest loads it in every run on a machine where ASTRO is installed. So it stands outside the
package and imports nothing of it until a test asks: whatever a coverage tool counts of `astro` is
loaded after the tool has begun. `astro.testing` has what is behind the fixtures and the markers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from astro import SqliteStore
    from astro.testing.clock import VirtualClock
    from astro.testing.dying_store import DyingStore
    from astro.testing.leaks import LeakFinder, Probe
    from astro.testing.watchdog import LoopWatch

MARKERS = (
    "astro_leaks(on=True, allow=(), reason=''): fail if the test leaves tasks, threads, files, "
    "processes, containers or unheard errors behind; `allow` names kinds that it may leave",
    "astro_blocking(on=True): raise where the test blocks the event loop",
)
_FINDER = pytest.StashKey["LeakFinder"]()
_GUARDS = pytest.StashKey[ExitStack]()
_FAILED = pytest.StashKey[bool]()
_WATCHES = pytest.StashKey[list[tuple[str, "LoopWatch"]]]()


class Hooks:
    """What a `conftest.py` can add."""

    @pytest.hookspec
    def pytest_astro_leak_probes(self, config: pytest.Config) -> list[Probe]:
        """Return what else is looked at for leaks; see `astro.testing.leaks.Probe`."""
        raise NotImplementedError


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("astro_leaks", "look for leaks after every test", type="bool", default=False)
    parser.addini("astro_blocking", "let no test block its event loop", type="bool", default=False)
    parser.addini(
        "astro_loop_limit", "milliseconds for which `loop_watch` lets a loop stand", default="100"
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(Hooks)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


# --- Detectors ---------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    __tracebackhide__ = True
    if _asked(item, "astro_leaks"):
        finder = item.stash[_FINDER] = item.config.stash[_FINDER] = _new_finder(item)
        finder.__enter__()
    with ExitStack() as guards:
        problem = _guard(item, guards) if _asked(item, "astro_blocking") else None
        item.stash[_GUARDS] = guards.pop_all()
    result = yield
    if problem is not None:  # not earlier: other plugins count on the rest of the setup
        raise problem
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    __tracebackhide__ = True
    error: BaseException | None = None
    try:
        return (yield)
    except BaseException as raised:
        error = raised
        raise
    finally:
        item.stash.get(_GUARDS, ExitStack()).close()
        _judge(item, error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    if call.excinfo is not None:
        # Its frames are alive, and what they hold is no leak.
        item.stash[_FAILED] = True
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    __tracebackhide__ = True
    finder = request.config.stash.get(_FINDER, None)
    if finder is None or fixturedef.scope == "function":
        return (yield)
    # What a fixture opens for many tests is none of this one's.
    with finder.belonging_to_others():
        return (yield)


def _asked(item: pytest.Item, name: str) -> bool:
    marker = item.get_closest_marker(name)
    if marker is None:
        return bool(item.config.getini(name))
    return bool(marker.args[0] if marker.args else marker.kwargs.get("on", True))


def _guard(item: pytest.Item, guards: ExitStack) -> ImportError | None:
    """Guard a test against blocking calls, or return why that is not possible."""
    try:
        from astro.testing.blocking import forbid_blocking
    except ImportError as problem:
        return problem
    guards.enter_context(forbid_blocking(apart_from=_of_tests(item.config)))
    return None


def _new_finder(item: pytest.Item) -> LeakFinder:
    from astro.testing.leaks import find_leaks

    marker = item.get_closest_marker("astro_leaks")
    given = item.ihook.pytest_astro_leak_probes(config=item.config)
    probes = [probe for several in given for probe in several]
    return find_leaks(*probes, allow=marker.kwargs.get("allow", ()) if marker else ())


def _judge(item: pytest.Item, error: BaseException | None) -> None:
    finder = item.stash.get(_FINDER, None)
    if finder is None:
        return
    from astro.testing.leaks import LeaksError

    del item.stash[_FINDER], item.config.stash[_FINDER]
    failed = AssertionError() if item.stash.get(_FAILED, False) else None
    with suppress(LeaksError):
        finder.__exit__(None, error or failed, None)
    if finder.leaks:
        pytest.fail(f"the test has {LeaksError(finder.leaks)}", pytrace=False)


def _of_tests(config: pytest.Config) -> Callable[[str], bool]:
    """Return what tells files of tests from others: by their names, or by `testpaths`."""
    patterns = [*config.getini("python_files"), "conftest.py"]
    folders = [config.rootpath / folder for folder in config.getini("testpaths")]

    @cache
    def of_tests(path: str) -> bool:
        file = Path(path)
        named = any(fnmatch(file.name, pattern) for pattern in patterns)
        return named or any(file.is_relative_to(folder) for folder in folders)

    return of_tests


# --- Fixtures ----------------------------------------------------------------------------------


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that stands still until the test advances it."""
    from astro.testing.clock import VirtualClock

    return VirtualClock()


@pytest.fixture
async def astro_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An open store in an empty file; by the `virtual_clock` if the test has one. On asyncio."""
    from astro.stores.sqlite import SqliteStore

    with_clock = "virtual_clock" in request.fixturenames
    clock = request.getfixturevalue("virtual_clock") if with_clock else None
    async with SqliteStore(tmp_path / "astro.db", synchronous="NORMAL", clock=clock) as store:
        yield store


@pytest.fixture
def crash_at() -> Callable[..., DyingStore]:
    """`crash_at(store, commit=3)`: the same store, for an engine that dies at its third commit.

    The commit is lost, unless `applied=True`: then it is kept, and the engine never hears of it.
    """
    from astro.testing.dying_store import DyingStore

    def crash(store: Any, *, commit: int, applied: bool = False) -> DyingStore:
        return DyingStore(store, at=commit, applied=applied)

    return crash


@pytest.fixture
def no_network() -> Iterator[list[str]]:
    """Refuse the network, but this machine; the value lists what was asked for."""
    from astro.testing.network import forbid_network

    with forbid_network() as asked:
        yield asked


@pytest.fixture
async def loop_watch(request: pytest.FixtureRequest) -> AsyncIterator[LoopWatch]:
    """Watch the event loop of the test; the run's summary lists where it stood still."""
    from astro.testing.watchdog import watch_loop

    limit = timedelta(milliseconds=float(request.config.getini("astro_loop_limit")))
    with watch_loop(limit) as watch:
        request.config.stash.setdefault(_WATCHES, []).append((request.node.nodeid, watch))
        yield watch


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    still = [(name, one) for name, one in config.stash.get(_WATCHES, []) if one.longest > one.limit]
    if still:
        terminalreporter.section("event loops that stood still")
    for name, watch in still:
        terminalreporter.write_line(f"{name}: {watch.longest.total_seconds() * 1000:.0f} ms")
        for stack in watch.stacks[:1]:
            terminalreporter.write_line(stack)
