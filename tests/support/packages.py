"""Libraries that take long to import."""

HEAVY = {
    "alembic",
    "crowdkit",
    "datasets",
    "filelock",
    "httpx",
    "label_studio_sdk",
    "matplotlib",
    "pandas",
    "peft",
    "psutil",
    "pyarrow",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "torch",
    "transformers",
}
