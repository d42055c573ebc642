"""Small helpers for every layer: safely written files, pages, process identity, plural forms."""
