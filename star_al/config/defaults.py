"""What a new campaign uses unless it is told otherwise; apart from the settings, since ``--help`` loads no pydantic."""

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""A small instruction-tuned model that runs on a CPU."""

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
"""The sentence encoder of a campaign that names none."""
