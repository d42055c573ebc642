"""A specification together with the file it came from, which its relative paths start at."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from star_al.config.spec.campaign import CampaignSpec
from star_al.errors import ConfigError


class CampaignFile(BaseModel):
    """A specification and the file it came from; relative paths in it are relative to that file."""

    model_config = ConfigDict(frozen=True)

    path: Path
    spec: CampaignSpec
    shared_trunk: Path | None = None  # of the runs of a study

    def resolve(self, name: str) -> Path:
        """``name`` as an absolute path, relative to the campaign file's folder."""
        return (self.path.parent / Path(name).expanduser()).resolve()

    @property
    def database_url(self) -> str:
        """The URL to connect to, with ``${NAME}`` read from the environment.

        Raises:
            ConfigError: a named variable is not set.
        """
        url = self.spec.database.url
        if url is None:
            return f"sqlite:///{self.resolve(self.spec.name + '.db')}"
        if whole := re.fullmatch(r"\$\{(\w+)\}", url):
            url = self._environment(whole)
        else:  # quoted, so that a password may hold any character and never spills into the host
            url = re.sub(r"\$\{(\w+)\}", lambda match: quote(self._environment(match), safe=""), url)
        if url.startswith("sqlite:///"):
            return f"sqlite:///{self.resolve(url.removeprefix('sqlite:///'))}"
        return url

    @property
    def artefact_folder(self) -> Path:
        """Where adapters and score files lie."""
        return self.resolve(self.spec.artefacts or f"{self.spec.name}-artefacts")

    @property
    def trunk_folder(self) -> Path:
        """Where activations of frozen blocks are kept."""
        return self.shared_trunk or self.artefact_folder / "trunk"

    def _environment(self, match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise ConfigError(
                f"{self.path}: database.url names ${{{match[1]}}}, which is not set. Export {match[1]} and run again."
            )
        return value
