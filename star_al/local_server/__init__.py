"""A Label Studio of the user's own: installed once, listening on 127.0.0.1, supervised, with a stored login."""

from star_al.local_server.credentials import THIS_MACHINE, LocalServer
from star_al.local_server.install import VERSION
from star_al.local_server.invitation import invitation
from star_al.local_server.lifecycle import credentials, running, start, stop, supervised
from star_al.local_server.place import Place, default_place

__all__ = [
    "THIS_MACHINE",
    "VERSION",
    "LocalServer",
    "Place",
    "credentials",
    "default_place",
    "invitation",
    "running",
    "start",
    "stop",
    "supervised",
]
