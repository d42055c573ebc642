"""Environment variables that a campaign file names, and which of them it may have.

A campaign file may come from somebody else. If it could name any variable, it could send any secret of the user's
environment to an address of its choice. So names must begin as those of this program and its servers do; another
name is read only after the user has confirmed, on a terminal, that its value may go where the file sends it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from star_al.common.files import disk_errors, replacing
from star_al.config.spec.annotator import LabelStudioSpec
from star_al.config.spec.campaign import CampaignSpec
from star_al.config.spec.database import DatabaseSpec
from star_al.errors import ConfigError

PREFIXES = ("LABEL_STUDIO", "STAR_AL", "DATABASE", "PG")
"""How the names of variables begin that a campaign file may read without being asked."""

_IN_BRACES = re.compile(r"\$\{(\w+)\}")
"""A variable in ``database.url``."""


@dataclass(frozen=True)
class NamedVariable:
    """A variable that a campaign file names.

    Attributes:
        name: The variable.
        setting: The setting that names it, by its dotted name.
        address: The address that it is part of or is sent to, as the file has it.
    """

    name: str
    setting: str
    address: str

    @property
    def is_trusted(self) -> bool:
        """True if its value may be read: by its name, or because the user has confirmed it."""
        return self.name.startswith(PREFIXES) or [self.name, self.address] in _confirmed()

    def value(self) -> str | None:
        """The variable's value; None if it is not set.

        Raises:
            ConfigError: The file may not read it.
        """
        if not self.is_trusted:
            *some, last = PREFIXES
            raise ConfigError(
                f"{self.setting} names the environment variable {self.name}, {self.in_words()}. Variables of a "
                f"campaign file begin with {', '.join(some)} or {last}. Rename it, or run the command on a "
                "terminal, which asks whether you trust it."
            )
        return os.environ.get(self.name)

    def in_words(self) -> str:
        """Where its value goes, without login."""
        parts = urlsplit(_IN_BRACES.sub("…", self.address))
        place = parts._replace(scheme="", netloc=parts.netloc.rpartition("@")[2]).geturl().removeprefix("//")
        return f"whose value is sent to {place}" if place.strip("…") else "whose value is an address"

    def confirm(self) -> None:
        """Remember that the user trusts the file with this variable.

        Raises:
            ConfigError: The list of confirmed variables cannot be written.
        """
        path = _list_of_confirmed()
        with disk_errors(ConfigError, f"{path}: cannot be written", "Check its folder."):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as new:
                new.write_text(json.dumps([*_confirmed(), [self.name, self.address]]), encoding="utf-8")


def named_variables(spec: CampaignSpec) -> Iterator[NamedVariable]:
    """The environment variables that a campaign file names, and where each value goes."""
    if spec.annotator.kind == "label_studio":
        yield token_variable(spec.annotator)
    yield from variables_of(spec.database)


def token_variable(annotator: LabelStudioSpec) -> NamedVariable:
    """The variable with the token of the annotation server."""
    return NamedVariable(annotator.token_env, "annotator.token_env", annotator.url or "http://this machine")


def variables_of(database: DatabaseSpec) -> Iterator[NamedVariable]:
    """The variables in ``database.url``."""
    url = database.url or ""
    for match in _IN_BRACES.finditer(url):
        yield NamedVariable(match[1], "database.url", url)


def _confirmed() -> list[object]:
    """Pairs of a name and an address; none if the list is missing or damaged."""
    try:
        confirmed = json.loads(_list_of_confirmed().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return confirmed if isinstance(confirmed, list) else []


def _list_of_confirmed() -> Path:
    return platformdirs.user_config_path("star_al") / "trusted_variables.json"
