"""Preflight: the controls that a Docker engine must have. Pure; what it lacks is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from astro.core.errors import SandboxUnavailableError

__all__ = ["require_controls"]

_CONTROLS: Final = {
    "MemoryLimit": "limits of memory",
    "SwapLimit": "limits of swap",
    "PidsLimit": "limits of processes",
    "CpuCfsQuota": "limits of processor time",
}


def require_controls(info: Mapping[str, Any], runtime: str | None) -> tuple[str, ...]:
    """Return the limits that the runtime is told not to enforce.

    Args:
        info: What Docker says of itself.

    Raises:
        SandboxUnavailableError: A control is missing.
    """
    lacking = [what for name, what in _CONTROLS.items() if not info.get(name)]
    if info.get("OSType") != "linux":
        lacking.append("Linux containers")
    if not any("seccomp" in str(one) for one in info.get("SecurityOptions") or ()):
        lacking.append("filters of system calls (seccomp)")
    if lacking:
        raise SandboxUnavailableError(
            f"Docker lacks {', '.join(lacking)}.",
            remedy="Enable the cgroup controllers memory, pids and cpu, swap accounting and "
            "seccomp on its host.",
        )
    if runtime is None:
        return ()
    known: Mapping[str, Any] = info.get("Runtimes") or {}
    if runtime not in known:
        raise SandboxUnavailableError(
            f"Docker has no runtime {runtime!r}; it has {', '.join(sorted(known))}.",
            remedy="Install it and name it in Docker's daemon.json.",
        )
    arguments = (known[runtime] or {}).get("runtimeArgs") or ()
    return ("memory", "pids", "cpus") if "--ignore-cgroups" in arguments else ()
