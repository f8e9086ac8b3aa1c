"""The power fails: what was acknowledged is on the disk, and nothing on it contradicts itself.

A process commits under strace. From what it wrote and synced, images are made of what a disk may
hold when the power fails at some moment, and each is opened as after a restart.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from astro.core.records import verify
from astro.stores.sqlite import SqliteStore
from tests.faults.disk import Disk, Image
from tests.faults.judging import Verdict, judge
from tests.faults.tracing import Act, record
from tests.stores.making import ANY, TENANT, new_run, progress, run_id
from tests.telling import Tell

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.usefixtures("strace")]

EMPTY = Image({}, frozenset())
LIVES, IMAGES = 4, 525  # each life begins with an image that the one before it may have left
FULLY_OPENED = 20  # one image in so many is opened by the store itself
TURNS = 20


@attrs.define
class Found:
    images: int = 0
    lost: int = 0
    corrupt: int = 0
    first: str = ""

    def add(self, verdict: Verdict) -> None:
        self.images += 1
        self.lost += bool(verdict.lost)
        self.corrupt += bool(verdict.damage)
        if (verdict.damage or verdict.lost) and not self.first:
            self.first = f"image {self.images}: {verdict}"

    def figures(self) -> dict[str, object]:
        return {"images": self.images, "lost": self.lost, "corrupt": self.corrupt}


def live(room: Path, start: Image, module: str, *args: str) -> list[Act]:
    """Let a process work on what an image holds, and return what it did."""
    folder = room / "live"
    folder.mkdir(exist_ok=True)
    start.lay_out(folder)
    return record(folder, module, str(folder / "runs.db"), *args)


def images_of(
    acts: list[Act], start: Image, count: int, chance: random.Random, *, heeds_syncs: bool = True
) -> Iterator[Image]:
    """Return what may be found if the power fails at moments between those acts."""
    disk = Disk(start, heeds_syncs=heeds_syncs)
    moments = sorted(chance.choices(range(len(acts)), k=count), reverse=True)
    for number, act in enumerate(acts):
        disk.do(act)
        while moments and moments[-1] == number:
            moments.pop()
            yield disk.fail(chance)


def verdict_on(folder: Path, image: Image) -> Verdict:
    image.lay_out(folder)
    return judge(folder / "runs.db", image.relied)


def judged(room: Path, images: Iterable[Image]) -> Found:
    folder = room / "image"
    folder.mkdir()
    found = Found()
    for image in images:
        found.add(verdict_on(folder, image))
    return found


async def use(folder: Path, image: Image) -> Verdict:
    """Open an image with the store, look for what was relied on, and go on with a run."""
    image.lay_out(folder)
    async with SqliteStore(folder / "runs.db") as store:
        lost = []
        for word in image.relied:
            kind, name, *more = word.split()
            if kind == "blob":
                await store.fetch(TENANT, name)
            else:
                entries = await store.read(TENANT, name, limit=1_000_000)
                verify(entries, tenant=TENANT, run=name)
                heads = {str(entry.seq): entry.hash for entry in entries}
                if kind == "commit" and heads.get(more[0]) != more[1]:
                    lost.append(word)
        await store.create(TENANT, new_run(99))
        claimed = await store.claim("heir", offers=ANY, limit=99, duration=timedelta(minutes=1))
        (lease,) = (lease for lease in claimed.leases if lease.run == run_id(99))
        lease = await store.commit(lease, progress(lease))
        assert len(await store.read(TENANT, run_id(99))) == lease.seq
        problems = (await store.check()).problems
    return Verdict(problems, tuple(lost))


async def test_no_acknowledged_commit_is_lost_with_the_power(
    room: Path, soak: int, tell: Tell
) -> None:
    folder = room / "image"
    folder.mkdir()
    opened, found = Found(), Found()
    for seed in range(soak):
        chance = random.Random(seed)
        start = following = EMPTY
        for life in range(LIVES):
            acts = live(room, start, "committing", "FULL", str(life), str(TURNS))
            next_start = chance.randrange(IMAGES // 2, IMAGES)
            for number, image in enumerate(images_of(acts, start, IMAGES, chance)):
                found.add(verdict_on(folder, image))
                if number % FULLY_OPENED == 0:
                    opened.add(await use(folder, image))
                if number == next_start:
                    following = image
            start = following
    tell("power loss, FULL", **found.figures(), opened_by_the_store=opened.images)
    assert (found.lost, found.corrupt) == (0, 0), found.first
    assert (opened.lost, opened.corrupt) == (0, 0), opened.first
    assert found.images >= 2_000 * soak
    assert opened.images >= 100 * soak


async def test_without_a_sync_per_commit_some_are_lost_but_nothing_is_damaged(
    room: Path, soak: int, tell: Tell
) -> None:
    acts = live(room, EMPTY, "committing", "NORMAL", "0", str(TURNS))
    found = judged(room, images_of(acts, EMPTY, 300 * soak, random.Random(1)))
    tell("power loss, NORMAL", **found.figures())
    assert found.corrupt == 0, found.first
    assert found.lost > 20


async def test_without_any_sync_damage_is_found(room: Path, soak: int, tell: Tell) -> None:
    acts = live(room, EMPTY, "careless", "40")
    found = judged(room, images_of(acts, EMPTY, 200 * soak, random.Random(1)))
    tell("power loss, OFF", **found.figures())
    assert found.corrupt > 20


async def test_on_a_disk_that_only_says_that_it_syncs_damage_is_found(
    room: Path, soak: int, tell: Tell
) -> None:
    acts = live(room, EMPTY, "committing", "FULL", "0", str(TURNS))
    images = images_of(acts, EMPTY, 300 * soak, random.Random(1), heeds_syncs=False)
    found = judged(room, images)
    tell("power loss, FULL on a disk that lies", **found.figures())
    assert found.corrupt > 20
    assert found.lost > 20
