"""Turn a function on a connection into a method of a store that runs it as one transaction.

The method has the parameters of the function, without the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from db import leases
from db.engine import Database
from star_al.types import Lease

P = ParamSpec("P")
T = TypeVar("T")


class OnDatabase:
    """A class whose methods are transactions on one database."""

    def __init__(self, database: Database) -> None:
        self.database = database


def reads(body: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[OnDatabase, P], T]:
    """A method that only reads and blocks no writer."""

    def method(self: OnDatabase, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.database.read(lambda connection: body(connection, *args, **kwargs))

    return method


def writes(body: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[OnDatabase, P], T]:
    """A method that writes without a lease."""

    def method(self: OnDatabase, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.database.write(lambda connection: body(connection, *args, **kwargs))

    return method


def fenced(
    body: Callable[Concatenate[Connection, int, P], T],
) -> Callable[Concatenate[OnDatabase, Lease, P], T]:
    """A method that writes to the campaign of a lease, whose id ``body`` gets; refused if the lease is lost."""

    def method(self: OnDatabase, lease: Lease, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def guarded(connection: Connection) -> T:
            leases.fence(connection, lease)
            return body(connection, lease.campaign_id, *args, **kwargs)

        return self.database.write(guarded)

    return method
