"""What a new campaign uses unless it is told otherwise."""

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""A small instruction-tuned model that runs on a CPU."""
