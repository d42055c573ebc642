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
    """A specification and the file it came from; its relative paths start at that file's folder."""

    model_config = ConfigDict(frozen=True)

    path: Path
    spec: CampaignSpec
    shared_trunk: Path | None = None  # one folder of cached activations for all runs of a study

    def resolve(self, name: str) -> Path:
        """Return ``name`` as an absolute path; a relative one starts at the campaign file's folder."""
        return (self.path.parent / Path(name).expanduser()).resolve()

    @property
    def database_url(self) -> str:
        """The URL to connect to, with ``${NAME}`` read from the environment.

        Raises:
            ConfigError: A variable is not set.
        """
        url = self.spec.database.url
        if url is None:
            return f"sqlite:///{self.resolve(self.spec.name + '.db')}"
        if whole := re.fullmatch(r"\$\{(\w+)\}", url):
            url = self._environment(whole)
        else:  # quoted, so that a password may contain any character without changing the host
            url = re.sub(r"\$\{(\w+)\}", lambda match: quote(self._environment(match), safe=""), url)
        if url.startswith("sqlite:///"):
            return f"sqlite:///{self.resolve(url.removeprefix('sqlite:///'))}"
        return url

    @property
    def artefact_folder(self) -> Path:
        """The folder of adapters and score files."""
        return self.resolve(self.spec.artefacts or f"{self.spec.name}-artefacts")

    @property
    def trunk_folder(self) -> Path:
        """The folder of cached activations of frozen blocks."""
        return self.shared_trunk or self.artefact_folder / "trunk"

    def _environment(self, match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise ConfigError(
                f"{self.path}: database.url names ${{{match[1]}}}, which is not set. Export {match[1]} and try again."
            )
        return value
