"""A stand-in for Label Studio that starts in a moment, for tests of how a server is started, watched and stopped.

It is installed as the interpreter of a version's environment, listens on the port of the command line, and answers
``/health`` and, to the token of its environment, who the user is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from star_al.local_server import VERSION, Place

PROGRAM = """#!{python} -IS
import http.server, json, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers.get("Authorization") == "Token " + os.environ["LABEL_STUDIO_USER_TOKEN"]
        email = os.environ["LABEL_STUDIO_USERNAME"]
        body = json.dumps({{"email": email, "invite_url": "/user/signup/?token=abc"}}).encode()
        self.send_response(200 if known or self.path == "/health" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

host = sys.argv[sys.argv.index("--internal-host") + 1]
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer((host, port), Handler).serve_forever()
"""


def stand_in_place(folder: Path, *versions: str) -> Place:
    """A place in which stand-ins are installed as these versions, by default the one that star_al is tested with."""
    place = Place(folder / "home", folder / "environments")
    for version in versions or (VERSION,):
        program = place.environments / version / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM.format(python=sys.executable))
        program.chmod(0o755)
    place.home.mkdir()
    return place
