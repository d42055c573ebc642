"""What to ask next, in NumPy, SciPy and scikit-learn: measures of uncertainty, their blend, and the choice of a batch.

Functions take arrays and item ids and return ids or positions; they know neither the store nor the model.
"""
