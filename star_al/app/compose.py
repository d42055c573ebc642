"""The composition root: settings become concrete classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from star_al.artefacts.folder import ArtefactFolder
from star_al.artefacts.shared_files import SharedFiles
from star_al.common.patience import Patience
from star_al.config.changes import refuse_removed_settings
from star_al.config.spec import CampaignFile, CampaignSpec, PosteriorSpec
from star_al.errors import ConfigError, StoreError
from star_al.parts import Parts
from star_al.ports import Learner, Pool, Progress, Store
from star_al.task import MultiLabel, Task, Text, closed, make_task
from star_al.types import Campaign, Item, Role, Round, RoundFit

if TYPE_CHECKING:
    from star_al.models.choice_reader import ChoiceModel
    from star_al.models.encoder import SentenceEncoder
    from star_al.models.head_texts import LanguageModel, TextReader
    from star_al.models.learner import LoraLearner
    from star_al.models.posterior import Method
    from star_al.models.text_learner import TextLearner

    LanguageLearner: TypeAlias = LoraLearner | TextLearner


def open_store(file: CampaignFile, *, create: bool = False, patience: Patience | None = None) -> Store:
    """Open the campaign's database.

    Args:
        file: The campaign file.
        create: Make the schema if the database is new or empty.
        patience: How long the database is waited for once it was reached; None waits briefly.

    Raises:
        StoreError: It cannot be reached, or is at another schema version.
    """
    from db import migrate
    from db.store import SqlStore

    if create and migrate.is_empty(file.database_url):
        migrate.upgrade(file.database_url)
    return SqlStore.open(file.database_url, patience)


def open_learner(
    file: CampaignFile,
    spec: CampaignSpec,
    rounds: Sequence[Round],
    progress: Progress,
    *,
    cache: Path | None = None,
) -> Learner:
    """The model of ``spec`` with its adapter and posterior, on the device that the file names.

    Args:
        file: The campaign file; it decides on what concerns the machine (device, sizes).
        spec: The settings of the model, the adapter and the posterior.
        rounds: The rounds so far. A campaign keeps the dtype that its first round ran in, so that a resumed
            one does not depend on a probe.
        progress: Where the learner tells what a user should know.
        cache: A folder that keeps activations of frozen blocks; None keeps none and writes nothing but what a
            head reads of the pool.

    Raises:
        ConfigError: The adapters of ``rounds`` need a setting that this version no longer has.
    """
    refuse_removed_settings(rounds)
    if not spec.has_head_learner:
        return _open_lora(file, spec, rounds, progress, cache)
    reads_model = spec.head.features in ("model", "both")
    language_model = _open_lora(file, spec, rounds, progress, cache) if reads_model else None
    return open_head(file, spec, rounds, progress, language_model, keep=cache is not None)


def open_head(
    file: CampaignFile,
    spec: CampaignSpec,
    rounds: Sequence[Round],
    progress: Progress,
    language_model: Learner | None = None,
    *,
    keep: bool = True,
) -> Learner:
    """The head of ``spec``: what is trained, or what ranks or stands beside a language model.

    Args:
        file: The campaign file.
        spec: The settings of the task and the head.
        rounds: The rounds so far, as for ``open_learner``.
        progress: Where the learner shows its work.
        language_model: The learner beside it, whose base model's states it may read; None without.
        keep: Keep the features of all texts; False for those of the pool alone.
    """
    from star_al.models.encoder import open_encoder
    from star_al.models.head_texts import TextReader

    name, device = model_path(file, spec.head.encoder, "head.encoder"), file.spec.model.device
    dtype = _dtype_of_encoder(spec, rounds)

    def open_() -> SentenceEncoder:
        return open_encoder(
            name,
            revision=spec.head.revision,
            device=device,
            dtype=dtype,
            max_tokens=spec.head.max_tokens,
            say=progress.say,
        )

    return HEADS[spec.task.kind](
        spec,
        rounds,
        partial(TextReader, spec, name, open_, file.feature_folder, progress, keep=keep),
        StoredPools(file),
        None if spec.head.features == "encoder" else language_model,
    )


def _label_head(
    spec: CampaignSpec,
    rounds: Sequence[Round],
    reader: Callable[..., TextReader],
    pools: StoredPools,
    language_model: Learner | None,
) -> Learner:
    """A head over labels that all texts have."""
    from star_al.models.head_learner import HeadLearner
    from star_al.models.zero_shot import OVER_POOL

    texts = reader(language_model=cast("LanguageModel | None", language_model))
    prototypes = all(each.get("zero_shot") == OVER_POOL for each in _versions_of_head(spec, rounds)[:1])
    return HeadLearner(closed(make_task(spec.task)), spec, texts, pools, prototypes=prototypes)


def _option_head(
    spec: CampaignSpec,
    rounds: Sequence[Round],
    reader: Callable[..., TextReader],
    pools: StoredPools,
    language_model: Learner | None,
) -> Learner:
    """A head over options that each text has of its own."""
    from star_al.models.choice_reader import ChoiceReader
    from star_al.models.head_choices import ChoiceHeadLearner

    options = ChoiceReader(reader(), cast("ChoiceModel | None", language_model))
    return ChoiceHeadLearner(closed(make_task(spec.task)), options, pools)


def _no_head(spec: CampaignSpec, *_: object) -> Learner:
    """Refuse a head, which the settings have refused before."""
    raise ConfigError(f"a head needs a list of labels, which task.kind: {spec.task.kind} does not have")


def _label_set_head(
    spec: CampaignSpec,
    rounds: Sequence[Round],
    reader: Callable[..., TextReader],
    pools: StoredPools,
    language_model: Learner | None,
) -> Learner:
    """A head for each of the labels that a text may have."""
    from star_al.models.head_label_sets import LabelSetHeadLearner

    texts = reader(language_model=cast("LanguageModel | None", language_model))
    return LabelSetHeadLearner(cast("MultiLabel", make_task(spec.task)), spec, texts, pools)


HEADS: Mapping[str, Callable[..., Learner]] = {
    "classification": _label_head,
    "multiple_choice": _option_head,
    "rating": _label_head,
    "text": _no_head,
    "multi_label": _label_set_head,
    "preference": _option_head,
}
"""By kind of task."""


def _dtype_of_encoder(spec: CampaignSpec, rounds: Sequence[Round]) -> str:
    """The dtype that the first round read texts in; that of the settings before there is one."""
    dtypes = [each["dtype"] for each in _versions_of_head(spec, rounds) if "dtype" in each]
    return str(dtypes[0]) if dtypes else spec.model.dtype


def _versions_of_head(spec: CampaignSpec, rounds: Sequence[Round]) -> list[Mapping[str, Any]]:
    """What the rounds that had a head record of how it read texts."""
    fits = [round_.fit.versions for round_ in rounds if round_.fit]
    of_head = fits if spec.has_head_learner else [each["head"] for each in fits if "head" in each]
    return [each for each in of_head if isinstance(each, Mapping)]


class StoredPools:
    """Finds the pools of a campaign's rounds in its database."""

    def __init__(self, file: CampaignFile) -> None:
        self._file = file

    def __call__(self, key: str) -> Pool | None:
        """The pool with this key; None if no round had it."""
        with reading(self._file) as (store, campaign):
            for round_ in reversed(store.rounds(campaign.campaign_id)):
                ids = store.item_ids(campaign.campaign_id, Role.POOL, by_round=round_.index)
                if (pool := Pool(tuple(ids), self._load)).key == key:
                    return pool
        return None

    def _load(self, item_ids: Sequence[str]) -> list[Item]:
        with reading(self._file) as (store, campaign):
            return store.items(campaign.campaign_id, item_ids)


