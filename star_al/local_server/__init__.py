"""A Label Studio of one's own: installed once, on 127.0.0.1, watched, with nobody to ask for a token."""

from star_al.local_server.install import VERSION
from star_al.local_server.lifecycle import credentials, running, start, stop
from star_al.local_server.processes import Identity, identity
from star_al.local_server.where import LocalServer, Place, default_place

__all__ = [
    "VERSION",
    "Identity",
    "LocalServer",
    "Place",
    "credentials",
    "default_place",
    "identity",
    "running",
    "start",
    "stop",
]
