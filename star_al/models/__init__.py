"""The language model: load it, prompt it, score labels, train LoRA adapters and sample their posterior.

This is the only package that imports torch, transformers and peft. ``star_al.models.learner`` is its
entrance; import it only where it is used, because it loads those libraries.
"""

import logging

# peft imports bitsandbytes if it is installed, which then warns at each step of what it lacks.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
