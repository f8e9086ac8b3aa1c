"""The plugin, as those who test with it have it: in pytest runs of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

HEAD = """
import anyio, asyncio, os, socket, sqlite3, subprocess, sys, threading, time
from datetime import timedelta
import pytest

KEPT = []

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Return what runs pytest on a test file, in a process of its own."""

    def run(program: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=HEAD + program)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA", *options)

    return run


def test_pytest_finds_the_plugin_by_itself() -> None:
    (entry,) = entry_points(group="pytest11", name="astro")
    assert entry.value == "astro_pytest"


# --- What it costs -----------------------------------------------------------------------------


def test_the_plugin_imports_nothing_but_pytest() -> None:
    told = (
        "import sys, pytest; before = set(sys.modules); import astro_pytest; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "['astro_pytest']\n"


def test_a_run_that_asks_for_nothing_loads_nothing(run: Run) -> None:
    result = run("""
def test_nothing_of_astro_is_here(tmp_path):
    assert not [name for name in sys.modules if name.split(".")[0] == "astro"]
    assert "blockbuster" not in sys.modules

def test_a_thread_may_stay():
    threading.Thread(target=time.sleep, args=(0.1,)).start()
""")
    result.assert_outcomes(passed=2)


def test_coverage_counts_every_line_that_a_module_runs_at_its_import(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytest.importorskip("pytest_cov")
    program = """
@pytest.mark.anyio
async def test_a_store_is_opened(astro_store, virtual_clock):
    import astro.testing
    assert astro.testing.VirtualClock
"""
    run(program, "--cov=astro", "--cov-report=json", "-W", "ignore").assert_outcomes(passed=1)
    files = json.loads((pytester.path / "coverage.json").read_text())["files"]
    counted = {name.rpartition("astro/")[2]: found for name, found in files.items()}
    for name in ("testing/__init__.py", "testing/clock.py"):
        (of_module,) = (found for name_, found in counted.items() if name_ == name)
        assert of_module["functions"][""]["missing_lines"] == []


# --- Leaks -------------------------------------------------------------------------------------

LEAKING = """
async def wait_for_nothing():
    await asyncio.get_running_loop().create_future()

@pytest.mark.anyio
async def test_task():
    KEPT.append(asyncio.create_task(wait_for_nothing(), name="forgotten"))

def test_exception():
    async def fail():
        raise ValueError("unheard")
    async def main():
        lost = [asyncio.create_task(fail())]
        lost.append(lost)
        await asyncio.sleep(0)
    asyncio.run(main())

def test_coroutine():
    wait_for_nothing()

def test_thread(over):
    threading.Thread(target=over.wait, name="lost").start()

def test_file(tmp_path):
    KEPT.append((tmp_path / "left.txt").open("w"))

def test_child(child):
    pass

@pytest.mark.astro_leaks(False)
def test_that_is_told_not_to_look(tmp_path):
    KEPT.append((tmp_path / "left.txt").open("w"))

@pytest.mark.astro_leaks(allow=["file descriptor"], reason="the one before is read later")
def test_that_may_leave_something(tmp_path):
    KEPT.append((tmp_path / "left.txt").open("w"))

@pytest.fixture
def over():
    over = threading.Event()
    KEPT.append(over)
    return over

@pytest.fixture
def child():
    KEPT.append(subprocess.Popen(["sleep", "60"]))

@pytest.fixture(scope="session", autouse=True)
def take_away():
    yield
    for one in KEPT:
        for end in ("close", "set", "kill", "wait"):
            if hasattr(one, end) and not (end == "wait" and isinstance(one, threading.Event)):
                getattr(one, end)()
"""


def test_each_kind_of_leak_is_an_error_of_the_test_that_has_it(run: Run) -> None:
    result = run(LEAKING, "-o", "astro_leaks=true")
    result.assert_outcomes(passed=8, errors=6, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_task*",
            "the test has left behind:",
            "*- task: forgotten: wait_for_nothing (*test_it.py:*",
            "*ERROR at teardown of test_exception*",
            "*- exception: *never retrieved, ValueError('unheard')*",
            "*ERROR at teardown of test_coroutine*",
            "*- exception: coroutine 'wait_for_nothing' was never awaited",
            "*ERROR at teardown of test_thread*",
            "*- thread: lost",
            "*ERROR at teardown of test_file*",
            "*- file descriptor: * -> */left.txt",
            "*ERROR at teardown of test_child*",
            "*- child process: * sleep 60",
        ]
    )


CLEAN = """
from astro import Context, LocalEngine, task

