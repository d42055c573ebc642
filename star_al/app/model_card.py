"""The card of an exported model: what it does, how good it is and how that was measured, and how to use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_al import __version__
from star_al.app.card_words import CARD_WORDS
from star_al.common.wording import count
from star_al.config.writing import to_yaml
from star_al.parts import Parts
from star_al.stats.ece_floor import ece_in_words
from star_al.types import Evaluation, JsonObject, JsonValue, Role, Round

SPLITS = {
    Role.AUDIT: "texts of the pool that were drawn at random before training, labelled by the campaign's annotators, "
    "and never trained on",
    Role.TEST: "texts of a separate test file, never trained on",
}
"""How the texts came about that an accuracy was measured on."""

_SETTINGS = {"task", "adapter", "posterior"}
_MODEL_SETTINGS = {"name", "revision", "dtype", "max_tokens"}
_MUCH_UNLIKE = 0.2


@dataclass(frozen=True)
class ModelFacts:
    """What the card tells of a model.

    Attributes:
        round: The round that trained it.
        evaluations: What was measured in that round.
        record: What the labeller reads.
        example: The code of the example.
        samples: How many posterior samples a prediction averages over.
        difference: By how much the mean alone differs from that average, at most; None for a single function.
        merged: True for whole weights.
    """

    round: Round
    evaluations: tuple[Evaluation, ...]
    record: JsonObject
    example: str
    samples: int
    difference: float | None
    merged: bool


def model_card(parts: Parts, facts: ModelFacts) -> str:
    """Return the card as Markdown, with the metadata that the Hugging Face hub reads."""
    sections = [
        _metadata(parts, facts),
        f"# {parts.campaign.name}\n\n{_introduction(parts, facts)}",
        f"## Use it\n\n{_use(facts)}",
        f"## Labels\n\n{labels_section(parts, facts)}",
        f"## Accuracy\n\n{accuracy_section(facts)}",
        f"## Calibration\n\n{calibration_section(facts)}",
        f"## Data\n\n{data_section(parts, facts)}{_taught(facts)}",
        f"## Prompt\n\n{_prompt(facts)}",
        f"## Settings\n\n{fenced(_settings(parts), 'yaml')}",
        f"## Licence\n\n{_licence(parts, facts)}",
    ]
    return "\n\n".join(sections) + "\n"


def hub_name(parts: Parts) -> str | None:
    """The base model's name on the hub; None for a local folder."""
    name = parts.spec.model.given_name
    return None if name.startswith((".", "/", "~")) or name.count("/") != 1 else name


def base_name(parts: Parts) -> str:
    """The base model's name on the hub, or the name of its folder without where that is."""
    return hub_name(parts) or Path(parts.spec.model.given_name).name


def _metadata(parts: Parts, facts: ModelFacts) -> str:
    lines = ["---", f"library_name: {'transformers' if facts.merged else 'peft'}"]
    if (name := hub_name(parts)) is not None:
        lines.append(f"base_model: {name}")
    if (licence := facts.record["base_licence"]) is not None:
        lines.append(f"license: {licence}")
    what = "text-generation" if facts.record.get("writes") else "text-classification"
    return "\n".join([*lines, f"tags: [star-al, active-learning, {what}, lora]", "---"])


def _introduction(parts: Parts, facts: ModelFacts) -> str:
    what = CARD_WORDS[parts.spec.task.kind].purpose
    labels = count(facts.round.labels, "label")
    kind = "the whole weights of a language model" if facts.merged else "a LoRA adapter of a language model"
    return (
        f"This model {what}. It is {kind}, `{base_name(parts)}`, trained on {labels} in round "
        f"{facts.round.index} of an active-learning campaign with star_al {__version__}."
    )


def _use(facts: ModelFacts) -> str:
    needs = "`pip install torch transformers peft`, then run `python example.py` in this folder:"
    return f"{needs}\n\n{fenced(facts.example, 'python')}\n\n{_posterior_words(facts)}"


def _posterior_words(facts: ModelFacts) -> str:
    writes: Any = facts.record.get("writes")
    if writes and writes["sure"]:
        return (
            "`labeller.answer(text)` gives what the model writes, its likeliest token each time, and the probability "
            "that this is right, as `star-al predict` does. `labeller.write(text)` gives the answer alone."
        )
    if writes:
        return (
            "The model writes its likeliest answer, token by token. `star-al predict` may choose another, the "
            "likeliest of those that posterior samples draw, and tells how sure it is."
        )
    if facts.record.get("sets"):
        return f"{_SETS} {_samples_words(facts)}"
    return _samples_words(facts)


_SETS = (
    "`labeller(text)` gives the probability of each label by itself, `labeller.choose(text)` the likeliest set of "
    "labels, and `labeller.sets(text)` the likeliest sets with their calibrated probabilities."
)
"""How a model is used that gives a text any number of labels."""


