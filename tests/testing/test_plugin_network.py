"""No network: what leaves this machine is refused at the call, and nothing else is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from astro.testing.network import NetworkForbiddenError, forbid_network

FAR = ("203.0.113.1", 80)  # set aside for documentation; nobody has it
FAR_6 = ("2001:db8::1", 80, 0, 0)


def connect(address: tuple[object, ...] = FAR, family: int = socket.AF_INET) -> None:
    with socket.socket(family) as made:
        made.settimeout(0.01)
        made.connect(address)


def connect_ex() -> None:
    with socket.socket() as made:
        made.settimeout(0.01)
        made.connect_ex(FAR)


def send_to() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        made.sendto(b"hello", FAR)


def send_to_with_flags() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        made.sendto(b"hello", 0, FAR)


def send_message() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        made.sendmsg([b"hello"], [], 0, FAR)


WAYS_OUT: dict[str, Callable[[], object]] = {
    "connect": connect,
    "connect to an address of version 6": lambda: connect(FAR_6, socket.AF_INET6),
    "connect to a mapped address": lambda: connect(("::ffff:203.0.113.1", 80), socket.AF_INET6),
    "connect_ex": connect_ex,
    "sendto": send_to,
    "sendto with flags": send_to_with_flags,
    "sendmsg": send_message,
    "create_connection": lambda: socket.create_connection(FAR, timeout=0.01),
    "create_connection by name": lambda: socket.create_connection(("example.org", 80)),
    "getaddrinfo": lambda: socket.getaddrinfo("example.org", 80),
    "getaddrinfo of bytes": lambda: socket.getaddrinfo(b"example.org", 80),
    "getaddrinfo by keyword": lambda: socket.getaddrinfo(host="example.org", port=80),
    "gethostbyname": lambda: socket.gethostbyname("localhost.example.org"),
    "gethostbyname_ex": lambda: socket.gethostbyname_ex("example.org"),
    "gethostbyaddr": lambda: socket.gethostbyaddr("203.0.113.1"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_way_to_the_network_is_refused(way: str) -> None:
    with forbid_network() as asked, pytest.raises(NetworkForbiddenError, match="is forbidden"):
        WAYS_OUT[way]()
    assert len(asked) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["203.0.113.1", "example.org"])
async def test_an_async_client_is_refused(host: str) -> None:
    with forbid_network() as asked, pytest.raises((NetworkForbiddenError, ExceptionGroup)):
        await anyio.connect_tcp(host, 80)
    assert len(asked) == 1
    assert host in asked[0]


def test_what_code_swallows_is_on_record() -> None:
    with forbid_network() as asked, suppress(Exception):
        connect()
    assert asked == ["connect(('203.0.113.1', 80))"]


def test_a_network_that_is_forbidden_is_not_taken_for_one_that_is_down() -> None:
    with forbid_network(), pytest.raises(NetworkForbiddenError), suppress(OSError):
        connect()


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_this_machine_is_within_reach(host: str) -> None:
    with forbid_network() as asked:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, await anyio.connect_tcp(host, port):
            pass
    assert asked == []


def test_datagrams_reach_this_machine() -> None:
    with (
        forbid_network(),
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        one.bind(("127.0.0.1", 0))
        other.sendto(b"hello", one.getsockname())
        other.connect(one.getsockname())
        other.sendmsg([b"again"])
        assert [one.recv(5), one.recv(5)] == [b"hello", b"again"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_unix_sockets_are_within_reach(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with forbid_network(), socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"hello")


def test_the_network_is_what_it_was_afterwards() -> None:
    before = dict(vars(socket.socket)), dict(vars(socket))
    with forbid_network(), forbid_network():
        assert (dict(vars(socket.socket)), dict(vars(socket))) != before
    assert (dict(vars(socket.socket)), dict(vars(socket))) == before
