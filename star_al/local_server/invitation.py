"""The link by which colleagues get an account of their own; without it nobody can sign up."""

from __future__ import annotations

import http.client
import json
import urllib.request
from urllib.parse import urlsplit

from star_al.local_server.addresses import outside_address
from star_al.local_server.credentials import LocalServer


def invitation(server: LocalServer) -> str | None:
    """The address at which a colleague signs up; None if the server does not say it."""
    request = urllib.request.Request(
        f"{server.url}/api/invite", headers={"Authorization": f"Token {server.token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as reply:
            path = urlsplit(json.loads(reply.read())["invite_url"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    return f"http://{outside_address(server.host)}:{urlsplit(server.url).port}{path.path}?{path.query}"
