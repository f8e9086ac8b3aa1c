"""Engines that are broken, each in one way, and the tests that are meant to find it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, ClassVar

import anyio

from astro import LocalEngine, MemoryStore, Retry, Task
from astro.core.protocols import Store
from astro.testing.conformance import EngineConformance


class BrokenEngine(EngineConformance):
    """Made of a sound engine, with little patience for what never comes."""

    patience = timedelta(seconds=2)
    found_by: ClassVar[tuple[str, ...]]
    engine: ClassVar[Any] = LocalEngine

    def make(self, *parts: Any, store: Store) -> AbstractAsyncContextManager[Any]:
        made: AbstractAsyncContextManager[Any] = self.engine(
            *map(self.part, parts), store=self.kept(store), grace=timedelta(seconds=0.1)
        )
        return made

    def part(self, part: Any) -> Any:
        """Return what the engine is given in place of a part."""
        return part

    def kept(self, store: Store) -> Store:
        """Return what the engine is given in place of a store."""
        return store


class SoundEngine(BrokenEngine):
    found_by = ()


class _DropsOptions(LocalEngine):
    dropped: ClassVar[str]

    def options(self, **said: Any) -> Any:
        said.pop(self.dropped, None)
        return super().options(**said)


class _RunsAKeyedRunTwice(_DropsOptions):
    dropped = "key"


class RunsAKeyedRunTwice(BrokenEngine):
    engine = _RunsAKeyedRunTwice
    found_by = (
        "test_rule_36_the_same_key_is_the_same_run",
        "test_rule_36_the_same_key_for_something_else_is_refused",
        "test_the_key_of_a_run_is_not_forgotten",
    )


class _MixesTenants(_DropsOptions):
    dropped = "tenant"


class MixesTenants(BrokenEngine):
    engine = _MixesTenants
    found_by = (
        "test_a_tenant_sees_only_its_own_runs",
        "test_what_a_run_starts_belongs_to_its_tenant",
    )


class _KnowsNoBudget(_DropsOptions):
    dropped = "budget"


class KnowsNoBudget(BrokenEngine):
    engine = _KnowsNoBudget
    found_by = (
        "test_a_budget_of_calls_is_not_overspent",
        "test_what_is_spent_beyond_a_budget_is_recorded_and_raised",
    )


class _KnowsNoDeadline(_DropsOptions):
    dropped = "deadline"


class KnowsNoDeadline(BrokenEngine):
    engine = _KnowsNoDeadline
    found_by = ("test_a_deadline_fails_a_run_that_outlives_it",)


class _CancelsWithWhoWaits(LocalEngine):
    async def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        run = await self.start(task, *args, **kwargs)
        try:
            return await run
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await run.cancel()
            raise


class CancelsWithWhoWaits(BrokenEngine):
    engine = _CancelsWithWhoWaits
    found_by = ("test_rule_14_cancelling_run_leaves_the_run_alone",)


class ForgetsWhatItLeaves(BrokenEngine):
    def kept(self, store: Store) -> Store:
        return MemoryStore()

    found_by = (
        "test_rule_12_a_run_goes_on_where_it_was_left_and_does_nothing_twice",
        "test_what_was_at_work_is_done_again_under_the_same_key",
        "test_a_sleep_goes_on_and_does_not_begin_anew",
        "test_what_has_ended_stays_ended",
        "test_rule_18_a_paused_run_stays_paused",
        "test_rule_20_a_run_whose_task_is_not_offered_waits_for_it",
    )


class _Retrying:
    """Gives every call so many attempts, whatever its task says and whatever it raised."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def delay(
        self, retry: Retry, /, *, attempt: int, error: Exception, chance: Random
    ) -> timedelta | None:
        return timedelta(0) if attempt < self.attempts else None


class NeverTriesAgain(BrokenEngine):
    engine = partial(LocalEngine, retrying=_Retrying(1))
    found_by = (
        "test_a_call_is_tried_again_under_the_same_key",
        "test_an_attempt_that_outlives_its_time_is_cancelled_and_tried_again",
        "test_the_number_of_attempts_is_not_forgotten",
    )


class TriesWhatIsHopeless(BrokenEngine):
    engine = partial(LocalEngine, retrying=_Retrying(5))
    found_by = (
        "test_a_failure_says_what_was_raised",
        "test_a_call_is_tried_no_more_often_than_it_may_be",
        "test_what_another_attempt_does_not_mend_is_not_tried_again",
        "test_rule_06_a_failed_call_is_raised_where_it_was_asked_for",
    )


class _Forgetful(BrokenEngine):
    """Knows nothing of what tasks say about themselves in some attributes."""

    forgotten: ClassVar[dict[str, Any]]

    def part(self, part: Any) -> Any:
        if isinstance(part, Task):
            for name, value in self.forgotten.items():
                object.__setattr__(part, name, value)  # callers hold the same task
        return part


class NeverUndoes(_Forgetful):
    forgotten: ClassVar[dict[str, Any]] = {"undo": None}
    found_by = (
        "test_rule_34_a_failed_run_undoes_its_calls_in_reverse",
        "test_rule_34_a_cancelled_run_undoes_its_calls",
    )


class KnowsNoTime(_Forgetful):
    forgotten: ClassVar[dict[str, Any]] = {"timeout": None, "deadline": None}
    found_by = (
        "test_a_time_out_without_another_attempt_fails_the_call",
        "test_a_deadline_of_a_call_covers_all_its_attempts",
    )


class KnowsNoDeclaredErrors(_Forgetful):
    forgotten: ClassVar[dict[str, Any]] = {"raises": ()}
    found_by = ("test_rule_06_a_declared_class_is_raised_as_itself",)


class _UsesNoAgents(LocalEngine):
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*(part for part in parts if isinstance(part, Task)), **options)


class UsesNoAgents(BrokenEngine):
    engine = _UsesNoAgents
    found_by = (
        "test_an_agent_performs_what_has_no_body",
        "test_rule_21_an_agent_goes_before_the_body",
    )


class _ListsEverythingAtOnce(LocalEngine):
    async def runs(self, **query: Any) -> Any:
        return await super().runs(**query | {"limit": 999})


class ListsEverythingAtOnce(BrokenEngine):
    engine = _ListsEverythingAtOnce
    found_by = (
        "test_runs_are_listed_newest_first_page_by_page",
        "test_runs_are_found_by_what_is_asked_for",
    )
