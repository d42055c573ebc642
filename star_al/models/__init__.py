"""The language model side: load, prompt, score labels, train LoRA, sample its posterior.

The only importer of torch, transformers and peft; import ``star_al.models.learner`` where it is used.
"""
