"""Which database a project is used from: of a database and its copy, only one may go on with it.

Each run puts a new stamp on the project, which its database keeps. A run that finds a stamp that its database does
not know shares its project with a copy: the two would delete each other's tasks without end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from star_al.errors import AnnotatorError


class Ownership:
    """The stamps of one campaign's project.

    Args:
        load: Loads the stamps that the database knows, the newest first; None if any stamp may be replaced.
        save: Keeps stamps in the database.
    """

    def __init__(
        self, load: Callable[[], Sequence[str] | None], save: Callable[[Sequence[str]], None]
    ) -> None:
        self._load, self._save = load, save
        self._ours: str | None = None  # the stamp of this process

    def check(self, found: str | None, where: str) -> None:
        """Check the stamp that a project has.

        Args:
            found: The stamp; None if people removed it, or no run has put one yet.
            where: The project, in words.

        Raises:
            AnnotatorError: Another database uses the project.
        """
        known = self._load() if self._ours is None else [self._ours]
        if found is None or known is None or found in known:
            return
        raise AnnotatorError(
            f"{where} is used from another database: this one or that one is a copy. Nothing was changed. "
            "If this is the copy, run `star-al db separate CONFIG`, and it goes on with a project of its own. "
            "If it is the original, run `star-al db claim CONFIG`, and the project is used from here again."
        )

    def next_stamp(self, found: str | None) -> str | None:
        """The stamp to put on a project that has the stamp ``found``; None if it is there already.

        It is in the database before it is on the project: a run that is killed in between knows both.
        """
        if self._ours is None:
            self._ours = secrets.token_hex(8)
            self._save([self._ours, *([] if found is None else [found])])
        return None if found == self._ours else self._ours


def shared() -> Ownership:
    """An ownership that accepts any stamp, and puts its own: for work that a person asked for."""
    return Ownership(lambda: None, lambda _: None)