def _samples_words(facts: ModelFacts) -> str:
    if facts.difference is None:
        return "The model is a single function; the probabilities are those of `star-al predict`."
    top = "model" if facts.merged else "adapter"
    folders = f"`sample-0` to `sample-{facts.samples - 1}`"
    return (
        f"The probabilities are those of `star-al predict`: averages over {facts.samples} samples of the posterior, "
        f"which are the adapters in {folders}"
        f"{', for the weights of this folder' if facts.merged else ''}. The {top} at the top of the folder is the "
        f"posterior's mean or mode alone. It takes one pass in place of {facts.samples}; its probabilities differ from "
        f"the averages by at most {facts.difference:.3f} on random texts of the pool."
        + (" That is much: use the samples." if facts.difference > _MUCH_UNLIKE else "")
    )


def labels_section(parts: Parts, facts: ModelFacts) -> str:
    """The labels, and how often each was trained on."""
    in_place = CARD_WORDS[parts.spec.task.kind].labels
    if in_place is not None:
        return in_place
    trained = parts.store.training_labels(parts.campaign.campaign_id, facts.round.index)
    counts = Counter(str(name) for label in trained for name in _names(label.value))
    rows = [f"| {_cell(name)} | {counts[name]:,} |" for name in parts.task.spec.label_names]
    return "\n".join(["| label | trained on |", "|---|---|", *rows])


def _names(value: JsonValue) -> Sequence[JsonValue]:
    """The labels of a text: one, or a set of them."""
    return value if isinstance(value, list) else [value]


def accuracy_section(facts: ModelFacts, base: str = "The base model without training") -> str:
    """How accurate the model is, and how that was measured; ``base`` is what it is compared with."""
    found = _chosen(facts.evaluations, "adapted")
    if found is None:
        return "It was not measured: there were no labelled texts that the model was not trained on."
    untrained = _chosen(facts.evaluations, "base")
    further = "" if found.macro_f1 is None else f"macro-F1 {found.macro_f1:.2f}, "
    lines = [
        f"{_percent(found.accuracy)} (95 % interval {_percent(found.accuracy_low)} to "
        f"{_percent(found.accuracy_high)}, Wilson), {further}on {count(found.n, 'text')}: "
        f"{SPLITS.get(found.split, found.split.value)}."
    ]
    if untrained is not None:
        lines.append(f"{base}: {_percent(untrained.accuracy)}.")
    rows = [
        f"| {_cell(name)} | {'–' if recall is None else _percent(recall)} |"
        for name, recall in found.recall.items()
    ]
    return "\n".join([*lines, "", "| label | recall |", "|---|---|", *rows] if rows else lines)


def calibration_section(facts: ModelFacts) -> str:
    """How probabilities were calibrated."""
    temperature = facts.record["temperature"]
    note = facts.round.evaluation.temperature_note if facts.round.evaluation else ""
    what = "Probabilities of sets of labels" if facts.record.get("sets") else "Probabilities"
    words = [f"{what} are scaled by the temperature {temperature:.3f} ({note})."]
    raw, scaled = (
        next((e for e in facts.evaluations if (e.model, e.scaling) == ("adapted", scaling)), None)
        for scaling in ("raw", "temperature")
    )
    if raw is not None:
        after = "" if scaled is None else f", {ece_in_words(scaled)} after"
        words.append(
            f"Expected calibration error: {ece_in_words(raw)} before scaling{after}. By chance alone means: as much "
            f"as a perfectly calibrated model would show on {count(raw.n, 'text')}."
        )
    return " ".join(words)


def data_section(parts: Parts, facts: ModelFacts) -> str:
    """What the model was trained on."""
    store, campaign_id = parts.store, parts.campaign.campaign_id
    pool = len(store.item_ids(campaign_id, Role.POOL))
    return (
        f"`{Path(parts.spec.data.path).name}`: {count(pool, 'text')} to choose from, "
        f"{count(facts.round.labels, 'label')} trained on. The model itself chose most of them as those it was least "
        "sure about, so they are no random sample of the texts."
    )


def _taught(facts: ModelFacts) -> str:
    taught = facts.round.fit.taught_texts if facts.round.fit else None
    return f" It also learned the answers of a head to {count(taught, 'unlabelled text')}." if taught else ""


def _prompt(facts: ModelFacts) -> str:
    shown = f"{fenced(str(facts.record['template']), 'text')}\n\nThe label follows."
    if facts.record["text"] == "{text}":
        return shown
    made = fenced(str(facts.record["text"]), "text")
    return f"{shown} A text is made of columns; give the labeller a dictionary of them:\n\n{made}"


def _settings(parts: Parts) -> str:
    spec = parts.spec
    tree = spec.model_dump(mode="json", include=_SETTINGS, exclude_none=True)
    model = spec.model.model_dump(mode="json", include=_MODEL_SETTINGS, exclude_none=True)
    tree["model"] = model | {"name": base_name(parts)}
    return to_yaml(tree).rstrip()


def _licence(parts: Parts, facts: ModelFacts) -> str:
    licence = facts.record["base_licence"]
    base = f"the base model `{base_name(parts)}`"
    if licence is None:
        return f"The licence of {base} is not known here; look it up before you pass this model on."
    return f"The licence of {base} is `{licence}`; it holds for this model as well."


def _chosen(evaluations: Sequence[Evaluation], model: str) -> Evaluation | None:
    """The evaluation of a model, after temperature scaling if there is one."""
    found = [each for each in evaluations if each.model == model]
    return next((each for each in found if each.scaling == "temperature"), found[0] if found else None)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
