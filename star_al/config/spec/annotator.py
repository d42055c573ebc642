"""``annotator``: who answers; one section per kind."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from star_al.config.spec.base import Fraction, Positive, Spec, choices
from star_al.errors import ConfigError

VARIABLE = r"^[A-Z_][A-Z0-9_]*$"


class OracleSpec(Spec):
    """A simulated annotator that answers from a column of the data."""

    kind: Literal["oracle"] = Field(
        default="oracle",
        description="A simulated annotator that answers from a column of the data, to rehearse a campaign.",
    )
    gold: str = Field(description="Column with the right answers.", examples=["label"])
    accuracy: Fraction = Field(
        default=1.0,
        description=(
            "Share of texts that are answered correctly; the others get a wrong label. "
            "The same text always gets the same answer. A wrong set of labels has one more or one less; a wrong text "
            "has another number, or a word less."
        ),
    )
    skips: Fraction = Field(default=0.0, description="Share of texts that are skipped.")


LABEL_STUDIO_URL = "LABEL_STUDIO_URL"
"""The environment variable with the server's address, for campaigns whose file names none."""


class LabelStudioSpec(Spec):
    """People, who label in Label Studio. Its token comes from the environment, or from `star-al up`."""

    kind: Literal["label_studio"] = Field(description="People, who label in Label Studio.")
    url: str | None = Field(
        default=None,
        description=(
            "Address of the Label Studio server; by default the local one of `star-al up`. "
            "If the environment variable `LABEL_STUDIO_URL` is set, its address is the default."
        ),
        examples=["https://label-studio.example.org"],
    )
    token_env: Annotated[str, Field(pattern=VARIABLE)] = Field(
        default="LABEL_STUDIO_API_KEY",
        description=(
            "Environment variable that holds your access token for `url`. "
            "A personal access token or a legacy token. Its name begins with `LABEL_STUDIO`, `STAR_AL`, "
            "`DATABASE` or `PG`; another name is confirmed once on a terminal."
        ),
    )
    project: Positive | None = Field(
        default=None,
        description="Id of an existing project to use; by default a new one is created.",
        examples=[12],
    )
    title: str | None = Field(
        default=None, description="Title of the new project; by default the campaign's name."
    )
    guidelines: str | None = Field(
        default=None,
        description="Instructions that annotators see in the project, as plain text.",
        examples=["Choose the main reason why the customer wrote."],
    )
    question: str | None = Field(
        default=None,
        description="Line above the labels; a general question by default.",
        examples=["What is this ticket about?"],
    )
    unsure: str | None = Field(
        default=None,
        description="Text of an additional choice that counts as a skip; by default there is none.",
        examples=["I am not sure"],
    )
    show_prediction: bool = Field(
        default=False,
        description=(
            "Show annotators the model's answer, which biases them. A written one is a draft that they can edit; each "
            "round tells how many drafts were kept and how much the others were changed."
        ),
    )
    show_reason: bool = Field(default=False, description="Show annotators why a text was chosen.")
    deleted: Literal["restore", "drop"] = Field(
        default="restore",
        description="What happens to an open task that somebody deletes in Label Studio.",
        json_schema_extra=choices(restore="it is created again", drop="its text is dropped without a label"),
    )
    timeout: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=30.0, description="Seconds that one request to the server may take."
    )

    @field_validator("url")
    @classmethod
    def _is_an_address_without_secrets(cls, url: str | None) -> str | None:
        return None if url is None else checked_address(url)

    @property
    def server_url(self) -> str | None:
        """The address of the server: ``url``, else the variable ``LABEL_STUDIO_URL``; None for the local server.

        Raises:
            ConfigError: The variable holds no address.
        """
        named = os.environ.get(LABEL_STUDIO_URL, "").strip()
        if self.url is not None or not named:
            return self.url
        try:
            return checked_address(named)
        except ValueError as exc:
            raise ConfigError(f"{LABEL_STUDIO_URL} {exc}. Correct it, or unset it.") from exc


_PAGE = re.compile(
    r"/(projects(/(?P<project>\d+)(/.*)?)?|user/(login|signup|account)(/.*)?|organization|api(/.*)?)/?$"
)
"""Paths below a server's address that are pages of Label Studio."""


def checked_address(url: str) -> str:
    """The address of a server without the last slash.

    Raises:
        ValueError: It is no address, or holds more than an address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an address like http://127.0.0.1:8080")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("holds more than an address; the token comes from the environment (token_env)")
    page = _PAGE.search(parts.path)
    if page is not None:
        server = url.removesuffix(parts.path) + parts.path[: page.start()]
        number = f", and {page['project']} as annotator.project" if page["project"] else ""
        raise ValueError(f"is the address of a page of Label Studio; write {server}{number}")
    return url.rstrip("/")


class ApiSpec(Spec):
    """A Python program, which asks and tells through ``star_al.Campaign``."""

    kind: Literal["api"] = Field(
        description="A Python program: `star_al.Campaign` asks, your own code or notebook answers."
    )


AnnotatorSpec: TypeAlias = Annotated[OracleSpec | LabelStudioSpec | ApiSpec, Field(discriminator="kind")]
