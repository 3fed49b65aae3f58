"""The servers of a run: Kafka behind links, and Redis from an old copy of its files."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.valkey import ValkeyServer
from tests.chaos.link import Link

OPEN = "PLAINTEXT"
FILES = "appendonlydir"


class ProxiedKafka(KafkaServer):
    """A broker with a listener for producers and one for consumers, each behind a link."""

    start_timeout_s = 300.0  # beside a whole pipeline that catches up

    def __init__(self, directory: Path, *, advertised: Mapping[str, Link]) -> None:
        super().__init__(directory, protocols=tuple(advertised), java_options=("-Xmx512m",))
        self._advertised = advertised

    def settings(self) -> dict[str, str]:
        """Advertise the ports of the links, so that clients never bypass them."""
        addresses = {name: f"{HOST}:{link.port}" for name, link in self._advertised.items()}
        addresses[OPEN] = self.listener(OPEN)
        listeners = (f"{name}://{address}" for name, address in addresses.items())
        protocols = (f"{name}:{OPEN}" for name in ("CONTROLLER", *addresses))
        return super().settings() | {
            "advertised.listeners": ",".join(listeners),
            "listener.security.protocol.map": ",".join(protocols),
        }


def copy_files(redis: ValkeyServer) -> Path:
    """Copy the files of a running Redis; return the copy."""
    copy = redis.directory / "old-copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(redis.directory / FILES, copy)
    return copy


def start_from(redis: ValkeyServer, copy: Path) -> None:
    """Start Redis, which must not run, from an old copy of its files."""
    shutil.rmtree(redis.directory / FILES)
    shutil.copytree(copy, redis.directory / FILES)
    redis.start()
