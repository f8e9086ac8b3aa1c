"""Hardening: how a container is made so that what runs in it can do as little as possible. Pure.

Nothing here can be switched off; what a box may use is in its limits.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

from astro.core.sandbox import BoxLimits

__all__ = ["NOBODY", "WORK", "arguments", "flaws", "seccomp_profile", "supervisor_source"]

NOBODY: Final = 65534
"""User and group of everything that runs in a box."""

WORK: Final = "/work"
"""The work folder."""

_TEMPORARY: Final = 16 * 1024 * 1024  # bytes, of /tmp and of /dev/shm each
_NO_CAPABILITIES: Final = "0" * 16


@cache
def seccomp_profile() -> str:
    """Return the list of system calls that a box may make, as Docker takes it.

    No io_uring, ptrace, process_vm_*, keyctl, mount or namespace calls, and no sockets but unix
    and internet ones (which find no network). Derived from the default profile of the Moby
    project.
    """
    return (files(__package__) / "seccomp.json").read_text()


@cache
def supervisor_source() -> str:
    """Return the program that a box begins with."""
    return (files(__package__) / "supervisor.py").read_text()


def arguments(
    *, image: str, limits: BoxLimits, labels: dict[str, str], runtime: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of Docker's `create_container`, and of its `create_host_config`."""
    command = ["python3", "-I", "-B", "-u", "-X", "utf8", "-c", supervisor_source()]
    container = {
        "image": image,
        "command": command,
        "entrypoint": [],
        "user": f"{NOBODY}:{NOBODY}",
        "working_dir": WORK,
        "hostname": "box",
        "environment": {
            "HOME": WORK,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TMPDIR": "/tmp",  # the box's own
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        },
        "labels": labels,
        "stdin_open": True,
        "stop_signal": "SIGKILL",  # the supervisor ends for no other, and Docker would wait for it
        "network_disabled": True,
    }
    return container, _host(limits, runtime)


def _host(limits: BoxLimits, runtime: str | None) -> dict[str, Any]:
    owner = f"uid={NOBODY},gid={NOBODY},mode=0700,nosuid,nodev"
    work = f"size={limits.disk},nr_inodes={limits.inodes},{owner},exec"
    temporary = f"size={_TEMPORARY},nr_inodes=2048,{owner},noexec"
    return {
        "auto_remove": True,
        "cap_drop": ["ALL"],
        "init": False,  # the supervisor is the first process: out of reach of whatever runs
        "ipc_mode": "private",
        "log_config": {"Type": "none", "Config": {}},
        "mem_limit": limits.memory,
        "memswap_limit": limits.memory,
        "nano_cpus": int(limits.cpus * 1e9),
        "network_mode": "none",
        "oom_score_adj": 500,
        "pids_limit": limits.pids + 3,  # the supervisor, one to fork, and one to spare
        "read_only": True,
        "runtime": runtime,
        "security_opt": ["no-new-privileges:true", f"seccomp={seccomp_profile()}"],
        "shm_size": _TEMPORARY,
        "tmpfs": {WORK: work, "/tmp": temporary},  # the box's own
        "ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "fsize", "Soft": limits.file, "Hard": limits.file},
            {"Name": "nofile", "Soft": limits.open_files, "Hard": limits.open_files},
        ],
    }


def flaws(facts: dict[str, Any], *, gvisor: bool) -> list[str]:
    """Return what a box lacks of its isolation, as its supervisor sees it.

    Args:
        gvisor: Whether the system calls go to gVisor, which has no filter of its own to show.
    """
    found = []
    if facts.get("uid") != NOBODY:
        found.append(f"it runs as user {facts.get('uid')}")
    if str(facts.get("capabilities")).strip() != _NO_CAPABILITIES:
        found.append("it has capabilities")
    if facts.get("sealed") is not True:
        found.append("its root file system can be written to")
    if not gvisor and str(facts.get("privileges")).strip() != "1":
        found.append("programs in it may gain privileges")
    if not gvisor and str(facts.get("seccomp")).strip() != "2":
        found.append("its system calls are not filtered")
    beside = [name for name in facts.get("networks", ["?"]) if name != "lo"]
    if beside:
        found.append(f"it has a network: {', '.join(map(str, beside))}")
    return found
