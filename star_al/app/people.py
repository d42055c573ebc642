"""Who answers a campaign's queries, and how they are reached."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from star_al.annotators.oracle import Oracle
from star_al.app.compose import find_started, reading
from star_al.config.spec import CampaignFile, LabelStudioSpec, OracleSpec
from star_al.errors import AnnotatorError, ConfigError
from star_al.ports import Annotator
from star_al.task import ClosedTask
from star_al.types import Campaign

if TYPE_CHECKING:
    from star_al.annotators.label_studio.annotator import LabelStudioAnnotator
    from star_al.annotators.label_studio.client import Connection


def open_annotator(file: CampaignFile, campaign: Campaign) -> Annotator:
    """The annotator that the file names; nothing is asked of a server yet.

    Raises:
        AnnotatorError: there is no token for the server, or the local one does not run.
    """
    spec = file.spec
    match spec.annotator:
        case OracleSpec() as oracle:
            return Oracle(oracle, ClosedTask(spec.task), campaign.seed)
        case LabelStudioSpec() as people:
            return label_studio(file, people, campaign)


def label_studio(file: CampaignFile, people: LabelStudioSpec, campaign: Campaign) -> LabelStudioAnnotator:
    """People in Label Studio.

    Raises:
        AnnotatorError: as ``open_annotator``.
    """
    from star_al.annotators.label_studio.annotator import LabelStudioAnnotator

    spec = file.spec
    return LabelStudioAnnotator(
        connection(people), people, ClosedTask(spec.task), campaign, overlap=spec.labelling.overlap
    )


def connection(people: LabelStudioSpec) -> Connection:
    """Address and token: of the server that is configured, or else of the local one.

    Raises:
        AnnotatorError: there is no token for the server, or the local one does not run.
    """
    from star_al.annotators.label_studio.client import Connection

    url, token = _local() if people.url is None else (people.url, _token(people.url, people.token_env))
    return Connection(url, token, people.timeout)


def check_labels(file: CampaignFile, people: LabelStudioSpec) -> None:
    """Look whether people can be shown the labels.

    Raises:
        ConfigError: one of them cannot stand in a label config.
    """
    from star_al.annotators.label_studio.label_config import write

    write(people, ClosedTask(file.spec.task), campaign_key="")


def check_people(file: CampaignFile, people: LabelStudioSpec) -> None:
    """Look whether Label Studio takes the token and has the project, before anything is made for a campaign.

    Raises:
        AnnotatorError: it cannot be reached, refuses, or the project cannot be used; with what to do.
    """
    from star_al.annotators.label_studio.client import examine

    examine(connection(people))
    if people.project is not None:
        examine_project(file, people, None)


def examine_project(file: CampaignFile, people: LabelStudioSpec, campaign: Campaign | None) -> str:
    """What the campaign's project is like, in words; null: of a campaign that has not been started.

    Raises:
        ConfigError: a label cannot stand in its label config.
        AnnotatorError: it cannot be used, or the server cannot be reached.
    """
    # without a key no project is its own yet: what the config names may only be nobody's
    campaign = campaign or Campaign(0, file.spec.name, 0, {}, file.spec.seed, key="")
    return label_studio(file, people, campaign).examine_project()


def label_config(file: CampaignFile) -> str:
    """The label config (XML) of the campaign's project; without the campaign's key before there is one.

    Raises:
        ConfigError: nobody labels in Label Studio, or a label cannot stand in it.
    """
    from star_al.annotators.label_studio.label_config import write

    people, campaign = _people(file), find_started(file)
    return write(people, ClosedTask(file.spec.task), campaign.key if campaign else "")


def apply_label_config(file: CampaignFile) -> str:
    """Set the label config of the campaign's project, over what is there; where the project is.

    Raises:
        ConfigError: nobody labels in Label Studio. StoreError: the campaign has not been started.
        AnnotatorError: Label Studio refuses or does not answer.
    """
    people = _people(file)
    with reading(file) as (_, campaign):
        return label_studio(file, people, campaign).apply_label_config()


def _people(file: CampaignFile) -> LabelStudioSpec:
    annotator = file.spec.annotator
    if isinstance(annotator, LabelStudioSpec):
        return annotator
    raise ConfigError(
        f"{file.path}: nobody labels in Label Studio: annotator.kind is {annotator.kind}, not label_studio."
    )


def server_url(people: LabelStudioSpec) -> str | None:
    """Where the server is, as far as this machine knows without asking it."""
    from star_al import local_server

    if people.url is not None:
        return people.url
    local = local_server.credentials()
    return None if local is None else local.url


def _local() -> tuple[str, str]:
    from star_al import local_server

    local = local_server.running()
    if local is None:
        raise _not_running()
    return local.url, local.token


def _not_running() -> AnnotatorError:
    return AnnotatorError(
        "the local Label Studio is not running. Start it with `star-al up`, "
        "or name another server in annotator.url."
    )


def _token(url: str, name: str) -> str:
    """From the environment; for the local server, while it runs, also as `star-al up` has stored it."""
    from star_al import local_server

    token = os.environ.get(name, "").strip()
    if token:
        return token
    local = local_server.running()  # else anybody on this machine may listen there
    if local is not None and local.url == url:
        return local.token
    stopped = local_server.credentials()
    if local is None and stopped is not None and stopped.url == url:
        raise _not_running()
    raise AnnotatorError(
        f"{url}: no token, since {name} is not set. Copy a token from Account & Settings in Label Studio, "
        f"then: export {name}=…"
    )
