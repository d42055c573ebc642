"""What an exported model is used with: copied beside it, so that only torch, transformers and peft are needed."""

from star_al.models.labeller.labeller import Labeller

__all__ = ["Labeller"]
