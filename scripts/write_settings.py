"""Write the files that are made from the descriptions in star_al/config/spec: `make settings`."""

from __future__ import annotations

from pathlib import Path

from star_al.config.reference import reference
from star_al.config.settings_page import settings_page

ROOT = Path(__file__).parents[1]
FILES = {
    ROOT / "configs" / "classification.yaml": reference,
    ROOT / "docs" / "settings.md": settings_page,
}


def main() -> None:
    for path, text in FILES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text(), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