@task
async def double(ctx: Context, number: int) -> int:
    return 2 * number

@pytest.fixture(scope="module")
async def pool(anyio_backend):
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        await anyio.to_thread.run_sync(int)
        with socket.create_server(("127.0.0.1", 0)):
            yield
        group.cancel_scope.cancel()

@pytest.fixture(scope="session")
def child():
    with subprocess.Popen(["sleep", "60"]) as child:
        yield
        child.kill()

@pytest.mark.anyio
async def test_engine(astro_store, virtual_clock, pool):
    async with LocalEngine(double, store=astro_store) as engine:
        assert await engine.run(double, 4) == 8

def test_processes(child, capfd):
    subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
    asyncio.run(anyio.run_process([sys.executable, "-S", "-c", "pass"]))

@pytest.mark.anyio
async def test_threads(pool):
    await asyncio.to_thread(int)
    await anyio.to_thread.run_sync(int)

def test_server(tmp_path):
    async def main():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1"):
            pass
    asyncio.run(main())

@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.anyio
async def test_trio(anyio_backend):
    await anyio.to_thread.run_sync(int)

@pytest.mark.xfail(strict=True)
def test_that_fails_holds_what_it_held(tmp_path):
    held = (tmp_path / "held.txt").open("w")
    KEPT.append(held)
    raise ValueError

def test_skipped():
    pytest.skip()
"""


def test_clean_tests_pass(run: Run) -> None:
    result = run(CLEAN, "-o", "astro_leaks=true", "-W", "ignore::ResourceWarning")
    result.assert_outcomes(passed=5, xfailed=1, skipped=1)


def test_a_marker_is_enough_and_a_conftest_can_add_a_probe(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
BOXES = {1: "old"}

class Boxes:
    kind = "box"
    def look(self):
        return dict(BOXES)

def pytest_astro_leak_probes(config):
    return [Boxes()]
""")
    result = run("""
from conftest import BOXES

@pytest.mark.astro_leaks
def test_marked():
    BOXES[2] = "new"

def test_unmarked():
    BOXES[3] = "another"
""")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["the test has left behind:", "*- box: new"])


# --- Blocking ----------------------------------------------------------------------------------

BLOCKING = """
import logging, os, pathlib
import shop
from astro import Context, LocalEngine, MemoryStore, task

pytestmark = pytest.mark.anyio

async def test_sleep():
    await shop.nap()

async def test_database(tmp_path):
    await shop.remember(tmp_path / "shop.db")

async def test_file():
    await shop.read(__file__)

async def test_process():
    await shop.start()

async def test_child():
    await shop.wait_for(os.posix_spawn("/bin/true", ["true"], {}))

async def test_shell():
    await shop.command()

@task
async def tired(ctx: Context) -> None:
    time.sleep(0.001)

async def test_task_of_a_test_file():
    async with LocalEngine(tired, store=MemoryStore()) as engine:
        await engine.run(tired)

# --- from here on, all may

@task
async def tireless(ctx: Context, number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number

async def test_engine_on_a_file(astro_store):
    async with LocalEngine(tireless, store=astro_store) as engine:
        assert await engine.run(tireless, 1) == 1
        with pytest.raises(Exception):
            await engine.run(tireless, -1)

async def test_what_is_logged(tmp_path):
    handler = logging.FileHandler(tmp_path / "shop.log")
    handler.handleError = None
    logging.getLogger("shop").addHandler(handler)
    await shop.tell()
    handler.close()

async def test_leaks_are_looked_for():
    from astro.testing import find_leaks
    async with find_leaks():
        await anyio.sleep(0)

async def test_where_we_are():
    await shop.locate()

async def test_what_a_test_does_itself(tmp_path):
    time.sleep(0.001)
    (tmp_path / "mine.txt").write_text("mine")
    assert pathlib.Path(__file__).read_text()

async def test_what_the_loop_waits_for():
    assert await shop.child() == 0
    shop.ask_for(os.posix_spawn("/bin/true", ["true"], {}))

async def test_what_a_thread_does():
    await anyio.to_thread.run_sync(shop.doze)

async def test_import():
    import shop_on_first_use

@pytest.mark.astro_blocking(False)
async def test_that_is_told_not_to_look():
    await shop.nap()

def test_without_a_loop():
    shop.doze()
"""
SHOP = """
import asyncio, logging, os, sqlite3, subprocess, sys, time

def doze():
    time.sleep(0.001)

async def nap():
    doze()

async def remember(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE things (thing)")

async def tell():
    logging.getLogger("shop").warning("sold out")

async def locate():
    return os.path.abspath("shop.db")

async def read(path):
    with open(path) as file:
        return file.read()

async def start():
    subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)

async def wait_for(child):
    os.waitpid(child, 0)

async def command():
    os.system("true")

async def child():
    process = await asyncio.create_subprocess_exec("true")
    return await process.wait()

def ask_for(child):
    while not os.waitpid(child, os.WNOHANG)[0]:
        pass
"""


