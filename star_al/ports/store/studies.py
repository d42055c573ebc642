"""What a store promises of studies."""

from __future__ import annotations

from typing import Protocol

from star_al.types import Study


class Studies(Protocol):
    """Campaigns that are run to be compared."""

    def save_study(self, study: Study) -> Study:
        """Make the study, or add its runs to the one of this name, whose config stays; return all of it."""

    def study(self, name: str) -> Study | None:
        """The study of this name, its runs ordered by strategy and seed."""
