"""Adapters and score files on disk, named by content hash."""
