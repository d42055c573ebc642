"""The composition root and the use cases that the command line calls; it returns, the command line prints."""
