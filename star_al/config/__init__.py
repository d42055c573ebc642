"""The settings of a campaign: each described once, read from YAML, and compared when they change."""