def _open_lora(
    file: CampaignFile, spec: CampaignSpec, rounds: Sequence[Round], progress: Progress, cache: Path | None
) -> LanguageLearner:
    of_this_machine = {"device", "gpus", "trunk_cache_gb", "engine", "engine_memory"} | (
        {"batch_tokens"} & file.spec.model.model_fields_set
    )
    here = file.spec.model.model_dump(include=of_this_machine)
    fits = [round_.fit for round_ in rounds if round_.fit]
    dtypes = [fit.versions["dtype"] for fit in fits if "dtype" in fit.versions]
    if dtypes and spec.model.dtype == "auto":
        here["dtype"] = str(dtypes[0])
    spec = spec.model_copy(update={"model": spec.model.model_copy(update=here)})
    return language_learner(
        spec,
        model_path(file, spec.model.given_name),
        cache=cache,
        features=None if cache is None else file.feature_folder,
        say=progress.say,
        **how_texts_are_read(rounds),
    )


def how_texts_are_read(rounds: Sequence[Round]) -> dict[str, Any]:
    """The options of a language learner that a campaign keeps as its first rounds had them, as plain values."""
    fits = [round_.fit for round_ in rounds if round_.fit]
    return {
        "batches": _recorded_batches(fits),
        "packs_base_embeddings": bool(fits) and "base_embeddings" not in fits[0].versions,
        "classifier_reads_text": not fits or "classifier" in fits[0].versions,
    }


