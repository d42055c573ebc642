"""Take the model out: a folder that other programs use, or a repository on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.app.model_choice import ModelChoice
from star_al.cli.completion import round_numbers
from star_al.cli.console import make_progress, say
from star_al.cli.options import DEFAULT_CONFIG, Config, Model, Public, Push, load, open_hub
from star_al.common.wording import megabytes

if TYPE_CHECKING:
    from star_al.app.model_export import ExportedModel

Out = Annotated[Path, typer.Option("--out", help="Folder to write.", show_default=False)]
RoundToExport = Annotated[
    int | None,
    typer.Option(
        "--round",
        min=0,
        help="Export the model of this round; by default the newest.",
        show_default=False,
        autocompletion=round_numbers,
    ),
]
Merged = Annotated[bool, typer.Option("--merged", help="Write whole weights, which need no base model.")]


def export_model(
    config: Config = DEFAULT_CONFIG,
    *,
    out: Out,
    round_index: RoundToExport = None,
    merged: Merged = False,
    model: Model = ModelChoice.BEST,
    push: Push = None,
    public: Public = False,
) -> None:
    """Write the model as a folder that other programs use.

    It holds the adapter in peft's format, or with --merged whole weights, the
    tokenizer, the labels and the temperature, a short example.py, and README.md,
    the model card. The example needs torch, transformers and peft, and gives the
    probabilities of `star-al predict`. With learner.kind: head it holds the head,
    and needs numpy and sentence-transformers. Of a head beside a language model
    it holds the better one, by its weight on calibration labels.
    """
    from star_al.app import model_export

    hub = open_hub(push, "model", public)
    done = model_export.export_model(
        load(config),
        out,
        make_progress(),
        round_index=round_index,
        merged=merged,
        which=model,
    )
    size = f" ({megabytes(done.size_bytes)})" if done.what == "head" else ""
    say(
        f"Wrote the {done.what} of round {done.round_index} to {out}{size}. "
        f"Try it with: python {out / 'example.py'}"
    )
    for line in _about(done, merged):
        say(line)
    if hub is not None:
        for line in _needed_by_others(done):
            say(line)
        say(f"Pushed to {hub.push(out, f'Model of round {done.round_index}')}")


def _about(done: ExportedModel, merged: bool) -> list[str]:
    """What to know of the posterior."""
    if done.difference is None:
        return []
    what = "weights" if merged else "adapter"
    return [
        f"As in star-al predict, the example averages over {done.samples} posterior samples (sample-0 to "
        f"sample-{done.samples - 1}). The {what} alone, the posterior's mean, differ{'' if merged else 's'} from that "
        f"by at most {done.difference:.3f}."
    ]


def _needed_by_others(done: ExportedModel) -> list[str]:
    """What others cannot fetch, if the model stands on a folder of this machine."""
    if done.base is None or not Path(done.base).is_dir():
        return []
    what, way = "base model", " --merged writes whole weights."
    if done.what == "head":
        what, way = "sentence encoder", ""
    return [f"The {what} is a folder of this machine, {done.base}: others need it as well.{way}"]
