"""Retrying: whether a failed attempt deserves another, and after what time."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import (
    CallFailedError,
    InvalidArgumentsError,
    PermanentError,
    Retry,
    ToolError,
)
from astro.core.protocols import RetryPolicy
from astro.core.records import Failure
from astro.decisions.retrying import BackoffRetry, worth_retrying

SECONDS = st.floats(0, 1e6).map(lambda seconds: timedelta(seconds=seconds))
RETRIES = st.builds(
    Retry,
    attempts=st.integers(1, 10_000),
    first=SECONDS,
    factor=st.floats(1, 1e6),
    max=SECONDS,
    jitter=st.floats(0, 1),
)
POLICY: RetryPolicy = BackoffRetry()
MICROSECOND = timedelta(microseconds=1)


def delay(retry: Retry, attempt: int, error: Exception | None = None, seed: int = 0) -> Any:
    chance = random.Random(seed)
    return POLICY.delay(retry, attempt=attempt, error=error or OSError(), chance=chance)


@given(RETRIES, st.integers(1, 10_000), st.integers())
def test_a_wait_is_never_negative_and_never_longer_than_the_cap_and_its_jitter(
    retry: Retry, attempt: int, seed: int
) -> None:
    found = delay(retry, attempt, seed=seed)
    assert (found is None) == (attempt >= retry.attempts)
    assert timedelta(0) <= (found or timedelta(0)) <= retry.max * (1 + retry.jitter) + MICROSECOND


@given(RETRIES, st.integers(1, 100), st.integers())
def test_the_same_arguments_give_the_same_wait(retry: Retry, attempt: int, seed: int) -> None:
    assert delay(retry, attempt, seed=seed) == delay(retry, attempt, seed=seed)


@given(SECONDS, st.floats(1, 10), st.integers(1, 20))
def test_waits_without_jitter_do_not_shrink(first: timedelta, factor: float, attempt: int) -> None:
    retry = Retry(attempts=99, first=first, factor=factor, max=timedelta(days=9), jitter=0)
    assert delay(retry, attempt) <= delay(retry, attempt + 1)


@given(SECONDS, st.integers(1, 5_000))
def test_no_first_wait_is_no_wait_at_all(cap: timedelta, attempt: int) -> None:
    retry = Retry(attempts=10_000, first=timedelta(0), max=cap)
    assert delay(retry, attempt) == timedelta(0)


def test_the_longest_policy_has_a_wait_that_can_be_written_down() -> None:
    retry = Retry(attempts=9, first=timedelta.max, max=timedelta.max, jitter=1.0)
    assert timedelta(days=3_000) < delay(retry, 1) < timedelta(days=20_000)


class RateLimitedError(Exception):
    """What a client raises for HTTP 429."""

    def __init__(self, retry_after: object) -> None:
        self.retry_after = retry_after


@pytest.mark.parametrize(
    ("wanted", "waited"),
    [
        (timedelta(seconds=30), timedelta(seconds=30)),
        (30, timedelta(seconds=30)),
        (0.5, timedelta(seconds=1)),
        (timedelta(-1), timedelta(seconds=1)),
        (-5, timedelta(seconds=1)),
        (math.nan, timedelta(seconds=1)),
        (math.inf, timedelta(seconds=1)),
        (10**400, timedelta(seconds=1)),
        ("30", timedelta(seconds=1)),
        (None, timedelta(seconds=1)),
        (timedelta.max, timedelta(seconds=10**9)),
    ],
    ids=str,
)
def test_the_other_side_may_ask_for_a_longer_wait(wanted: object, waited: timedelta) -> None:
    assert delay(Retry(jitter=0), 1, RateLimitedError(wanted)) == waited


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (OSError(), True),
        (ToolError("busy", remedy=""), True),
        (CallFailedError("a", Failure(type="OSError", message="")), True),
        (PermanentError("no"), False),
        (InvalidArgumentsError("no", remedy=""), False),
    ],
    ids=lambda one: type(one).__name__,
)
def test_errors_that_no_further_attempt_can_help_are_not_retried(
    error: Exception, worth: bool
) -> None:
    assert worth_retrying(Retry(), error) is worth
    assert (delay(Retry(), 1, error) is not None) is worth


def test_only_the_classes_of_the_policy_are_retried() -> None:
    retry = Retry(on=(ConnectionError,))
    assert worth_retrying(retry, ConnectionResetError())
    assert not worth_retrying(retry, ValueError())