def language_learner(spec: CampaignSpec, path: str, **options: Any) -> LanguageLearner:
    """A language model with an adapter for the kind of task.

    Args:
        spec: The campaign's settings.
        path: The model's folder or hub name.
        options: As ``LoraLearner`` has them.
    """
    return LEARNERS[spec.task.kind](
        make_task(spec.task), spec, path, posterior_method(spec.posterior), **options
    )


def _label_learner(task: Task, *arguments: Any, **options: Any) -> LoraLearner:
    """A language model that is scored on labels."""
    from star_al.models.learner import LoraLearner

    return LoraLearner(closed(task), *arguments, **options)


def _label_set_learner(task: Task, *arguments: Any, **options: Any) -> LoraLearner:
    """A language model that is asked for each label of a text."""
    from star_al.models.label_set_learner import LabelSetLearner

    return LabelSetLearner(cast("MultiLabel", task), *arguments, **options)


def _text_learner(
    task: Task,
    *arguments: Any,
    packs_base_embeddings: bool = False,
    classifier_reads_text: bool = True,
    **options: Any,
) -> TextLearner:
    """A language model that writes answers; no campaign with one reads texts as earlier versions did."""
    from star_al.models.text_learner import TextLearner

    return TextLearner(cast("Text", task), *arguments, **options)


LEARNERS: Mapping[str, Callable[..., LanguageLearner]] = {
    "classification": _label_learner,
    "multiple_choice": _label_learner,
    "rating": _label_learner,
    "text": _text_learner,
    "multi_label": _label_set_learner,
    "preference": _label_learner,
}
"""By kind of task."""


def _recorded_batches(fits: Sequence[RoundFit]) -> dict[str, int]:
    """The scoring batch that a campaign first used on each device."""
    recorded: dict[str, int] = {}
    for fit in fits:
        tokens = fit.versions.get("batch_tokens")
        if isinstance(tokens, int):
            recorded.setdefault(str(fit.versions.get("device")), tokens)
    return recorded


class _DeferredLearner:
    """Opens a learner when something of it is first used."""

    def __init__(self, open_: Callable[[], Learner]) -> None:
        self._open = open_

    @cached_property
    def _learner(self) -> Learner:
        return self._open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)


def deferred_learner(open_: Callable[[], Learner]) -> Learner:
    """Return a learner that ``open_`` opens when it is first used, so that no model is loaded before."""
    return cast("Learner", _DeferredLearner(open_))


def posterior_method(spec: PosteriorSpec) -> Method:
    """The posterior method that the settings name."""
    from star_al.models.posterior.clora import CLora
    from star_al.models.posterior.ensemble import Ensemble
    from star_al.models.posterior.laplace import Laplace
    from star_al.models.posterior.mc_dropout import McDropout
    from star_al.models.posterior.point import Map
    from star_al.models.posterior.tfb import Tfb

    methods: dict[str, Callable[[Any], Method]] = {
        "clora": CLora,
        "ensemble": Ensemble,
        "laplace": Laplace,
        "map": lambda _: Map(),
        "mc_dropout": McDropout,
        "tfb": Tfb,
    }
    return methods[spec.kind](spec)


