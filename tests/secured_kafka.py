"""Apache Kafka with listeners that require credentials, in addition to the open one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray_pipeline.local.servers import KafkaServer

SCRAM = "SCRAM-SHA-512"
PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """
    The users of a broker and its TLS certificate.

    Attributes:
        users: User -> password, for PLAIN and for SCRAM-SHA-512 alike.
        certificate: PEM file with the broker's unencrypted PKCS 8 key, its certificate and the
            CA's, in this order; None for a broker without TLS.
    """

    users: Mapping[str, str]
    certificate: Path | None = None

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that require credentials; each has one listener."""
        return ("SASL_PLAINTEXT", "SASL_SSL") if self.certificate else ("SASL_PLAINTEXT",)


class SecuredKafka(KafkaServer):
    """Apache Kafka for the tests of clients with credentials."""

    def __init__(self, directory: Path, security: KafkaSecurity) -> None:
        super().__init__(directory, protocols=security.protocols)
        self._security = security

    def settings(self) -> dict[str, str]:
        """Return the lines of the broker's configuration."""
        users = self._security.users.items()
        plain = " ".join(f'user_{user}="{password}"' for user, password in users)
        lines = super().settings() | {"sasl.enabled.mechanisms": f"PLAIN,{SCRAM}"}
        for protocol in self._security.protocols:
            listener = f"listener.name.{protocol.lower()}"
            lines[f"{listener}.plain.sasl.jaas.config"] = f"{PLAIN_MODULE} required {plain};"
            lines[f"{listener}.{SCRAM.lower()}.sasl.jaas.config"] = f"{SCRAM_MODULE} required;"
        if self._security.certificate is not None:
            lines["ssl.keystore.type"] = "PEM"
            lines["ssl.keystore.location"] = str(self._security.certificate)
        return lines

    def format_arguments(self) -> Sequence[str]:
        """Return the arguments that give a new storage its SCRAM users."""
        return [
            argument
            for user, password in self._security.users.items()
            for argument in ("--add-scram", f"{SCRAM}=[name={user},password={password}]")
        ]
