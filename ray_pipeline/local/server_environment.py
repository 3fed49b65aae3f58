"""The environment of the embedded servers and of the programs that prepare them."""

import os
from collections.abc import Mapping

# A list of what is passed on, not of what is withheld: a secret may have any name.
NAMES = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"}
)
PREFIXES = ("LC_", "JAVA_")


def server_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Return the variables that a server needs: where programs, files and locales are.

    A server inherits no API key and no password. Every process of the same user, and a crash dump,
    can read the environment of a running process.
    """
    source = os.environ if environ is None else environ
    return {
        name: value for name, value in source.items() if name in NAMES or name.startswith(PREFIXES)
    }
