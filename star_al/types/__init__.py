"""The frozen records that all parts of star_al exchange, one concept a file.

They have no behaviour beyond their own checks. Uncertainties and log-probabilities are in nats, durations in
seconds.
"""

from star_al.types.annotations import Annotation, AnswerCount, Poll, Waiting
from star_al.types.arrays import BoolArray, Float32Array, FloatArray, IntArray
from star_al.types.campaigns import HELD_OUT, Artefacts, Campaign, CampaignSummary, Lease, Marks
from star_al.types.evaluations import CalibrationBin, Evaluation
from star_al.types.events import Event
from star_al.types.items import Dataset, Item, Role, SourceItem
from star_al.types.json_values import JsonObject, JsonValue
from star_al.types.labels import Label
from star_al.types.predictions import BasePrediction, Categorical, HeldOutPrediction, Predictions
from star_al.types.queries import Query, QueryCounts, QueryState, Reason
from star_al.types.rounds import (
    Adapter,
    PlattScaling,
    Round,
    RoundCollection,
    RoundDecision,
    RoundEvaluation,
    RoundFit,
    RoundSelection,
    RoundState,
    ShortlistRecord,
)
from star_al.types.scores import Histogram, ScoreRow
from star_al.types.step_results import NO_RESULTS, StepResults
from star_al.types.studies import Study, StudyRun
from star_al.types.tasks import Ensured, ExternalTask
from star_al.types.training import MeasuredBeside, TrainingResult

__all__ = [
    "HELD_OUT",
    "NO_RESULTS",
    "Adapter",
    "Annotation",
    "AnswerCount",
    "Artefacts",
    "BasePrediction",
    "BoolArray",
    "CalibrationBin",
    "Campaign",
    "CampaignSummary",
    "Categorical",
    "Dataset",
    "Ensured",
    "Evaluation",
    "Event",
    "ExternalTask",
    "Float32Array",
    "FloatArray",
    "HeldOutPrediction",
    "Histogram",
    "IntArray",
    "Item",
    "JsonObject",
    "JsonValue",
    "Label",
    "Lease",
    "Marks",
    "MeasuredBeside",
    "PlattScaling",
    "Poll",
    "Predictions",
    "Query",
    "QueryCounts",
    "QueryState",
    "Reason",
    "Role",
    "Round",
    "RoundCollection",
    "RoundDecision",
    "RoundEvaluation",
    "RoundFit",
    "RoundSelection",
    "RoundState",
    "ScoreRow",
    "ShortlistRecord",
    "SourceItem",
    "StepResults",
    "Study",
    "StudyRun",
    "TrainingResult",
    "Waiting",
]
