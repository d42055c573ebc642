"""The language model side: load, prompt, score labels, train LoRA, sample its posterior.

The only importer of torch, transformers and peft; import ``star_al.models.learner`` where it is used.
"""

import logging

# peft imports bitsandbytes wherever it is installed, which then warns of what it lacks, and again at each step.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
