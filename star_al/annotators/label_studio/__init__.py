"""People who label in Label Studio: the project, its tasks, and their annotations."""
