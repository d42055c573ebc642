"""star_al: active-learning campaigns for language models, after STAR (arXiv 2403.01165)."""

__version__ = "0.2.0"
