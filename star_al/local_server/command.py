"""How Label Studio is started: headless, without telemetry, and reachable only from where it is meant to be."""

from __future__ import annotations

import os
from pathlib import Path

from star_al.local_server.addresses import names_of
from star_al.local_server.credentials import Credentials
from star_al.local_server.install import python
from star_al.local_server.place import Place

PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
"""Variables passed on from our environment. Label Studio reads settings from names as common as HOST and DEBUG."""

RESERVED_BUT_LOOPBACK = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/128", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64"),
    *("2001::/32", "2001:20::/28", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
)
"""The networks that Label Studio refuses to call by default, except this machine, which receives webhooks."""


def server_command(place: Place, credentials: Credentials) -> list[str | Path]:
    """The command line; every user of the machine can read it, so it contains no secret."""
    address = ("--internal-host", credentials.host, "--port", str(credentials.port))
    return [
        *(python(place, credentials.version), "-I", "-u", "-X", "utf8", "-m", "label_studio.server", "start"),
        *("--no-browser", *address, "--enable-legacy-api-token"),
    ]


def server_environment(place: Place, credentials: Credentials) -> dict[str, str]:
    """The environment, which only the user can read: settings, and the login to create at the first start."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    settings = {
        "BASE_DATA_DIR": str(place.data),
        "USERNAME": credentials.user,
        "PASSWORD": credentials.password,
        "USER_TOKEN": credentials.token,
        "ALLOWED_HOSTS": ",".join(names_of(credentials.host)),
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",  # others can reach the sign-up page, on this machine at least
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    if (
        credentials.webhooks
    ):  # otherwise everybody who may label could have the server call programs of this machine
        settings["USE_DEFAULT_BANNED_SUBNETS"] = "false"
        settings["USER_ADDITIONAL_BANNED_SUBNETS"] = ",".join(RESERVED_BUT_LOOPBACK)
    return passed_on | {f"LABEL_STUDIO_{name}": value for name, value in settings.items()}
