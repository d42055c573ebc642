"""The command line: parse, call ``star_al.app``, print. Heavy modules are imported inside the commands."""
