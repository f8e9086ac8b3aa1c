"""Cases: what a door is given, and what has to come of it.

A room of this folder is one door and its tables. Each case is a test of its own, known by its id;
`test_count` collects the tables of all rooms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs
import pytest

from astro import AstroError

__all__ = ["LOOP", "MIB", "Case", "Odd", "deep", "each", "refused", "requires_remedy"]

MIB: Final = 1024 * 1024

_LONGEST: Final = 4_000
"""Characters of an error: what was given is named, not repeated at full length."""

LOOP: Final[dict[str, Any]] = {}
"""A value that contains itself."""
LOOP["self"] = LOOP


@attrs.frozen(eq=False)
class Case:
    """Bad input, and the error it gets at the door.

    Attributes:
        what: What the door of the room is given.
        error: The class, exactly.
        match: Part of the message: the words that name the problem.
        defect: What is wrong with ASTRO, where it does not do this yet.
    """

    id: str
    what: Any
    error: type[BaseException]
    match: str
    defect: str = attrs.field(default="", kw_only=True)


@attrs.frozen(eq=False)
class Odd:
    """Input that looks bad and is legal, and what it gives."""

    id: str
    what: Any
    gives: Any
    defect: str = attrs.field(default="", kw_only=True)


def each(*tables: Sequence[Case] | Sequence[Odd]) -> pytest.MarkDecorator:
    """Make a test of each case of some tables; it takes the argument `case`."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case,
                id=case.id,
                marks=[pytest.mark.xfail(strict=True, reason=case.defect)] if case.defect else [],
            )
            for table in tables
            for case in table
        ],
    )


@contextmanager
def refused(case: Case) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """Check that what happens inside is refused as the case says."""
    with pytest.raises(case.error) as caught:
        yield caught
    error = caught.value
    said = str(error)
    assert type(error) is case.error
    assert case.match in said
    said.encode()  # it can be logged
    if isinstance(error, AstroError):
        requires_remedy(error)


def requires_remedy(error: AstroError) -> None:
    """Check that an error of ours says what to do, at a length that can be read."""
    assert error.problem
    assert error.remedy
    problems: Sequence[str] = getattr(error, "problems", ())
    assert all(len(one) <= _LONGEST for one in problems or [str(error)])


def deep(levels: int, kind: type[list[Any]] | type[dict[str, Any]] = list) -> Any:
    """Return lists or objects inside of each other."""
    value: Any = None
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value
