"""People who label in Label Studio."""
