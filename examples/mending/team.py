"""The team: run the tests, try changes in boxes of their own, keep the best, commit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from astro import Context, Effect, task
from astro.agents.checking import run_tests
from astro.agents.git import git_add, git_commit, git_diff
from astro.agents.in_box import shell
from examples.mending.changes import changes_of

__all__ = ["attempt", "mend"]

ROUNDS = 5


@task(effect=Effect.EXECUTE)
async def attempt(ctx: Context, files: dict[str, str]) -> int:
    """Return how many tests pass with these files, in a box of its own; less than 0 if none ran."""
    await ctx.sandbox.write(dict(files))
    command = ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = await ctx.sandbox.run(command, timeout=timedelta(seconds=20))
    words = done.text.replace(",", " ").split()
    return int(words[words.index("passed") - 1]) if "passed" in words else -1


@task
async def mend(ctx: Context, project: dict[str, str], path: str) -> dict[str, Any]:
    """Mend a file until the tests of its project pass, and commit that.

    Args:
        project: Its files.
        path: The file that may be changed.
    """
    report = await ctx.call(run_tests)
    ctx.emit("tests", [report.passed, report.failed])
    story: list[str] = []
    for _ in range(ROUNDS):
        if report.ok:
            break
        candidates = [*changes_of(project[path])]
        tried = [project | {path: source} for source, _ in candidates]
        passed = await ctx.map(attempt, tried, limit=4)
        best = max(range(len(passed)), key=passed.__getitem__)
        ctx.emit("tried", [len(tried), passed[best]])
        if passed[best] <= report.passed:
            break
        source, words = candidates[best]
        story.append(words)
        project = project | {path: source}
        await ctx.call(shell, "true", {path: source})
        report = await ctx.call(run_tests)
        ctx.emit("tests", [report.passed, report.failed])
    diff = await ctx.call(git_diff)
    await ctx.call(git_add, [path])
    commit = await ctx.call(git_commit, "Mend " + path + "\n\n" + "\n".join(story))
    return {
        "mended": report.ok and commit.exit_code == 0,
        "changes": story,
        "diff": diff.stdout,
        "commit": commit.stdout,
    }
