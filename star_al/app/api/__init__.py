"""The Python interface: ``star_al.Campaign``."""
