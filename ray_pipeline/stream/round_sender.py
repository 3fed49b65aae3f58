"""Send a round of records; replace a record that is too large by a reject."""

import logging
from collections.abc import Callable
from dataclasses import replace

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import RecordTooLarge
from ray_pipeline.feeds.codec import encode
from ray_pipeline.feeds.records import REJECT_LIMIT_BYTES, Reject, from_ms
from ray_pipeline.stream.publishing_ports import Broker, OutboxRecord

log = logging.getLogger(__name__)

KEY_LIMIT_BYTES = 256
LEAST_BYTES = 2_048  # a broker that refuses smaller records has a wrong setting


class RoundSender:
    """Sends the records of one shard to their partition, under a valid lease."""

    def __init__(
        self,
        broker: Broker,
        *,
        topic: str,
        partition: int,
        shard: int,
        may_send: Callable[[], bool],
        name: str,
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._partition = partition
        self._shard = shard
        self._may_send = may_send
        self._name = name

    async def send(self, records: list[OutboxRecord]) -> bool:
        """
        Send records; return True when all are acknowledged, False if the lease became invalid.

        A record that the broker can never take is replaced in `records`.

        Raises:
            PipelineError: If the broker may lack some of them.
        """
        while True:
            messages = [(self._partition, record.key, record.value) for record in records]
            # Connecting takes long at times; the lease may have expired meanwhile.
            if not self._may_send():
                return False
            try:
                await self._broker.send(self._topic, messages)
                return True
            except RecordTooLarge as error:
                record = records[error.index]
                if len(record.value) + len(record.key) < LEAST_BYTES:
                    raise
                log.warning("%s/%d: %s", self._name, record.seq, error)
                records[error.index] = self._rejected(record, str(error))

    def _rejected(self, record: OutboxRecord, detail: str) -> OutboxRecord:
        """Return the reject that replaces a record that is too large, with the same number."""
        # JSON may escape one byte as six: an eighth is always smaller than the refused record.
        limit = min(REJECT_LIMIT_BYTES // 4, len(record.value) // 8)
        reject = Reject(
            epoch=record.epoch,
            seq=record.seq,
            pod_index=self._shard,
            reason=Reason.TOO_LARGE,
            detail=detail,
            payload=record.value[:limit].decode(errors="ignore"),
            size_bytes=len(record.value),
            created_at=from_ms(record.received_ms),
        )
        return replace(record, key=record.key[:KEY_LIMIT_BYTES], value=encode(reject))
