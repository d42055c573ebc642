"""Answers that a language model writes: drawn from samples of its posterior or greedily, and scored.

``writer`` is the loop, ``rows`` what the model keeps of prompts from step to step, ``tokens`` how a token is chosen,
``attention`` how a step reads keys and values, ``ending`` when an answer is over, and ``information`` how much samples
disagree.
"""
