"""Several processes and one file: killed, stopped, out of disk, without permission."""
# ruff: noqa: ASYNC220, ASYNC221  (a test may block its own event loop)

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from astro.core.errors import StoreBusyError
from astro.core.protocols import RunQuery
from astro.core.records import verify
from astro.stores.sqlite import SqliteStore
from tests.stores.making import ANY, FAST, MINUTE, TENANT, new_run, progress, run_id

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import asyncio, os, resource, sys
from datetime import timedelta
from pathlib import Path
from astro.core.errors import *
from astro.stores.sqlite import SqliteStore
from tests.stores.making import *
path = Path(sys.argv[1])
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "runs.db", synchronous="NORMAL") as store:
        yield store


@contextmanager
def worker(path: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    """Start a process that commits until it is killed."""
    command = [sys.executable, "-m", "tests.stores.working", str(path), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def killed(process: subprocess.Popen[str]) -> list[str]:
    """Kill a worker and return what it had printed until then."""
    process.kill()
    assert process.stdout is not None
    return process.stdout.read().splitlines()


def run_script(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with the names of PREAMBLE."""
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )


@pytest.mark.slow
async def test_killing_writers_loses_no_acknowledged_commit(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    acknowledged: dict[str, int] = {}
    for turn in range(4):
        with worker(path, 2 * turn) as one, worker(path, 2 * turn + 1) as two:
            printed = lines_of(one, 5) + lines_of(two, 5 + 7 * turn)
            printed += killed(one) + killed(two)
        for line in printed:
            run, _, seq = line.strip().partition(" ")
            if seq:
                acknowledged[run] = max(acknowledged.get(run, 0), int(seq))
    assert len(acknowledged) == 8
    async with SqliteStore(path) as store:
        assert (await store.check()).problems == ()
        for run, least in acknowledged.items():
            entries = await store.read(TENANT, run, limit=1_000_000)
            assert len(entries) >= least
            verify(entries, tenant=TENANT, run=run)


async def test_two_processes_write_to_one_file(store: SqliteStore, tmp_path: Path) -> None:
    await store.create(TENANT, new_run(1))
    (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
    with worker(tmp_path / "runs.db", 2) as process:
        await anyio.to_thread.run_sync(lines_of, process, 1)
        for _ in range(200):
            lease = await store.commit(lease, progress(lease))
        await anyio.to_thread.run_sync(lines_of, process, 50)
    assert len(await store.read(TENANT, run_id(1))) == 201
    assert (await store.check()).problems == ()


async def test_news_of_another_process_ends_a_wait(store: SqliteStore, tmp_path: Path) -> None:
    await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    with worker(tmp_path / "runs.db", 2):
        with anyio.fail_after(20):
            await store.wait(timeout=timedelta(hours=1))
            while not (await store.runs(TENANT, RunQuery())).items:
                await store.wait(timeout=timedelta(hours=1))


async def test_rule_41_a_stopped_holder_of_the_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    hold = """
    from astro.stores.sqlite.locking import FileLock
    async def main():
        lock = FileLock(path.with_name("runs.db.lock"), timeout=MINUTE)
        lock.open()
        async with lock.held():
            print("held", flush=True)
            await asyncio.sleep(60)
    asyncio.run(main())
    """
    command = [sys.executable, "-c", PREAMBLE + textwrap.dedent(hold), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        lines_of(process, 1)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreBusyError, match=str(process.pid)):
                async with SqliteStore(path, lock_timeout=timedelta(seconds=0.2)):
                    pass
        finally:
            process.kill()
    async with SqliteStore(path) as store:
        assert await store.create(TENANT, new_run()) == run_id(1)


async def test_a_lock_that_is_held_for_a_while_is_waited_for(
    store: SqliteStore, tmp_path: Path
) -> None:
    descriptor = os.open(tmp_path / "runs.db.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    # Closing the descriptor gives the lock back.
    asyncio.get_running_loop().call_later(0.1, os.close, descriptor)
    assert await store.create(TENANT, new_run()) == run_id(1)


@pytest.mark.parametrize("open_first", [True, False])
async def test_a_process_that_does_not_close_its_store_exits_all_the_same(
    tmp_path: Path, open_first: bool
) -> None:
    script = """
    async def main():
        store = SqliteStore(path)
        await store.__aenter__()
        await store.create(TENANT, new_run())
        asyncio.ensure_future(store.wait(timeout=MINUTE))
        await asyncio.sleep(0.01)
        raise SystemExit(3)
    asyncio.run(main())
    """
    if not open_first:
        script = """
        async def main():
            asyncio.ensure_future(SqliteStore(path).__aenter__())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise SystemExit(3)
        asyncio.run(main())
        """
    done = await anyio.to_thread.run_sync(run_script, script, tmp_path / "runs.db")
    assert done.returncode == 3, done.stderr


async def test_a_file_that_may_not_grow_fails_whole_groups_and_then_recovers(
    tmp_path: Path,
) -> None:
    script = """
    async def main():
        async with SqliteStore(path, synchronous="NORMAL") as store:
            leases = []
            for number in range(20):
                await store.create(TENANT, new_run(number))
            leases = (await store.claim(FAST, offers=ANY, limit=20, duration=MINUTE)).leases
            kept = {lease.run: lease for lease in leases}
            big = '"' + "x" * 3000 + '"'
            size = path.with_name("runs.db-wal").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, -1))
            failures = 0
            while not failures:
                asked = [*kept.values()]
                done = await asyncio.gather(
                    *[store.commit(lease, progress(lease, result=big)) for lease in asked],
                    return_exceptions=True,
                )
                for outcome in done:
                    if isinstance(outcome, Exception):
                        assert isinstance(outcome, StoreUnavailableError), outcome
                        failures += 1
                    else:
                        kept[outcome.run] = outcome
            assert failures == 20, failures
            for lease in kept.values():
                assert len(await store.read(TENANT, lease.run)) == lease.seq
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
            for lease in kept.values():
                after = await store.commit(lease, progress(lease, result=big))
                assert after.seq == lease.seq + 1
            assert (await store.check()).problems == ()
        print("fine")
    asyncio.run(main())
    """
    done = await anyio.to_thread.run_sync(run_script, script, tmp_path / "runs.db")
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
async def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    script = """
    async def main():
        filler = path.with_name("filler")
        filler.write_bytes(b"x" * 100_000)
        async with SqliteStore(path) as store:
            await store.create(TENANT, new_run())
            (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
            big = '"' + "x" * 30_000 + '"'
            try:
                while True:
                    lease = await store.commit(lease, progress(lease, result=big))
            except StoreFullError:
                pass
            assert len(await store.read(TENANT, lease.run)) == lease.seq
            filler.unlink()
            lease = await store.commit(lease, progress(lease))
            assert (await store.check()).problems == ()
        print("fine")
    asyncio.run(main())
    """
    try:
        done = await anyio.to_thread.run_sync(run_script, script, disk / "runs.db")
        assert done.stdout == "fine\n", done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def test_a_file_that_may_only_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    script = """
    import tempfile
    async def main(path):
        try:
            async with SqliteStore(path) as store:
                await store.create(TENANT, new_run())
        except StoreUnavailableError as error:
            print(error.remedy)
    async def make(path):
        async with SqliteStore(path):
            pass
    folder = Path(tempfile.mkdtemp())
    asyncio.run(make(folder / "runs.db"))
    for name in folder.iterdir():
        name.chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.setuid(65534)
    asyncio.run(main(folder / "runs.db"))
    """
    done = await anyio.to_thread.run_sync(run_script, script, tmp_path)
    assert "permission" in done.stdout, done.stderr
