"""``database``: where rounds, labels and statistics are kept."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from star_al.config.spec.base import Spec


class DatabaseSpec(Spec):
    """Where rounds, labels and statistics are kept."""

    url: str | None = Field(
        default=None,
        description=(
            "Address of the database; by default SQLite, in `<name>.db` beside the campaign file. "
            "If that file does not exist, the environment variable `DATABASE_URL` may name another database. "
            "Write a password as `${NAME}`: it is read from that environment variable, "
            "whose name begins as for `annotator.token_env`. "
            "A plaintext password is refused."
        ),
        examples=["postgresql+psycopg://me:${STAR_AL_DB_PASSWORD}@db.example.org/labels"],
    )
    lease_seconds: Annotated[float, Field(ge=1.0)] = Field(
        default=60.0,
        description="Seconds of silence after which another process may take over the campaign.",
    )

    @field_validator("url")
    @classmethod
    def _no_plaintext_password(cls, url: str | None) -> str | None:
        secrets = re.findall(r"(?i)^[^:/]+://[^:/@]*:([^@]+)@|[?&][^=&]*passw(?:or)?d=([^&]+)", url or "")
        if any(not re.fullmatch(r"\$\{\w+\}", user or query) for user, query in secrets):
            raise ValueError("has a plaintext password; write ${NAME} and set NAME in the environment")
        return url
