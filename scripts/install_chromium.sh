#!/usr/bin/env bash
# Chromium for the browser test: the one that is there, else by apt where we may, else Playwright's own.
# Usage: scripts/install_chromium.sh PYTHON   (of an environment with Playwright)
set -euo pipefail

works() {
    chromium --version >/dev/null 2>&1 || "$1" - <<'PYTHON' 2>/dev/null
import os, sys
from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    sys.exit(not os.path.exists(playwright.chromium.executable_path))
PYTHON
}

apt() {
    local may=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        may=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    "${may[@]}" apt-get update -qq >&2 || true
    "${may[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core fonts-noto-color-emoji >&2
}

works "$1" && exit
echo "Installing Chromium for the browser test." >&2
apt && works "$1" && exit
"$1" -m playwright install chromium >&2 && works "$1" && exit
echo "The browser test needs Chromium, which could not be installed. Install it and run again." >&2
exit 1
