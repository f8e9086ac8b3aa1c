"""No network: a connection that leaves this machine is an error, at the call that asks for it.

Loopback addresses and Unix sockets work as ever. Seen is what goes through Python's `socket`
module, as asyncio, trio and most clients do; a library that opens its sockets in C does not.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from astro.testing.replacing import replaced

__all__ = ["NetworkForbiddenError", "forbid_network"]

_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
_BACKWARDS = ("gethostbyaddr",)  # those for which a number has to be looked up as well
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class NetworkForbiddenError(AssertionError):
    """Raised when code reaches for the network where that is forbidden.

    It is no `OSError`, so that nobody takes it for a network that is down.

    Attributes:
        what: What was asked for.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what}: the network is forbidden here. Give the code a double, or a server on "
            "127.0.0.1."
        )


@contextmanager
def forbid_network() -> Iterator[list[str]]:
    """Refuse to connect, send or look up names, but to this machine; in all threads.

    Yields:
        What was asked for and refused so far, also if the code has swallowed the error.
    """
    asked: list[str] = []

    def refuse(what: str) -> None:
        asked.append(what)
        raise NetworkForbiddenError(what)

    with ExitStack() as stack:
        for name in ("connect", "connect_ex", "sendto", "sendmsg"):
            guarded = _guarded(getattr(socket.socket, name), refuse)
            stack.enter_context(replaced(socket.socket, name, guarded))
        for name in _LOOKUPS:
            stack.enter_context(replaced(socket, name, _asking(getattr(socket, name), refuse)))
        yield asked


def _guarded(send: Callable[..., Any], refuse: Callable[[str], None]) -> Callable[..., Any]:
    """Return a socket's method that looks at the address first, which is its last argument."""
    name = send.__name__

    def checked(self: socket.socket, *args: Any) -> Any:
        address = args[3] if name == "sendmsg" and len(args) > 3 else None
        if name != "sendmsg" and args:
            address = args[-1]
        if address is not None and not _stays(self.family, address):
            if name.startswith("connect"):
                self.close()  # its owner would, had the system refused
            refuse(f"{name}({address!r})")
        return send(self, *args)

    return checked


def _asking(look_up: Callable[..., Any], refuse: Callable[[str], None]) -> Callable[..., Any]:
    """Return a function that looks up only what takes no asking."""

    known = _is_here if look_up.__name__ in _BACKWARDS else _is_known

    def checked(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not known(host):
            refuse(f"{look_up.__name__}({_text(host)!r})")
        return look_up(host, *args, **kwargs)

    return checked


def _stays(family: int, address: Any) -> bool:
    """Return whether an address is one of this machine."""
    if family not in _INTERNET:
        return family == getattr(socket, "AF_UNIX", None)
    return isinstance(address, tuple) and bool(address) and _is_here(address[0])


def _is_known(host: Any) -> bool:
    return host is None or _is_here(host) or _number(host) is not None


def _is_here(host: Any) -> bool:
    text = _text(host)
    if text in ("", "localhost") or text.endswith(".localhost"):
        return True
    number = _number(host)
    if isinstance(number, IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    # Nobody's address leads to this machine when it is connected to.
    return number is not None and (number.is_loopback or number.is_unspecified)


def _number(host: Any) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        return ip_address(_text(host).partition("%")[0])
    return None


def _text(host: Any) -> str:
    text = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host)
    return text.lower().removesuffix(".")
