"""`star-al --help` is instant, because heavy libraries are imported only when used."""

from __future__ import annotations

import subprocess
import sys

from support.packages import HEAVY


def test_command_line_imports_no_heavy_library() -> None:
    code = "import sys, star_al.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "star_al" in loaded
    assert not loaded & HEAVY
