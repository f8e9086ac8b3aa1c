"""Repositories: what must not come out of a box, for git outside would run what it names.

`git status` is enough to run a program that the settings of a repository name, and others do when
somebody commits or changes a branch. So settings that could, hooks, and what leads git to other
settings stay in the box; objects, branches and the index come out.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

__all__ = ["reason_to_refuse"]

_SETTINGS: Final = "such settings of a repository can make git run programs"
_HOOK: Final = "git would run it"
_ELSEWHERE: Final = "it leads git to another repository"
_PLAIN: Final = re.compile(
    r"""\s*
    ( [#;].*
    | \[(core|user|branch\ "[^"\\\n]*")\]
    | (repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|precomposeunicode|symlinks)
      \ =\ (0|true|false)
    | (name|email|remote|merge)\ =\ [\w ./@+<>-]*
    )?\s*""",
    re.VERBOSE,
)
_HEAD: Final = re.compile(rb"\s*(ref:|[0-9a-f]{40})")
_NAMES: Final = frozenset({"objects", "refs", "logs"})  # where any name may be a branch's


def reason_to_refuse(path: str, content: bytes | None) -> str:
    """Return why something must not come out of a box; nothing if it may.

    Args:
        content: Of a file; None for a link.
    """
    parts = [part.lower() for part in PurePosixPath(path).parts]  # as some file systems see it
    if ".git" not in parts:
        bare = parts[-1] == "head" and (content is None or _HEAD.match(content))
        return "it makes its folder a repository" if bare else ""
    below = parts[len(parts) - parts[::-1].index(".git") :]
    if not below or content is None:
        return _ELSEWHERE
    if below[0] in _NAMES:
        return _ELSEWHERE if below[-1].endswith("alternates") else ""
    if "hooks" in below[:-1] and not below[-1].endswith(".sample"):
        return _HOOK
    if below[-1] in ("commondir", "gitdir"):
        return _ELSEWHERE
    if below[-1].startswith("config") and not _is_plain(content):
        return _SETTINGS
    if below[0].startswith(("rebase", "sequencer")):
        return _HOOK
    return ""


def _is_plain(content: bytes) -> bool:
    """Return whether settings are those that every repository begins with."""
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError:
        return False
    return all(_PLAIN.fullmatch(line) for line in lines)
