"""What to label next, in NumPy, SciPy and scikit-learn: measures of uncertainty, their blend, the choice of a batch.

Functions take arrays and item ids and return ids or positions; they know neither the store nor the model.

A batch kind is one file here with a ``GreedyRule`` (``greedy``), its settings in ``star_al.config.spec``
(``BatchSpec``), one line in ``star_al.steps.batch`` (``_RULES``, and its name in words in ``_DIVERSIFIED``), and
usually a named strategy in ``star_al.app.strategies``.
"""
