"""`astro sandbox`: look at the sandbox, and get the image that boxes are made of."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import click

from astro.cli.opening import Place, place_options, read_place
from astro.cli.outcome import Code, note, write, write_json
from astro.core.errors import InvalidArgumentsError
from astro.core.sandbox import SandboxReport
from astro.sandboxes.docker.daemon import Daemon
from astro.sandboxes.docker.images import build as build_image
from astro.sandboxes.docker.images import pull as pull_image
from astro.sandboxes.docker.sandbox import DEFAULT_IMAGE, DockerSandbox
from astro.setup.assembly import sandbox_of

__all__ = ["build", "check", "pull", "sandbox"]

_NAMED: Final = click.option("--image", default=DEFAULT_IMAGE, help="Name of the image.")


@click.group()
def sandbox() -> None:
    """Check the sandbox, or get its image."""


@sandbox.command()
@place_options
def check(as_json: bool, **place: Any) -> int:
    """Open a box, and report what the sandbox is; of the settings, or else Docker's default."""
    found = anyio.run(partial(_check, Place(**place)))
    if as_json:
        limits = list(found.unenforced)
        write_json({"isolation": found.isolation, "image": found.image, "unenforced": limits})
    else:
        write([f"A box opens and is isolated: {found.isolation}, image {found.image[:19]}."])
        if found.unenforced:
            write([f"Its runtime does not enforce limits of {', '.join(found.unenforced)}."])
    return Code.OK


async def _check(place: Place) -> SandboxReport:
    made: Any = sandbox_of(read_place(place)) or DockerSandbox()
    found: SandboxReport | None = await made.check()
    if found is None:
        raise InvalidArgumentsError(
            f"{type(made).__name__} opens boxes, and says nothing of them.",
            remedy="Check it with its own tools.",
        )
    return found


@sandbox.command()
@_NAMED
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Another Dockerfile.",
)
def build(image: str, file: Path | None) -> int:
    """Build the image of boxes from ASTRO's Dockerfile; takes a network."""
    with closing(Daemon()) as daemon:
        _tell(build_image(daemon, image, file))
    write([f"Built {image}."])
    return Code.OK


@sandbox.command()
@click.argument("image")
def pull(image: str) -> int:
    """Pull IMAGE from its registry; boxes never do that by themselves."""
    with closing(Daemon()) as daemon:
        _tell(pull_image(daemon, image))
    write([f"Pulled {image}."])
    return Code.OK


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        note(line)
