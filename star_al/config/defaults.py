"""What a new campaign uses unless it is told otherwise; apart from the settings, since ``--help`` loads no pydantic."""

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""A small instruction-tuned model that runs on a CPU."""
