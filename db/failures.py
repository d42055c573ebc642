"""Why a transaction failed: for a passing reason, or for one that a user reads in words."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError, StatementError

from star_al.errors import StarALError, StoreError

_SQLITE_BUSY = ("database is locked", "database table is locked", "database schema is locked")
_POSTGRES_ROLLED_BACK = frozenset({"40001", "40P01", "55P03"})  # serialisation, deadlock, lock not available
_POSTGRES_AWAY = frozenset({"57P01", "57P02", "57P03", "53300"})  # down, crashed, starting, too many clients
_REFUSED = ("password", "does not exist", "pg_hba.conf", "not permitted", "SSL")
"""Words of a refused connection that waiting does not cure. Other failures to connect have no code either."""


def is_busy(exc: DBAPIError) -> bool:
    """True if others held what a transaction needed, and it was rolled back."""
    state = getattr(exc.orig, "sqlstate", None)
    return str(exc.orig).startswith(_SQLITE_BUSY) or state in _POSTGRES_ROLLED_BACK


def is_away(exc: DBAPIError) -> bool:
    """True if the server cannot be reached now, or went away during a transaction."""
    if exc.connection_invalidated:
        return True
    if not isinstance(exc, OperationalError) or not hasattr(exc.orig, "sqlstate"):
        return False
    state: str | None = getattr(exc.orig, "sqlstate", None)
    if state is None:  # the connection was not made
        return not any(word in str(exc.orig) for word in _REFUSED)
    return state in _POSTGRES_AWAY or state.startswith("08")


def translated(exc: SQLAlchemyError, where: str) -> StarALError:
    """Turn an error into what a user reads: what happened, in which database, and what to do."""
    original = exc.orig if isinstance(exc, StatementError) else None
    if isinstance(original, StarALError):  # a column type raised it
        return original
    reason = " ".join(str(original or exc).split()) or type(original).__name__
    if isinstance(exc, DBAPIError):
        for sign, advice in _ADVICE.items():
            if sign in reason:
                return StoreError(f"{where}: {advice}")
    if isinstance(exc, IntegrityError):
        return StoreError(
            f"{where}: refused, because it contradicts what is stored; nothing was written ({reason})."
        )
    if isinstance(exc, OperationalError):
        return StoreError(
            f"{where}: cannot be reached or used ({reason}). Check that it runs, and its address."
        )
    return StoreError(f"{where}: the database refused a statement; nothing was written ({reason}).")


# By text: the drivers raise the same class for most of these, and only some carry a code.
_ADVICE = {
    "file is not a database": "not a SQLite database. Name another file in database.url.",
    "disk image is malformed": "the database file is damaged. Restore it from a backup.",
    "unable to open database file": "cannot be opened. Check that its folder exists and may be written.",
    "readonly database": "may not be written. Check the permissions of the file and its folder.",
    "disk is full": "the disk is full; nothing was written. Free some space and run again.",
    "No space left on device": "the disk is full; nothing was written. Free some space and run again.",
    "disk I/O error": "the disk cannot be read or written (disk I/O error). Check the disk, then run again.",
    "database is locked": "another program kept it locked for too long. End that program and run again.",
    "no such table": "a table is missing. Run `star-al db check` for details.",
    "password authentication failed": "wrong user or password. Check database.url and the environment.",
}
