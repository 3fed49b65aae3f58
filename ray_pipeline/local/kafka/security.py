"""Listeners that demand credentials, beside the open one: for the tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRAM = "SCRAM-SHA-512"
PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """
    Who may connect where.

    Attributes:
        users: User -> password, for PLAIN and for SCRAM-SHA-512 alike.
        sasl_port: Listener for SASL_PLAINTEXT.
        tls_port: Listener for SASL_SSL; needs `certificate`.
        certificate: PEM file with the broker's unencrypted PKCS 8 key, its certificate and the
            CA's, in this order.
    """

    users: Mapping[str, str]
    sasl_port: int
    tls_port: int | None = None
    certificate: Path | None = None


def listeners(security: KafkaSecurity | None) -> dict[str, int]:
    """Return the protocol and port of every listener that demands credentials."""
    if security is None:
        return {}
    ports = {"SASL_PLAINTEXT": security.sasl_port, "SASL_SSL": security.tls_port}
    return {protocol: port for protocol, port in ports.items() if port is not None}


def properties(security: KafkaSecurity | None) -> dict[str, str]:
    """Return the lines of the broker's configuration."""
    if security is None:
        return {}
    plain = " ".join(f'user_{user}="{password}"' for user, password in security.users.items())
    lines = {"sasl.enabled.mechanisms": f"PLAIN,{SCRAM}"}
    for protocol in listeners(security):
        listener = f"listener.name.{protocol.lower()}"
        lines[f"{listener}.plain.sasl.jaas.config"] = f"{PLAIN_MODULE} required {plain};"
        lines[f"{listener}.{SCRAM.lower()}.sasl.jaas.config"] = f"{SCRAM_MODULE} required;"
    if security.certificate is not None:
        lines |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(security.certificate),
        }
    return lines


def format_arguments(security: KafkaSecurity | None) -> list[str]:
    """Return the arguments that give a new storage its SCRAM users."""
    if security is None:
        return []
    return [
        argument
        for user, password in security.users.items()
        for argument in ("--add-scram", f"{SCRAM}=[name={user},password={password}]")
    ]
