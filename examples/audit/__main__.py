"""The command: `python -m examples.audit [PATH]`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import sysconfig
from pathlib import Path

import anyio

from astro import AstroError
from examples.audit.demo import Demonstration, WorkerError
from examples.audit.display import open_display
from examples.audit.worker import Job, work
from examples.audit.workflow import Order


def main(arguments: list[str] | None = None) -> int:
    """Audit a tree and return the exit code."""
    given = _parser().parse_args(arguments)
    root = Path(given.path or sysconfig.get_path("stdlib")).resolve()
    if not root.exists():
        print(
            f"There is nothing at {root}. Give the path of a folder or of a file.", file=sys.stderr
        )
        return 2
    job = _job(root, given)
    try:
        return _work(job) if given.worker else _demonstrate(job, given)
    except KeyboardInterrupt:
        if not given.worker:
            print("\nStopped. What was committed is kept; the same command goes on from there.")
        return 130


def _work(job: Job) -> int:
    code = 0
    try:
        anyio.run(work, job)
    except* BrokenPipeError:
        code = 1  # nobody watches this worker any more
    except* AstroError as group:
        print(*group.exceptions, sep="\n", file=sys.stderr)
        code = 1
    return code


def _demonstrate(job: Job, given: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "examples.audit", str(job.order.root), "--worker"]
    command += ["--store", str(job.store), "--out", str(job.folder)]
    command += ["--analysts", str(job.analysts), "--patience", str(job.order.patience)]
    command += ["--listen"] * job.listens
    with open_display(plain=given.plain) as display:
        display.say(f"Auditing {job.order.title} with {job.analysts} analysts")
        demonstration = Demonstration(
            command=command,
            display=display,
            kill_at=None if given.no_kill else 0.4,
            listens=job.listens,
        )
        try:
            anyio.run(demonstration.run)
        except WorkerError as error:
            display.say(str(error), tone="bad")
            return 1
    return 0


def _job(root: Path, given: argparse.Namespace) -> Job:
    listens = given.listen or (sys.stdin.isatty() and sys.stdout.isatty() and not given.plain)
    return Job(
        order=Order(
            root=str(root),
            title=_title(root),
            patience=given.patience if given.patience is not None else 4.0 if listens else 1.0,
        ),
        store=Path(given.store).resolve() if given.store else Path(given.out).resolve() / "runs.db",
        folder=Path(given.out).resolve(),
        analysts=given.analysts,
        listens=listens,
    )


def _title(root: Path) -> str:
    if root == Path(sysconfig.get_path("stdlib")).resolve():
        return f"Python {platform.python_version()} standard library"
    return root.name or str(root)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.audit",
        description="Audit a tree of Python files with a pool of durable agents.",
    )
    add = parser.add_argument
    add("path", nargs="?", help="folder or file; the standard library if left out")
    add("--out", default="audit-report", help="folder of the reports (default: %(default)s)")
    add("--store", help="database of the runs (default: runs.db in the folder of the reports)")
    add(
        "--analysts",
        type=int,
        default=max(2, min(8, os.cpu_count() or 2)),
        help="processes that read files (default: %(default)s)",
    )
    add(
        "--patience",
        type=float,
        help="seconds to wait for an answer (default: 4 on a terminal, else 1)",
    )
    add("--no-kill", action="store_true", help="do not kill the worker in the middle")
    add("--plain", action="store_true", help="print plain lines, also on a terminal")
    add("--worker", action="store_true", help=argparse.SUPPRESS)
    add("--listen", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
