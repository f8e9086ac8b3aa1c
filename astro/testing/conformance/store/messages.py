"""Messages: the inbox of a run, its one answer, its last moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from astro.core.errors import (
    AlreadyAnsweredError,
    CodecError,
    RunNotFoundError,
)
from astro.core.protocols import Lease
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    BEGINNING,
    FAST,
    MINUTE,
    SECOND,
    SLOW,
    TENANT,
    answer,
    cancel,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["MessageTests"]


class MessageTests(StoreSuite):
    """What a store promises of inboxes."""

    async def test_a_message_keeps_what_it_says(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(SECOND)
        message = answer(not_after=BEGINNING + MINUTE, by="Zoë")
        await store.post(TENANT, lease.run, message)
        (posted,) = await store.inbox(FAST)
        assert (posted.tenant, posted.run) == (TENANT, lease.run)
        assert (posted.at, posted.message) == (BEGINNING + SECOND, message)

    async def test_a_message_needs_a_run_of_the_tenant(self, store: Any, lease: Lease) -> None:
        with pytest.raises(RunNotFoundError):
            await store.post("globex", lease.run, cancel())
        with pytest.raises(RunNotFoundError):
            await store.post(TENANT, run_id(99), cancel())

    async def test_a_cut_off_name_does_not_reach_another_run(
        self, store: Any, lease: Lease
    ) -> None:
        with pytest.raises((CodecError, RunNotFoundError)):
            await store.post(TENANT, lease.run + "\0", cancel())
        assert list(await store.inbox(FAST)) == []

    async def test_a_question_has_one_answer(self, store: Any, lease: Lease) -> None:
        await store.post(TENANT, lease.run, answer())
        with pytest.raises(AlreadyAnsweredError):
            await store.post(TENANT, lease.run, answer())
        await store.post(TENANT, lease.run, answer(once="another"))

    async def test_a_question_has_one_answer_even_after_it_was_consumed(
        self, store: Any, lease: Lease
    ) -> None:
        await store.post(TENANT, lease.run, answer())
        (posted,) = await store.inbox(FAST)
        await store.commit(lease, progress(lease, consumed=(posted.number,)))
        with pytest.raises(AlreadyAnsweredError):
            await store.post(TENANT, lease.run, answer())
        assert list(await store.inbox(FAST)) == []

    async def test_rule_31_an_answer_after_the_deadline_is_refused(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        message = answer(not_after=BEGINNING + MINUTE)
        clock.advance(MINUTE + timedelta(microseconds=1))
        with pytest.raises(AlreadyAnsweredError):
            await store.post(TENANT, lease.run, message)

    async def test_an_answer_at_the_deadline_is_in_time(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(MINUTE)
        await store.post(TENANT, lease.run, answer(not_after=BEGINNING + MINUTE))
        assert len(await store.inbox(FAST)) == 1

    async def test_an_inbox_shows_only_what_its_owner_holds(self, store: Any, lease: Lease) -> None:
        await store.post(TENANT, lease.run, cancel())
        assert list(await store.inbox(SLOW)) == []
        await store.release(lease)
        assert list(await store.inbox(FAST)) == []
