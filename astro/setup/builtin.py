"""ASTRO's own parts as settings know them: a configuration, and what makes the part of it.

Third-party parts are the same by shape: something to call with its `Config`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs.validators import ge, gt, le

from astro.core.protocols import Sandbox, Store
from astro.core.sandbox import BoxLimits
from astro.setup.plugins import load

__all__ = [
    "DOCKER",
    "MEMORY",
    "SQLITE",
    "DockerConfig",
    "LimitsConfig",
    "MemoryConfig",
    "Recipe",
    "SqliteConfig",
]

_ZERO: Final = timedelta(0)


@attrs.frozen
class Recipe:
    """What makes a part of its configuration."""

    Config: type[Any]
    make: Callable[[Any], Any]

    def __call__(self, config: Any) -> Any:
        """Return the part."""
        return self.make(config)


@attrs.frozen(kw_only=True)
class SqliteConfig:
    """The store in one SQLite file; see `SqliteStore`.

    Attributes:
        path: The file, relative to the file of settings.
        synchronous: `FULL` to survive the loss of power, `NORMAL` to be faster.
        readers: How many connections read.
        lock_timeout: How long to wait for another process that is writing.
        patience: How long to wait for the disk.
        blob_grace: How long a blob that no run refers to is kept.
    """

    path: Path
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    readers: int = attrs.field(default=2, validator=[ge(1), le(16)])
    lock_timeout: timedelta = attrs.field(default=timedelta(seconds=10), validator=ge(_ZERO))
    patience: timedelta = attrs.field(default=timedelta(seconds=60), validator=gt(_ZERO))
    blob_grace: timedelta = attrs.field(default=timedelta(days=1), validator=ge(_ZERO))


@attrs.frozen(kw_only=True)
class MemoryConfig:
    """The store in memory; nothing outlives the process."""

    blob_grace: timedelta = attrs.field(default=timedelta(days=1), validator=ge(_ZERO))


@attrs.frozen(kw_only=True)
class LimitsConfig:
    """What a box may use; see `BoxLimits`. Sizes are in bytes."""

    memory: int = BoxLimits().memory
    cpus: float = BoxLimits().cpus
    pids: int = BoxLimits().pids
    disk: int = BoxLimits().disk
    inodes: int = BoxLimits().inodes
    file: int = BoxLimits().file
    open_files: int = BoxLimits().open_files
    output: int = BoxLimits().output
    flood: int = BoxLimits().flood
    artifacts: int = BoxLimits().artifacts
    artifact_count: int = BoxLimits().artifact_count
    snapshot: int = BoxLimits().snapshot

    def __attrs_post_init__(self) -> None:
        self.made()

    def made(self) -> BoxLimits:
        """Return the limits.

        Raises:
            ValueError: One makes no sense.
        """
        return BoxLimits(**attrs.asdict(self))


@attrs.frozen(kw_only=True)
class DockerConfig:
    """Boxes in Docker containers; see `DockerSandbox`.

    Attributes:
        image: Name or id of an image that is here; never pulled.
        limits: Of boxes that say none of their own; sizes in bytes.
        runtime: Of Docker, as `runsc` for gVisor.
        pool: Containers kept ready.
        idle: After how long without use none are kept ready.
        boxes: How many may be open at the same moment.
        url: Where Docker listens; without it, DOCKER_HOST or the usual socket.
        patience: How long to wait for Docker.
    """

    image: str = "astro-sandbox"
    limits: LimitsConfig = attrs.field(factory=LimitsConfig)
    runtime: str | None = None
    pool: int = attrs.field(default=2, validator=[ge(0), le(64)])
    idle: timedelta = attrs.field(default=timedelta(minutes=5), validator=ge(_ZERO))
    boxes: int = attrs.field(default=16, validator=[ge(1), le(1000)])
    url: str | None = None
    patience: timedelta = attrs.field(default=timedelta(seconds=30), validator=gt(_ZERO))


def _docker(config: DockerConfig) -> Sandbox:
    options = {f.name: getattr(config, f.name) for f in attrs.fields(DockerConfig)}
    options["limits"] = config.limits.made()
    made: Sandbox = load("astro.sandboxes.docker:DockerSandbox")(**options)
    return made


def _sqlite(config: SqliteConfig) -> Store:
    options = {f.name: getattr(config, f.name) for f in attrs.fields(SqliteConfig)}
    made: Store = load("astro.stores.sqlite:SqliteStore")(options.pop("path"), **options)
    return made


def _memory(config: MemoryConfig) -> Store:
    made: Store = load("astro.stores.memory:MemoryStore")(blob_grace=config.blob_grace)
    return made


DOCKER: Final = Recipe(DockerConfig, _docker)
SQLITE: Final = Recipe(SqliteConfig, _sqlite)
MEMORY: Final = Recipe(MemoryConfig, _memory)
