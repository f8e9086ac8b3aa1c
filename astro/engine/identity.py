"""Identity: which call it is that a task asks for, so that it is done once.

A call is known by parent, branch, task and arguments, and by a number among equals. The id is
`task:digest.n`: a digest of the first four, so that its length does not grow with depth.
"""

from __future__ import annotations

from hashlib import blake2b
from weakref import WeakKeyDictionary

from astro.core.errors import AmbiguousCallError
from astro.engine.supervisor import current_task

__all__ = ["Ordinals", "derive"]


def derive(*parts: str | bytes, size: int) -> bytes:
    """Return `size` bytes that depend on the parts and nothing else (BLAKE2b)."""
    digest = blake2b(digest_size=size)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.digest()


class Ordinals:
    """Numbers the equal calls of one attempt, in the order in which they are asked for."""

    __slots__ = ("_askers", "_counts", "_known", "_parent", "_serials")

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._counts: dict[str, int] = {}
        self._askers: dict[str, int] = {}
        self._serials: WeakKeyDictionary[object, int] | None = None
        self._known = 0

    def take(self, branch: str, task: str, raw: bytes) -> str:
        """Return the identity of the next call of this kind.

        Raises:
            AmbiguousCallError: Another asyncio task of the attempt has asked for an equal one,
                so that their order, and with it their identity, would be chance.
        """
        kind = self._kind(branch, task, raw)
        if self._askers.setdefault(kind, self._asker()) != self._asker():
            raise AmbiguousCallError(f"{task}({raw.decode()[:80]})")
        return self._number(kind)

    def take_all(self, branch: str, task: str, raws: list[bytes]) -> list[str]:
        """Return the identities of many calls of one `map`, in list order.

        Raises:
            AmbiguousCallError: Another asyncio task of the attempt maps over an equal item.
        """
        asker = self._asker()
        kinds = [self._kind(branch, task, raw) for raw in raws]
        for kind, raw in zip(kinds, raws, strict=True):
            if self._askers.setdefault(kind, asker) != asker:
                raise AmbiguousCallError(f"{task}({raw.decode()[:80]})")
        return [self._number(kind) for kind in kinds]

    def _asker(self) -> int:
        """Return the number of the asyncio task that runs now."""
        if self._serials is None:  # most attempts ask for nothing
            self._serials = WeakKeyDictionary()
        task = current_task()
        serial = self._serials.get(task)
        if serial is None:
            # Never the number of one that has ended, which would pass for this one.
            self._known += 1
            serial = self._serials[task] = self._known
        return serial

    def alias(self, branch: str, name: str, raw: bytes, like: str) -> str:
        """Return the identity that a call would have under an earlier name of its task."""
        number = like.rpartition(".")[2]
        return f"{self._kind(branch, name, raw)}.{number}"

    def _kind(self, branch: str, task: str, raw: bytes) -> str:
        digest = blake2b(f"{self._parent}\0{branch}\0{task}\0".encode() + raw, digest_size=12)
        return f"{task}:{digest.hexdigest()}"

    def _number(self, kind: str) -> str:
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return f"{kind}.{number}"
