"""Preflight: the controls that a Docker engine must have. Pure; what it lacks is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from astro.core.errors import SandboxUnavailableError

__all__ = ["OLDEST", "require_controls", "require_reach"]

OLDEST: Final = (1, 40)
"""The oldest version of Docker's interface that will do; that of Docker 19.03."""

_NAMES: Final = {
    "MemoryLimit": "limits of memory",
    "SwapLimit": "limits of swap",
    "PidsLimit": "limits of processes",
    "CpuCfsQuota": "limits of processor time",
}
_REMEDIES_V1: Final = {
    "MemoryLimit": "Start its host with cgroup_enable=memory swapaccount=1.",
    "SwapLimit": "Start its host with cgroup_enable=memory swapaccount=1.",
    "PidsLimit": "Mount the cgroup controller pids on its host: cgroupfs-mount.",
    "CpuCfsQuota": "Run it on a kernel with CONFIG_CFS_BANDWIDTH.",
}
_REMEDIES_V2: Final = {
    "MemoryLimit": "Enable the cgroup controller memory on its host: "
    "echo +memory >/sys/fs/cgroup/cgroup.subtree_control",
    "SwapLimit": "Start its host with swapaccount=1.",
    "PidsLimit": "Enable the cgroup controller pids on its host: "
    "echo +pids >/sys/fs/cgroup/cgroup.subtree_control",
    "CpuCfsQuota": "Enable the cgroup controller cpu on its host: "
    "echo +cpu >/sys/fs/cgroup/cgroup.subtree_control",
}
_FORWARD: Final = (
    "Forward its socket and name that: ssh -N -L /tmp/docker.sock:/var/run/docker.sock HOST, "
    "then DOCKER_HOST=unix:///tmp/docker.sock"
)
_FAR: Final = {
    "ssh": "Docker is named by ssh://, over which no box can be talked to.",
    "https": "Docker is named with TLS, over which no box can be talked to.",
    "npipe": "Docker is named by a pipe of Windows, over which no box can be talked to.",
}


@attrs.frozen
class _Lack:
    what: str
    remedy: str


def require_reach(url: str, *, tls: bool) -> None:
    """Return if a box can be talked to where Docker listens: over a Unix socket or plain TCP.

    Raises:
        SandboxUnavailableError: It cannot.
    """
    kind = "https" if tls else url.partition("://")[0]
    if kind in _FAR:
        remedy = (
            "Run ASTRO in WSL 2, where Docker listens at a Unix socket."
            if kind == "npipe"
            else _FORWARD
        )
        raise SandboxUnavailableError(_FAR[kind], remedy=remedy)


def require_controls(info: Mapping[str, Any], runtime: str | None) -> tuple[str, ...]:
    """Return the limits that the runtime is known not to enforce.

    Args:
        info: What Docker says of itself, with the version of its interface as `ApiVersion`.

    Raises:
        SandboxUnavailableError: A control is missing; each of them is named, with its remedy.
    """
    lacking = list(_lacking(info))
    if lacking:
        raise SandboxUnavailableError(
            f"Docker lacks {', '.join(one.what for one in lacking)}.",
            # Some have the same remedy.
            remedy=" ".join(dict.fromkeys(one.remedy for one in lacking)),
        )
    return _unenforced(info, runtime)


def _lacking(info: Mapping[str, Any]) -> Iterator[_Lack]:
    if info.get("OSType") != "linux":
        yield _Lack("Linux containers", "Switch Docker Desktop to Linux containers.")
        return  # nothing else means there what it means here
    version = str(info.get("ApiVersion") or "")
    if _numbers(version) < OLDEST:
        yield _Lack(
            f"a recent interface (it speaks {version or 'an unknown one'})",
            "Install Docker 19.03 or later.",
        )
    yield from _cgroups(info)
    if not any("name=seccomp" in str(one) or one == "seccomp" for one in _security(info)):
        yield _Lack(
            "filters of system calls (seccomp)",
            "Run it on a kernel with CONFIG_SECCOMP_FILTER, and a Docker built with seccomp.",
        )


def _cgroups(info: Mapping[str, Any]) -> Iterator[_Lack]:
    """Yield the limits that the cgroups of the host do not allow for."""
    missing = [name for name in _NAMES if not info.get(name)]
    if not missing:
        return
    if any("rootless" in str(one) for one in _security(info)):
        remedy = (
            "Docker runs rootless: have systemd delegate the controllers to its user, with "
            "Delegate=cpu cpuset io memory pids in user@.service."
            if str(info.get("CgroupVersion")) == "2"
            else "Docker runs rootless, which limits nothing with cgroup v1: start the host with "
            "systemd.unified_cgroup_hierarchy=1, or run Docker as root."
        )
        yield from (_Lack(_NAMES[name], remedy) for name in missing)
        return
    remedies = _REMEDIES_V2 if str(info.get("CgroupVersion")) == "2" else _REMEDIES_V1
    yield from (_Lack(_NAMES[name], remedies[name]) for name in missing)


def _security(info: Mapping[str, Any]) -> list[Any]:
    return list(info.get("SecurityOptions") or ())


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _unenforced(info: Mapping[str, Any], runtime: str | None) -> tuple[str, ...]:
    known: Mapping[str, Any] = info.get("Runtimes") or {}
    named = runtime or str(info.get("DefaultRuntime") or "")
    if runtime is not None and runtime not in known:
        raise SandboxUnavailableError(
            f"Docker has no runtime {runtime!r}; it has {', '.join(sorted(known))}.",
            remedy="Install it, name it in Docker's daemon.json, and reload that: "
            "kill -HUP of dockerd.",
        )
    about = known.get(named) or {}
    arguments = about.get("runtimeArgs") or ()
    found = ["memory", "pids", "cpus"] if "--ignore-cgroups" in arguments else []
    if "runsc" in f"{named} {about.get('path')} {about.get('runtimeType')}":
        found.append("inodes")  # its kernel counts the bytes of a folder, and not the files
    return tuple(found)
