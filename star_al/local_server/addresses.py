"""Names and addresses under which this machine, and so a server on it, can be reached."""

from __future__ import annotations

import socket
from contextlib import suppress

import psutil

from star_al.errors import AnnotatorError
from star_al.local_server.credentials import ALL_ADDRESSES, THIS_MACHINE

SOMEWHERE = ("192.0.2.1", 9)
"""An address that no machine has; nothing is sent there."""


def check_host(host: str) -> None:
    """Check that a server can listen on an address.

    Raises:
        AnnotatorError: It is not an IPv4 address of this machine, nor the name of one.
    """
    try:
        if not host:
            raise ValueError("empty")
        with socket.socket() as probe:
            probe.bind((host, 0))
    except (OSError, ValueError) as exc:
        own = ", ".join(_own_addresses())
        raise AnnotatorError(
            f"--host {host}: cannot listen there. Pass an IPv4 address of this machine ({own}), "
            f"or {ALL_ADDRESSES} for all of them."
        ) from exc


def names_of(host: str) -> list[str]:
    """What browsers may call a server that listens on ``host``; it refuses all other names."""
    names = [THIS_MACHINE, "localhost"]
    if host == ALL_ADDRESSES:
        names += _own_addresses()
    if host != THIS_MACHINE:
        name = socket.gethostname().lower()
        names += [host, name, f"{name}.local", socket.getfqdn().lower()]
    return list(dict.fromkeys(name for name in names if name and name != ALL_ADDRESSES))


def outside_address(host: str) -> str:
    """The address by which other machines reach a server that listens on ``host``, as far as can be told here."""
    if host != ALL_ADDRESSES:
        return host
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(SOMEWHERE)  # chooses the interface that leads out; a datagram socket sends nothing yet
        return str(probe.getsockname()[0])
    return socket.gethostname()


def _own_addresses() -> list[str]:
    """All IPv4 addresses of this machine."""
    return [
        each.address
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family == socket.AF_INET
    ]
