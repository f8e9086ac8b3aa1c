"""Answers: what a box says, taken for what it is worth. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from astro.core.errors import InvalidArgumentsError
from astro.core.sandbox import BoxStatus, Collected, Completed
from astro.sandboxes.docker.output import Output
from astro.sandboxes.docker.wire import WireClosedError

__all__ = ["claims_of", "completed", "environment_of"]


def environment_of(env: Mapping[str, str] | None) -> dict[str, str]:
    said = dict(env or {})
    for name, value in said.items():
        if "=" in name or "\0" in name or "\0" in value or not name:
            raise InvalidArgumentsError(
                f"{name!r:.60} is no variable of an environment.", remedy="Name it otherwise."
            )
    return said


def claims_of(payload: bytes) -> dict[str, Any]:
    """Return what a box says, which need not be what it should say."""
    try:
        said = json.loads(payload)
    except ValueError as error:
        raise WireClosedError("it talks nonsense") from error
    if not isinstance(said, dict):
        raise WireClosedError("it talks nonsense")
    return said


def completed(
    ended: BoxStatus | None,
    told: dict[str, Any],
    output: Output,
    took: float,
    found: Collected,
) -> Completed:
    code = told.get("code")
    if not isinstance(code, int):
        code = None
    if ended is None:
        starved = bool(told.get("oom"))
        ended = BoxStatus.OOM_KILLED if starved else BoxStatus.ERROR if code else BoxStatus.OK
    cpu = told.get("cpu")
    return Completed(
        exit_code=code,
        stdout=bytes(output.stdout),
        stderr=bytes(output.stderr),
        status=ended,
        stdout_truncated=output.cut["stdout"],
        stderr_truncated=output.cut["stderr"],
        duration=took,
        cpu=float(cpu) if isinstance(cpu, int | float) else 0.0,
        artifacts=found.artifacts,
        rejected=found.rejected,
    )
