"""The steps of one round, as the loop names them, and what they share."""