def test_what_blocks_the_event_loop_is_an_error(run: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("blockbuster")
    pytester.makepyfile(shop=SHOP, shop_on_first_use="import time; time.sleep(0.001)")
    result = run(BLOCKING, "-o", "astro_blocking=true")
    result.assert_outcomes(failed=7, passed=10)
    result.stdout.fnmatch_lines(
        [
            "*_ test_sleep _*",
            "E *Blocking call to time.sleep",
            "*_ test_database _*",
            "E *Blocking call to sqlite3.Connection.execute",
            "*_ test_file _*",
            "E *Blocking call to io.*.read",
            "*_ test_process _*",
            "E *Blocking call to os.*",  # read, where it waits for the child to begin
            "*_ test_child _*",
            "E *Blocking call to os.waitpid",
            "*_ test_shell _*",
            "E *Blocking call to os.system",
            "*_ test_task_of_a_test_file _*",
            "E *Blocking call to time.sleep. *",
        ]
    )


def test_without_the_extra_the_error_names_it(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['blockbuster'] = None")
    result = run("""
@pytest.mark.astro_blocking
def test_blocking():
    pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*MissingExtraError*", "*testing*"])


# --- Fixtures ----------------------------------------------------------------------------------

FIXTURES = """
from astro import Context, LocalEngine, MemoryStore, task
from astro.testing import VirtualClock
from astro.testing.network import NetworkForbiddenError

pytestmark = pytest.mark.anyio

@task
async def draft(ctx: Context, topic: str) -> str:
    return f"About {topic}."

@task
async def article(ctx: Context, topic: str) -> str:
    return (await ctx.call(draft, topic)).upper()

def test_clock(virtual_clock):
    before = virtual_clock.now()
    virtual_clock.advance(timedelta(days=3))
    assert virtual_clock.now() - before == timedelta(days=3)

async def test_store_with_clock(astro_store, virtual_clock):
    async with LocalEngine(draft, store=astro_store, clock=virtual_clock) as engine:
        run = await engine.start(draft, "tea")
        assert await run == "About tea."
        assert {record.at async for record in run} == {virtual_clock.now()}

async def test_store_of_its_own(astro_store):
    async with LocalEngine(draft, store=astro_store) as engine:
        assert not (await engine.runs()).items

@pytest.mark.parametrize("applied", [False, True])
async def test_crash(astro_store, crash_at, applied):
    dying = crash_at(astro_store, commit=2, applied=applied)
    async with LocalEngine(draft, article, store=dying, lease_for=timedelta(seconds=1)) as engine:
        await engine.options(key="tea").start(article, "tea")
        await dying.died.wait()
    async with LocalEngine(draft, article, store=astro_store) as engine:
        assert await engine.options(key="tea").run(article, "tea") == "ABOUT TEA."

def test_network(no_network):
    with pytest.raises(NetworkForbiddenError):
        socket.create_connection(("203.0.113.1", 80))
    assert no_network == ["connect(('203.0.113.1', 80))"]

def test_network_afterwards():
    assert "connect" not in vars(socket.socket)

async def test_watch(loop_watch):
    while not loop_watch.stacks:
        pass

async def test_watch_of_a_loop_that_turns(loop_watch):
    await anyio.sleep(0)
"""


def test_the_fixtures_are_at_hand(run: Run) -> None:
    result = run(FIXTURES, "-o", "astro_loop_limit=50", "-W", "error")
    result.assert_outcomes(passed=9)
    result.stdout.fnmatch_lines(
        ["*event loops that stood still*", "test_it.py::test_watch: * ms", "*while not loop_watch*"]
    )


@pytest.mark.parametrize("option", ["--fixtures", "--markers"])
def test_pytest_lists_what_there_is(pytester: pytest.Pytester, option: str) -> None:
    result = pytester.runpytest_subprocess(option)
    wanted = {
        "--fixtures": ["astro_store", "crash_at", "loop_watch", "no_network", "virtual_clock"],
        "--markers": ["@pytest.mark.astro_leaks", "@pytest.mark.astro_blocking"],
    }
    assert all(name in result.stdout.str() for name in wanted[option])
