"""A specification together with the file it came from, which its relative paths start at."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from star_al.common.sqlite_address import split_sqlite_address, sqlite_address
from star_al.config.spec.campaign import CampaignSpec
from star_al.config.spec.environment_variables import NamedVariable, variables_of
from star_al.errors import ConfigError

DATABASE_URL = "DATABASE_URL"
"""The environment variable that names the database of campaigns whose file names none."""


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

        Without ``database.url`` it is the file ``<name>.db`` beside the campaign file if that exists, else the
        variable ``DATABASE_URL``, else that file, to be created.

        Raises:
            ConfigError: A variable is not set, or the file may not read it.
        """
        url = self.spec.database.url
        if url is None:
            own = self.resolve(self.spec.name + ".db")
            # A campaign that has begun in its own file goes on there when another program sets the variable.
            url = "" if own.exists() else os.environ.get(DATABASE_URL, "").strip()
            if url and not re.match(r"(sqlite|postgres(ql)?)\b", url):
                raise ConfigError(
                    f"{self.path}: {DATABASE_URL} names a database that star_al cannot use (only SQLite and "
                    f"Postgres). Unset {DATABASE_URL}, or name a database in database.url."
                )
            return self._address(url) if url else sqlite_address(own)
        for variable in variables_of(self.spec.database):
            written, value = f"${{{variable.name}}}", self._value(variable)
            # Quoted, so that a password may contain any character without changing the host.
            url = value if url == written else url.replace(written, quote(value, safe=""))
        return self._address(url)

    def _address(self, url: str) -> str:
        """``url``, in which the path of a SQLite file is made absolute."""
        parts = split_sqlite_address(url)
        if parts is None:
            return re.sub(r"^postgres://", "postgresql://", url)  # the form that hosting services set
        path, query = parts
        return sqlite_address(self.resolve(path)) + query

    @property
    def artefact_folder(self) -> Path:
        """The folder of adapters and score files; with ``artefact_address``, of this machine's copies."""
        named = None if self.artefact_address else self.spec.artefacts
        return self.resolve(named or f"{self.spec.name}-artefacts")

    @property
    def artefact_address(self) -> str | None:
        """The address of the shared storage for artefacts; None if they are in a folder alone."""
        named = self.spec.artefacts
        return named if named is not None and "://" in named else None

    @property
    def trunk_folder(self) -> Path:
        """The folder of cached activations of frozen blocks."""
        return self.shared_trunk or self.artefact_folder / "trunk"

    @property
    def feature_folder(self) -> Path:
        """The folder of the features that a head reads of texts; the runs of a study share one."""
        return self.trunk_folder.with_name("features")

    def _value(self, variable: NamedVariable) -> str:
        value = variable.value()
        if value is None:
            raise ConfigError(
                f"{self.path}: database.url names ${{{variable.name}}}, which is not set. "
                f"Export {variable.name} and try again."
            )
        return value
