"""What the suites share: promises that are skipped or kept, and the event loops they run on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import anyio
import pytest

__all__ = ["Suite", "difference", "entered"]


@pytest.mark.anyio
class Suite:
    """Tests to be inherited, about a part that a subclass makes.

    Attributes:
        promises: Names of the attributes that say what only some parts promise.
        patience: What anything that ends by itself may take.
        trio: Whether the part works on trio too.
    """

    promises: ClassVar[tuple[str, ...]] = ("trio",)
    patience: ClassVar[timedelta] = timedelta(seconds=10)
    trio: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__test__" not in vars(cls):
            # A suite says `__test__ = False` of itself, and its heirs are tests again. Not True:
            # pytest would collect a class of any name.
            cls.__test__ = "by its name"  # type: ignore[attr-defined]  # pytest's, not ours

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run async tests on the event loops that the part works on, and on no others."""
        if "anyio_backend" in metafunc.fixturenames:
            loops = ["asyncio", "trio"] if self.trio else ["asyncio"]
            metafunc.parametrize("anyio_backend", loops, indirect=True)

    @pytest.fixture
    def anyio_backend(self, request: pytest.FixtureRequest) -> Any:
        """The event loop of a test, whatever a project's own tests run on."""
        return request.param

    def promised(self, promise: str) -> None:
        """Skip the test if a promise is not made."""
        if not getattr(self, promise):
            pytest.skip(f"not promised: {type(self).__name__}.{promise} is not set")

    def test_promises_are_on_record(self, request: pytest.FixtureRequest) -> None:
        """Put the promises into the report; a promise that is not made is a skipped test."""
        # Not by `record_property`, which warns of reports in one of JUnit's formats.
        said = [(promise, getattr(self, promise)) for promise in self.promises]
        request.node.user_properties.extend(said)
        unmade = [promise for promise, made in said if not made]
        if unmade:
            pytest.skip(f"{type(self).__name__} does not promise: {', '.join(unmade)}")

    async def until(self, happened: Callable[[], Awaitable[object]]) -> None:
        """Return once something is so; the test fails if it never is."""
        with anyio.fail_after(self.patience.total_seconds()):
            while True:
                if await happened():
                    return
                await anyio.sleep(0.005)  # what happens may happen in another process


def difference(found: bytes, expected: bytes) -> str:
    """Say where two contents part; nothing if they are the same.

    For contents of some length: pytest compares them whole, for minutes, where it shortens nothing.
    """
    if found == expected:
        return ""
    pairs = enumerate(zip(found, expected, strict=False))
    first = next((at for at, (one, other) in pairs if one != other), min(len(found), len(expected)))
    near = slice(first, first + 16)
    return f"at byte {first} of {len(found)}: {found[near]!r} and not {expected[near]!r}"


@asynccontextmanager
async def entered(part: Any) -> AsyncIterator[Any]:
    """Enter a part if it is an async context manager, as an engine does."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(part) if hasattr(part, "__aenter__") else part
