"""The card of an exported head."""

from __future__ import annotations

from pathlib import Path

from star_al import __version__
from star_al.app.card_words import CARD_WORDS
from star_al.app.model_card import (
    ModelFacts,
    accuracy_section,
    calibration_section,
    data_section,
    fenced,
    labels_section,
)
from star_al.common.wording import count, megabytes
from star_al.config.writing import to_yaml
from star_al.parts import Parts


def head_card(parts: Parts, facts: ModelFacts, size_bytes: int) -> str:
    """Return the card as Markdown, with the metadata that the Hugging Face hub reads.

    Args:
        parts: The campaign.
        facts: What the card tells.
        size_bytes: Bytes of the folder.
    """
    words = CARD_WORDS[parts.spec.task.kind]
    sections = [
        _metadata(parts, facts),
        f"# {parts.campaign.name}\n\n{_introduction(parts, facts)}",
        f"## Use it\n\n{_use(facts, size_bytes)}",
        f"## Labels\n\n{labels_section(parts, facts)}",
        f"## Accuracy\n\n{accuracy_section(facts, words.untrained_head)}",
        f"## Calibration\n\n{_own_temperature(facts)} {calibration_section(facts)}",
        f"## Data\n\n{data_section(parts, facts)}",
        f"## Text\n\n{_text(facts)}",
        f"## Settings\n\n{fenced(_settings(parts, facts), 'yaml')}",
        f"## Licence\n\n{_licence(facts)}",
    ]
    return "\n\n".join(sections) + "\n"


def _encoder(facts: ModelFacts) -> str:
    """The encoder's name on the hub, or the name of its folder without where that is."""
    name = str(facts.record["base"])
    return Path(name).name if Path(name).is_absolute() else name


def _metadata(parts: Parts, facts: ModelFacts) -> str:
    lines = ["---", "library_name: sentence-transformers"]
    if not Path(str(facts.record["base"])).is_absolute():
        lines.append(f"base_model: {facts.record['base']}")
    if (licence := facts.record["base_licence"]) is not None:
        lines.append(f"license: {licence}")
    tag = CARD_WORDS[parts.spec.task.kind].tag
    return "\n".join([*lines, f"tags: [star-al, active-learning, {tag}]", "---"])


def _introduction(parts: Parts, facts: ModelFacts) -> str:
    words = CARD_WORDS[parts.spec.task.kind]
    return (
        f"This model {words.purpose}. It is a linear model (a head) on the frozen sentence encoder "
        f"`{_encoder(facts)}`, trained on {count(facts.round.labels, 'label')} in round {facts.round.index} of an "
        f"active-learning campaign with star_al {__version__}."
    )


def _use(facts: ModelFacts, size_bytes: int) -> str:
    needs = "`pip install sentence-transformers`, then run `python example.py` in this folder:"
    words = "The probabilities are those of `star-al predict`."
    if isinstance(facts.record["head_temperature"], list):
        words = (
            "Each label has a probability of its own. `labeller.choose(text)` returns the labels that a text has more "
            "likely than not, as `star-al predict` does."
        )
    if facts.record["neighbours"]:
        words += (
            f" A prediction is mixed with those of the {facts.record['neighbours']} nearest texts of the campaign. "
            f"So the folder holds the vectors of all of them, not the texts ({megabytes(size_bytes)} in all). "
            "Vectors tell something about their texts: do not publish them if the texts are private."
        )
    return f"{needs}\n\n{fenced(facts.example, 'python')}\n\n{words}"


def _own_temperature(facts: ModelFacts) -> str:
    found = facts.record["head_temperature"]
    if isinstance(found, list):
        temperatures = [float(str(each)) for each in found]
        return (
            f"Each label's head has a temperature of its own, from {min(temperatures):.3f} to {max(temperatures):.3f}, "
            "chosen by cross-validation on the labels that it was trained on."
        )
    return (
        f"The head's own temperature, {found:.3f}, was chosen by cross-validation on the "
        "labels that it was trained on."
    )


def _text(facts: ModelFacts) -> str:
    words = (
        f"The encoder reads {facts.record['max_tokens']} tokens at once. Of a longer text it reads several parts, "
        "whose vectors are averaged."
    )
    if facts.record["text"] == "{text}":
        return words
    made = fenced(str(facts.record["text"]), "text")
    return f"{words} A text is made of columns; give the labeller a dictionary of them:\n\n{made}"


def _settings(parts: Parts, facts: ModelFacts) -> str:
    tree = parts.spec.model_dump(mode="json", include={"task", "learner", "head"}, exclude_none=True)
    tree["head"] |= {"encoder": _encoder(facts)}
    return to_yaml(tree).rstrip()


def _licence(facts: ModelFacts) -> str:
    licence, encoder = facts.record["base_licence"], f"the sentence encoder `{_encoder(facts)}`"
    if licence is None:
        return f"The licence of {encoder} is not known here; look it up before you pass it on."
    return f"The licence of {encoder} is `{licence}`."
