"""What to ask next, in NumPy, SciPy and scikit-learn: measures of uncertainty, their blend, and the choice of a batch.

Array positions live and die in here; item ids go in and come out.
"""
