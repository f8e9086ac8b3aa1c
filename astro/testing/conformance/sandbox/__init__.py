"""SandboxConformance: what every sandbox promises, as tests that its author inherits.

    class TestMySandbox(SandboxConformance):
        def make(self):
            return MySandbox(...)

The image of the boxes has `python3`; what is run there is in `PROBES`. What only some sandboxes
promise is an attribute of the class: a promise that is not made skips its tests, and says so.
"""

from __future__ import annotations

from typing import ClassVar

from astro.testing.conformance.sandbox.commands import CommandTests
from astro.testing.conformance.sandbox.files import FileTests
from astro.testing.conformance.sandbox.isolation import IsolationTests
from astro.testing.conformance.sandbox.opening import OpeningTests

__all__ = ["SandboxConformance"]


class SandboxConformance(OpeningTests, CommandTests, FileTests, IsolationTests):
    """What every sandbox promises; inherit it and say how yours is made.

    Attributes:
        spec: Of the boxes that are opened.
        moment: A time-out that is meant to pass.
        output: Bytes of each of stdout and stderr that are kept at most.
        links: Whether boxes have symbolic links.
        streams: Whether output can be had while a command runs; override `listen`.
        counts: Whether the provider can tell how many boxes are open; override `count`.
        isolates: Whether what runs in a box can neither see nor change the host.
        network: "none" promises that a box has none; "" promises nothing.
        limits_memory: Bytes that a command cannot have; 0 promises no limit.
        limits_processes: Processes that a box cannot have; 0 promises no limit.
        limits_disk: Bytes that the files of a box cannot have; 0 promises no limit.
        trio: Whether the sandbox works on trio too.
        patience: What any command that ends by itself may take.
    """

    __test__: ClassVar[object] = False
