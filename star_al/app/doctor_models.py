"""What `doctor` finds out about a campaign's language model and sentence encoder."""

from __future__ import annotations

import time
from pathlib import Path

from star_al.app.language_learners import language_learner, model_path
from star_al.app.model_check import texts_of_data
from star_al.common.wording import count
from star_al.config.spec import CampaignFile
from star_al.errors import StarALError
from star_al.types import Item

_SMALL_FILES = [
    "config.json",
    "modules.json",
    "adapter_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "*.jinja",
]


def check_model(file: CampaignFile) -> str:
    """Return what the language model is; from its small files if it is on the hub.

    Raises:
        ModelError: It cannot be used.
    """
    from star_al.models.backbone import Backbone, require_quantiser
    from star_al.models.bare_base import require_no_adapter
    from star_al.models.devices import require_gpus, resolve_device
    from star_al.models.hub_download import download_model

    spec, path = file.spec, model_path(file, file.spec.model.given_name)
    learner = language_learner(spec, path)
    if not Path(path).is_dir():
        folder = download_model(path, spec.model.revision, _SMALL_FILES)
        require_no_adapter(folder, path)
        device = resolve_device(spec.model.device)
        require_gpus(device, spec.model.gpus, "model.gpus")
        require_quantiser(spec.model.quantise)
        learner.model.backbone = Backbone(folder, "float32", device)
    backbone, prompts = learner.backbone, learner.prompts  # labels and prompt work with this tokenizer
    kind, context = backbone.config.model_type, backbone.context
    found = f"{spec.model.name}: model type {kind}, context of {count(context, 'token')}"
    return ". ".join([found, *prompts.warnings])


def check_training(file: CampaignFile) -> str:
    """Try the model as the start of a campaign does; not if that would mean a download.

    Raises:
        ModelError: It cannot be trained.
    """
    spec, path = file.spec, model_path(file, file.spec.model.given_name)
    if not Path(path).is_dir():
        return "the weights are not in a folder of this machine; `star-al run` downloads and tries them"
    said: list[str] = []
    learner = language_learner(spec, path, say=said.append)
    items = _some_texts(file)
    start = time.perf_counter()
    learner.check(items)
    seconds = time.perf_counter() - start
    done = (
        f"one step and one sample of {spec.posterior.kind} on {count(len(items), 'text')} in {seconds:.0f} s"
    )
    new = [line for line in said if line not in learner.prompts.warnings]  # these are told with the model
    return ". ".join([f"{done}; {learner.scoring_batch().in_words()}", *new])


def check_encoder(file: CampaignFile) -> str:
    """Return what the sentence encoder is, after encoding a text; not if that would mean a download.

    Raises:
        ModelError: It cannot be used.
    """
    from star_al.models.encoder import open_encoder
    from star_al.models.hub_download import download_model, download_size, find_cached, in_megabytes

    spec, name = file.spec.head, file.spec.head.encoder
    path = model_path(file, name, "head.encoder")
    if not Path(path).is_dir() and find_cached(path, spec.revision) is None:
        download_model(path, spec.revision, _SMALL_FILES)
        size = in_megabytes(download_size(path, spec.revision))
        return f"{name}: not on this machine yet; `star-al run` downloads it ({size}) and tries it"
    encoder = open_encoder(
        path, revision=spec.revision, device=file.spec.model.device, max_tokens=spec.max_tokens
    )
    start = time.perf_counter()
    encoder.check()
    return (
        f"{name}: vectors of {count(encoder.dimension, 'number')}, reads {count(encoder.max_tokens, 'token')} at once; "
        f"loaded and tried in {time.perf_counter() - start:.0f} s"
    )


def _some_texts(file: CampaignFile) -> list[Item]:
    """Return texts of the data; none if it cannot be read, which is a finding of its own."""
    try:
        return texts_of_data(file)
    except (StarALError, OSError):
        return []
