"""Which annotator a campaign uses, and how it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from star_al.annotators.api import ApiAnnotator
from star_al.annotators.oracle import Oracle
from star_al.config.spec import ApiSpec, CampaignFile, LabelStudioSpec, OracleSpec
from star_al.config.spec.environment_variables import NamedVariable, token_variable
from star_al.errors import AnnotatorError
from star_al.ports import Annotator, LoadItems, Store
from star_al.task import make_task
from star_al.types import Campaign, Item

if TYPE_CHECKING:
    from star_al.annotators.label_studio.annotator import LabelStudioAnnotator
    from star_al.annotators.label_studio.client import Connection
    from star_al.annotators.label_studio.ownership import Ownership


def open_annotator(file: CampaignFile, store: Store, campaign: Campaign) -> Annotator:
    """The annotator that the file names; no server is contacted yet.

    Raises:
        AnnotatorError: There is no token for the server, or the local server is not running.
    """
    from star_al.annotators.label_studio.ownership import Ownership

    spec = file.spec
    load_items = partial(store.items, campaign.campaign_id)
    match spec.annotator:
        case OracleSpec() as oracle:
            return Oracle(oracle, make_task(spec.task), campaign.seed, load_items)
        case LabelStudioSpec() as label_studio:
            ownership = Ownership(
                partial(store.project_stamps, campaign.campaign_id),
                partial(store.save_project_stamps, campaign.campaign_id),
            )
            return label_studio_annotator(file, label_studio, campaign, load_items, ownership)
        case ApiSpec():
            return ApiAnnotator()


def label_studio_annotator(
    file: CampaignFile,
    spec: LabelStudioSpec,
    campaign: Campaign,
    load_items: LoadItems,
    ownership: Ownership | None = None,
) -> LabelStudioAnnotator:
    """People in Label Studio as the annotator of a campaign.

    Raises:
        AnnotatorError: As for ``open_annotator``.
    """
    from star_al.annotators.label_studio.annotator import LabelStudioAnnotator

    overlap = file.spec.labelling.overlap
    return LabelStudioAnnotator(
        connection(spec), spec, make_task(file.spec.task), campaign, overlap, load_items
    )


def no_items(_: Sequence[str]) -> list[Item]:
    """Load nothing: for work on a project, which creates no tasks."""
    return []


def check_server(file: CampaignFile, spec: LabelStudioSpec) -> None:
    """Check that Label Studio accepts the token and has the project, before anything of a campaign is created.

    Raises:
        AnnotatorError: The server cannot be reached or refuses, or the project cannot be used.
    """
    from star_al.annotators.label_studio.client import examine

    examine(connection(spec))
    if spec.project is not None:
        examine_project(file, spec, None)


def examine_project(file: CampaignFile, spec: LabelStudioSpec, campaign: Campaign | None) -> str:
    """Describe the state of the campaign's project in words.

    Args:
        file: The campaign file.
        spec: The server and its project.
        campaign: The campaign; None if it has not been started.

    Returns:
        A sentence that names the project, or says that it will be created.

    Raises:
        ConfigError: A label cannot be part of the project's label config.
        AnnotatorError: The project cannot be used, or the server cannot be reached.
    """
    # Without a key no project can be its own yet; one that the config names must not be another campaign's.
    campaign = campaign or Campaign(0, file.spec.name, 0, {}, file.spec.seed, key="")
    return label_studio_annotator(file, spec, campaign, no_items).examine_project()


def connection(spec: LabelStudioSpec) -> Connection:
    """Address and token of the configured server, or of the local one if none is configured.

    Raises:
        AnnotatorError: There is no token for the server, or the local server is not running.
    """
    from star_al.annotators.label_studio.client import Connection

    named = spec.server_url
    url, token = _local_server() if named is None else (named, _token(named, token_variable(spec)))
    return Connection(url, token, spec.timeout, _local_address if url == _local_address() else None)


def unencrypted(spec: LabelStudioSpec) -> str | None:
    """A warning if the token crosses the network as plain text."""
    from star_al.annotators.label_studio.client import is_here

    url = spec.url
    if url is None or not url.startswith("http://") or is_here(url):
        return None
    return f"{url}: the token and all texts cross the network unencrypted; use https:// or an SSH tunnel"


def server_url(spec: LabelStudioSpec) -> str | None:
    """The address of the server; None if only a running local server would know it."""
    from star_al import local_server

    if spec.server_url is not None:
        return spec.server_url
    local = local_server.credentials()
    return None if local is None else local.url


def _local_server() -> tuple[str, str]:
    from star_al import local_server

    local = local_server.running()
    if local is None:
        raise _not_running()
    return local.url, local.token


def _local_address() -> str | None:
    """The address of the local server; None if it does not listen, though another program may listen there."""
    from star_al import local_server

    local = local_server.running()
    return None if local is None else local.url


def _not_running() -> AnnotatorError:
    return AnnotatorError(
        "the local Label Studio is not running. Start it with `star-al up`, "
        "or name another server in annotator.url."
    )


def _token(url: str, variable: NamedVariable) -> str:
    """The token from the environment; for the local server, also the one that `star-al up` has stored."""
    from star_al import local_server

    token = (variable.value() or "").strip()
    if token:
        return token
    local = local_server.running()  # if it is not running, another program may listen at its address
    if local is not None and local.url == url:
        return local.token
    stopped = local_server.credentials()
    if local is None and stopped is not None and stopped.url == url:
        raise _not_running()
    raise AnnotatorError(
        f"{url}: there is no token, because {variable.name} is not set. Copy a token from Account & Settings in Label "
        f"Studio, then run: export {variable.name}=…"
    )
