"""The settings of a campaign, each described once: a module a section, ``campaign`` for the whole.

The descriptions of the fields are written for users. The JSON schema, the settings page of the documentation,
``configs/classification.yaml`` and the comments that `star-al init` writes are made from them.
"""

from star_al.config.spec.acquisition import (
    ADAPTIVE_SAMPLES,
    JOINT_SAMPLES,
    AcquisitionSpec,
    BatchSpec,
    BlendSpec,
)
from star_al.config.spec.adapter import AdapterSpec, Loss
from star_al.config.spec.annotator import AnnotatorSpec, ApiSpec, LabelStudioSpec, OracleSpec
from star_al.config.spec.base import FROM_FILE, Spec, is_number, scalar_text
from star_al.config.spec.campaign import CampaignSpec
from star_al.config.spec.campaign_file import CampaignFile
from star_al.config.spec.compute import ComputeSpec, LocalComputeSpec, RayComputeSpec
from star_al.config.spec.data import LABEL_COLUMNS, DataSpec, OptionsPattern
from star_al.config.spec.database import DatabaseSpec
from star_al.config.spec.evaluation import EvaluationSpec
from star_al.config.spec.labelling import LabellingSpec
from star_al.config.spec.learner import HeadLearnerSpec, HeadSpec, LearnerSpec, LoraLearnerSpec
from star_al.config.spec.model import ModelSpec
from star_al.config.spec.posterior import (
    CLoraSpec,
    EnsembleSpec,
    LaplaceSpec,
    MapSpec,
    McDropoutSpec,
    PosteriorSpec,
    TfbSpec,
)
from star_al.config.spec.stopping import StoppingSpec
from star_al.config.spec.task import (
    NONE,
    NONE_OF_THESE,
    SEPARATORS,
    TIE,
    AnswerSpec,
    ClassificationSpec,
    LabelSpec,
    MultiLabelSpec,
    MultipleChoiceSpec,
    PreferenceSpec,
    RatingSpec,
    ScoredOn,
    TaskSpec,
    TextSpec,
    normalise_label,
    task_spec,
)
from star_al.config.spec.template import fill_in
from star_al.config.spec.training import TrainingSpec

__all__ = [
    "ADAPTIVE_SAMPLES",
    "FROM_FILE",
    "JOINT_SAMPLES",
    "LABEL_COLUMNS",
    "NONE",
    "NONE_OF_THESE",
    "SEPARATORS",
    "TIE",
    "AcquisitionSpec",
    "AdapterSpec",
    "AnnotatorSpec",
    "AnswerSpec",
    "ApiSpec",
    "BatchSpec",
    "BlendSpec",
    "CLoraSpec",
    "CampaignFile",
    "CampaignSpec",
    "ClassificationSpec",
    "ComputeSpec",
    "DataSpec",
    "DatabaseSpec",
    "EnsembleSpec",
    "EvaluationSpec",
    "HeadLearnerSpec",
    "HeadSpec",
    "LabelSpec",
    "LabelStudioSpec",
    "LabellingSpec",
    "LaplaceSpec",
    "LearnerSpec",
    "LocalComputeSpec",
    "LoraLearnerSpec",
    "Loss",
    "MapSpec",
    "McDropoutSpec",
    "ModelSpec",
    "MultiLabelSpec",
    "MultipleChoiceSpec",
    "OptionsPattern",
    "OracleSpec",
    "PosteriorSpec",
    "PreferenceSpec",
    "RatingSpec",
    "RayComputeSpec",
    "ScoredOn",
    "Spec",
    "StoppingSpec",
    "TaskSpec",
    "TextSpec",
    "TfbSpec",
    "TrainingSpec",
    "fill_in",
    "is_number",
    "normalise_label",
    "scalar_text",
    "task_spec",
]
