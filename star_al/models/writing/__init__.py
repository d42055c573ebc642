"""Answers that a language model writes: drawn from samples of its posterior or greedily, and scored.

``writer`` is the loop, ``rows`` what the model keeps of prompts from step to step, ``tokens`` how a token is chosen,
``ending`` when an answer is over, and ``scoring`` how likely given answers are to a sample.
"""
