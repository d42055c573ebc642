"""A linear head on frozen features of texts: fitted in a second, with a posterior, label names and neighbours."""

from star_al.head.choice_fit import fit_choice_head
from star_al.head.choice_head import FittedChoiceHead
from star_al.head.choice_inputs import SIMILARITY, ChoiceTexts
from star_al.head.choice_predictor import ChoicePredictor, choice_zero_shot
from star_al.head.fit import fit_head
from star_al.head.fitted_head import FittedHead
from star_al.head.inputs import LABEL_NAMES, ZERO_SHOT, Examples, HeadOptions, PoolTexts, TextFeatures
from star_al.head.label_names import LabelNames, NameCheck, check_names, name_text, plain_name, zero_shot
from star_al.head.label_set_head import FittedLabelSetHead, LabelSetPredictor, fit_label_set_head
from star_al.head.neighbours import (
    EXACT_LIMIT,
    NEIGHBOURS,
    NeighbourGraph,
    Neighbours,
    Search,
    UnitVectors,
    exact_search,
    load_graph,
    neighbour_graph,
    save_graph,
)
from star_al.head.predictor import HeadPredictor

__all__ = [
    "EXACT_LIMIT",
    "LABEL_NAMES",
    "NEIGHBOURS",
    "SIMILARITY",
    "ZERO_SHOT",
    "ChoicePredictor",
    "ChoiceTexts",
    "Examples",
    "FittedChoiceHead",
    "FittedHead",
    "FittedLabelSetHead",
    "HeadOptions",
    "HeadPredictor",
    "LabelNames",
    "LabelSetPredictor",
    "NameCheck",
    "NeighbourGraph",
    "Neighbours",
    "PoolTexts",
    "Search",
    "TextFeatures",
    "UnitVectors",
    "check_names",
    "choice_zero_shot",
    "exact_search",
    "fit_choice_head",
    "fit_head",
    "fit_label_set_head",
    "load_graph",
    "name_text",
    "neighbour_graph",
    "plain_name",
    "save_graph",
    "zero_shot",
]
