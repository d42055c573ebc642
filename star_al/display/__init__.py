"""How work in progress is shown: in a terminal, in a log, in a notebook."""
