"""Check, show and restore the label config of a campaign's project; ``annotators.label_studio`` writes its XML."""

from __future__ import annotations

from star_al.app.annotators import label_studio_annotator, no_items
from star_al.app.stores import find_started, reading
from star_al.config.spec import CampaignFile, LabelStudioSpec
from star_al.errors import ConfigError
from star_al.task import make_task


def check_labels(file: CampaignFile, spec: LabelStudioSpec) -> None:
    """Check that people can be shown the labels.

    Raises:
        ConfigError: One of them cannot be part of a label config.
    """
    from star_al.annotators.label_studio.label_config import write

    write(spec, make_task(file.spec.task), campaign_key="")


def label_config(file: CampaignFile) -> str:
    """The label config (XML) of the campaign's project; without a key if the campaign has not been started.

    Raises:
        ConfigError: The campaign does not use Label Studio, or a label cannot be part of a label config.
    """
    from star_al.annotators.label_studio.label_config import write

    spec, campaign = _label_studio_spec(file), find_started(file)
    return write(spec, make_task(file.spec.task), campaign.key if campaign else "")


def apply_label_config(file: CampaignFile) -> str:
    """Put star_al's label config into the campaign's project, whatever is there; return the project's address.

    Raises:
        ConfigError: The campaign does not use Label Studio.
        StoreError: The campaign has not been started.
        AnnotatorError: Label Studio refuses or does not answer.
    """
    spec = _label_studio_spec(file)
    with reading(file) as (_, campaign):
        return label_studio_annotator(file, spec, campaign, no_items).apply_label_config()


def _label_studio_spec(file: CampaignFile) -> LabelStudioSpec:
    annotator = file.spec.annotator
    if isinstance(annotator, LabelStudioSpec):
        return annotator
    raise ConfigError(
        f"{file.path}: only campaigns in Label Studio have a label config, but annotator.kind is {annotator.kind}."
    )