def model_path(file: CampaignFile, name: str, setting: str = "model.name") -> str:
    """The model's folder, relative to the campaign file; if there is none, ``name`` as the name on the hub.

    Args:
        file: The campaign file.
        name: The value of the setting.
        setting: The setting that names the model.

    Raises:
        ConfigError: ``name`` is a path, and there is no such folder.
    """
    folder = file.resolve(name)
    if folder.exists():
        return str(folder)
    if name.startswith((".", "/", "~")):
        raise ConfigError(
            f"{file.path}: {setting}: there is no folder {folder}. "
            "Correct the path, or give the model's name on the Hugging Face hub."
        )
    return name


def open_artefacts(file: CampaignFile) -> ArtefactFolder:
    """The campaign's adapters and score files; nothing is read or written yet."""
    address = file.artefact_address
    return ArtefactFolder(file.artefact_folder, None if address is None else SharedFiles(address))


def find_campaign(file: CampaignFile, store: Store) -> Campaign:
    """The campaign of this file.

    Raises:
        StoreError: It has not been started.
    """
    campaign = store.find_campaign(file.spec.name)
    if campaign is None:
        raise _not_started(file)
    return campaign


def find_started(file: CampaignFile) -> Campaign | None:
    """The campaign of this file; None if it has not been started.

    Raises:
        StoreError: The database cannot be read.
    """
    from db import migrate

    if migrate.is_empty(file.database_url):
        return None
    store = open_store(file)
    try:
        return store.find_campaign(file.spec.name)
    finally:
        store.close()


def _not_started(file: CampaignFile) -> StoreError:
    return StoreError(
        f"campaign {file.spec.name!r} has not been started. Run `star-al run {file.path.name}` to start it."
    )


def unknown_study(file: CampaignFile, name: str) -> StoreError:
    """The error for a study that does not exist; it says how to create it."""
    return StoreError(
        f"there is no study {name!r}. Run `star-al simulate {file.path.name} --study {name}` to create it."
    )


@contextmanager
def reading(file: CampaignFile) -> Iterator[tuple[Store, Campaign]]:
    """Open store and campaign for a command that only reads.

    Raises:
        StoreError: The campaign has not been started, or the database cannot be read.
    """
    with open_started(file) as store:
        yield store, find_campaign(file, store)


@contextmanager
def open_started(file: CampaignFile) -> Iterator[Store]:
    """Open the campaign's database, which must not be empty.

    Raises:
        StoreError: No campaign has been started in it, or it cannot be read.
    """
    with open_if_started(file) as store:
        if store is None:
            raise _not_started(file)
        yield store


@contextmanager
def open_if_started(file: CampaignFile) -> Iterator[Store | None]:
    """Open the campaign's database; None if it is empty or not there.

    Raises:
        StoreError: It cannot be read.
    """
    from db import migrate

    if migrate.is_empty(file.database_url):
        yield None
        return
    store = open_store(file)
    try:
        yield store
    finally:
        store.close()


def open_parts(
    file: CampaignFile,
    store: Store,
    campaign: Campaign,
    progress: Progress,
    spec: CampaignSpec | None = None,
    *,
    learner: Learner | None = None,
) -> Parts:
    """The parts of a campaign, to read it.

    Args:
        file: The campaign file.
        store: The store that holds the campaign.
        campaign: The campaign.
        progress: Where work on it is shown.
        spec: Its settings; None takes those stored with the campaign.
        learner: A learner of these settings; None opens one that writes nothing.
    """
    spec = spec or CampaignSpec.model_validate(campaign.config)
    keep = learner is not None
    rounds = store.rounds(campaign.campaign_id)
    learner = learner or open_learner(file, spec, rounds, progress)
    beside = partial(open_head, file, spec, rounds, progress, learner, keep=keep)
    return Parts(
        campaign=campaign,
        spec=spec,
        store=store,
        learner=learner,
        head=deferred_learner(beside) if spec.has_head_beside else None,
        artefacts=open_artefacts(file),
        progress=progress,
    )
