"""Agents that check code in a box: run its tests, and look at it with ruff or another linter."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from astro.agents.by_class import performs
from astro.agents.in_box import BoxAgent, CommandResult, in_words
from astro.core.context import Context
from astro.core.errors import NeedsAgentError, ToolError
from astro.core.policy import Effect
from astro.core.task import task

__all__ = [
    "AnalysisAgent",
    "Finding",
    "TestCase",
    "TestReport",
    "TestingAgent",
    "lint",
    "run_linter",
    "run_test_command",
    "run_tests",
]

_REPORT: Final = ".astro/report.json"
_PLUGIN: Final = """
import json, os
cases = {}
def pytest_runtest_logreport(report):
    seen = cases.get(report.nodeid)
    if report.when == "call" or report.outcome != "passed":
        outcome = "error" if report.when != "call" and report.failed else report.outcome
        if seen is None or seen[0] == "passed":
            cases[report.nodeid] = (outcome, report.duration, str(report.longrepr or "")[-4000:])
def pytest_collectreport(report):
    if report.failed:
        cases[report.nodeid or "collection"] = ("error", 0.0, str(report.longrepr)[-4000:])
def pytest_sessionfinish(session, exitstatus):
    os.makedirs(".astro", exist_ok=True)
    with open(".astro/report.json", "w") as file:
        json.dump({"exit": int(exitstatus), "cases": cases}, file)
"""


class TestCase(msgspec.Struct, frozen=True):
    """One test.

    Attributes:
        outcome: "passed", "failed", "skipped" or "error".
        duration: Seconds.
        message: How it failed.
    """

    __test__ = False

    name: str
    outcome: str
    duration: float = 0.0
    message: str = ""


class TestReport(msgspec.Struct, frozen=True, kw_only=True):
    """How tests ended; what a program in a box says of itself, and so a claim."""

    __test__ = False

    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    cases: tuple[TestCase, ...] = ()
    result: CommandResult

    @property
    def ok(self) -> bool:
        """Whether there were tests, and none went wrong."""
        return self.result.exit_code == 0 and bool(self.passed)


class Finding(msgspec.Struct, frozen=True):
    """What a linter has to say of a place."""

    path: str
    line: int
    column: int
    code: str
    message: str


@task(needs_agent=True, effect=Effect.EXECUTE)
async def run_tests(ctx: Context, paths: list[str] = []) -> TestReport:  # noqa: B006
    """Run tests with pytest and return how each ended."""
    raise NeedsAgentError("run_tests")


@task(needs_agent=True, effect=Effect.EXECUTE)
async def run_test_command(ctx: Context, command: list[str]) -> CommandResult:
    """Run any command that tests something."""
    raise NeedsAgentError("run_test_command")


@task(needs_agent=True, effect=Effect.READ)
async def lint(ctx: Context, paths: list[str] = ["."]) -> list[Finding]:  # noqa: B006
    """Look at Python code with ruff."""
    raise NeedsAgentError("lint")


@task(needs_agent=True, effect=Effect.READ)
async def run_linter(ctx: Context, command: list[str]) -> CommandResult:
    """Run any linter."""
    raise NeedsAgentError("run_linter")


class TestingAgent(BoxAgent):
    """Runs tests."""

    __test__ = False

    @performs(run_tests)
    async def run_tests(self, ctx: Context, paths: list[str] = []) -> TestReport:  # noqa: B006
        """Run tests with pytest."""
        command = ["python3", "-m", "pytest", "-p", "astro_report", "-p", "no:cacheprovider", "-q"]
        done = await self.run(
            ctx,
            [*command, "--", *paths],
            env={"PYTHONPATH": "/work/.astro:/work"},
            files={".astro/astro_report.py": _PLUGIN},
            collect=[_REPORT],
            keep=False,
        )
        told = next((one.content for one in done.artifacts), b"{}")
        return _report(told, in_words(msgspec.structs.replace(done, artifacts=())))

    @performs(run_test_command)
    async def run_test_command(self, ctx: Context, command: list[str]) -> CommandResult:
        """Run any command that tests something."""
        return in_words(await self.run(ctx, command, keep=False))


class AnalysisAgent(BoxAgent):
    """Looks at code."""

    @performs(lint)
    async def lint(self, ctx: Context, paths: list[str] = ["."]) -> list[Finding]:  # noqa: B006
        """Look at Python code with ruff.

        Raises:
            ToolError: Ruff could not do its work.
        """
        command = ["ruff", "check", "--no-cache", "--exit-zero", "--output-format=json", "--"]
        done = await self.run(ctx, [*command, *paths], keep=False)
        if not done.ok:
            raise ToolError(
                f"ruff failed: {done.error_text.strip()[:500]}",
                remedy="Look at the paths, and at the settings of ruff in the workspace.",
            )
        return [_finding(one) for one in _list(done.stdout)]

    @performs(run_linter)
    async def run_linter(self, ctx: Context, command: list[str]) -> CommandResult:
        """Run any linter."""
        return in_words(await self.run(ctx, command, keep=False))


def _report(told: bytes, result: CommandResult) -> TestReport:
    try:
        said = msgspec.json.decode(told, type=dict[str, Any]).get("cases", {})
        cases = tuple(
            TestCase(str(name), str(one[0]), float(one[1]), str(one[2]))
            for name, one in dict(said).items()
        )
    except (msgspec.DecodeError, TypeError, ValueError, LookupError) as error:
        raise ToolError(
            f"The report of the tests makes no sense: {error}.",
            remedy="Something that the tests ran has written over it.",
        ) from error
    counts = {kind: sum(c.outcome == kind for c in cases) for kind in _KINDS}
    return TestReport(
        passed=counts["passed"],
        failed=counts["failed"],
        errors=counts["error"],
        skipped=counts["skipped"],
        cases=cases,
        result=result,
    )


_KINDS: Final = ("passed", "failed", "error", "skipped")


def _list(told: bytes) -> list[Any]:
    try:
        found = json.loads(told)
    except ValueError as error:
        raise ToolError(
            "What ruff says is no JSON.", remedy="Look which `ruff` the image and PATH hold."
        ) from error
    return found if isinstance(found, list) else []


def _finding(one: Any) -> Finding:
    place = one.get("location") or {}
    return Finding(
        path=str(one.get("filename", "")).removeprefix("/work/"),
        line=int(place.get("row", 0)),
        column=int(place.get("column", 0)),
        code=str(one.get("code") or ""),
        message=str(one.get("message", "")),
    )
