"""Dead letters of a job: the parts of an answer that are no rows, and rows that are refused."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.unreadable import EXCERPT_CHARACTERS
from ray_pipeline.jobs.spec import Run, Unparsed
from ray_pipeline.storage.postgres.bad_data import Refusals
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.storable_json import encode_json
from ray_pipeline.storage.postgres.stored_requests import request_json

MOST_PARTS = 100  # of one answer, as dead letters of their own
SAVE_PAYLOAD = """
    INSERT INTO payloads (job, source, slot, batch, request, body, received_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
# The same answer is stored once, however often it is parsed.
KNOWN_PAYLOAD = """
    SELECT id FROM payloads WHERE job = %s AND source = %s AND slot = %s AND request = %s
    AND body = %s LIMIT 1
"""
PARK = """
    INSERT INTO dead_letters
        (feed, topic, partition, "offset", key, payload, reason, detail, parked_at)
    SELECT %(job)s, %(topic)s, 0, %(payload)s, %(key)s, %(raw)s, %(reason)s, %(detail)s,
           clock_timestamp()
    WHERE NOT EXISTS (
        SELECT FROM dead_letters WHERE topic = %(topic)s AND "offset" = %(payload)s
        AND payload = %(raw)s AND reason = %(reason)s AND state = 'open')
"""


@dataclass(frozen=True, slots=True)
class JobDeadLetters:
    """Writes the dead letters of a run, in the caller's transaction."""

    connection: Connection
    job: str
    run: Run

    async def park(self, source: str, results: Sequence[Collected], refused: Refusals) -> int:
        """Write the dead letters of some results and of their refused rows; return how many."""
        count = 0
        for result in results:
            refused_rows = [refused[id(row)] for row in result.rows if id(row) in refused]
            if not (result.bad or refused_rows):
                continue
            payload = await self._keep_payload(source, result)
            for bad in _bounded(result.bad):
                await self._write(result, payload, _raw(bad.raw), bad.reason, bad.detail)
            for bad_row in refused_rows:
                raw = _raw(asdict(bad_row.row))  # type: ignore[call-overload]
                detail = f"{bad_row.table}: {bad_row.detail}"
                await self._write(result, payload, raw, bad_row.reason, detail)
            count += len(result.bad) + len(refused_rows)
        return count

    async def _keep_payload(self, source: str, result: Collected) -> int:
        request = request_json(result.request)
        identity = (self.job, source, self.run.slot)
        cursor = await self.connection.execute(KNOWN_PAYLOAD, (*identity, request, result.text))
        row = await cursor.fetchone()
        if row is None:
            received_at = result.received_at or self.run.now
            cursor = await self.connection.execute(
                SAVE_PAYLOAD, (*identity, self.run.batch, request, result.text, received_at)
            )
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def _write(
        self, result: Collected, payload: int, raw: bytes, reason: str, detail: str
    ) -> None:
        await self.connection.execute(
            PARK,
            {
                "job": self.job,
                "topic": f"job:{self.job}",
                "payload": payload,
                "key": result.request.item.encode(),
                "raw": raw,
                "reason": reason,
                "detail": detail[:500],
            },
        )


def _raw(value: object) -> bytes:
    """Return a part of an answer as JSON, or the beginning of its representation."""
    for encode in (encode_json, _representation):
        try:
            return encode(value)
        except Exception:  # noqa: S112 - a value of any type, nested as deeply as a provider likes
            continue
    return type(value).__name__.encode()


def _representation(value: object) -> bytes:
    return repr(value)[:EXCERPT_CHARACTERS].encode("utf-8", "backslashreplace")


def _bounded(bad: Sequence[Unparsed]) -> Sequence[Unparsed]:
    """
    Return the parts that become dead letters, and a last one that stands for the others.

    A provider that changes one field of a long list makes every part of it unreadable. The payload
    is kept as a whole, so that a replay reads all parts again.
    """
    omitted_parts = len(bad) - MOST_PARTS
    if omitted_parts <= 0:
        return bad
    text = f"{omitted_parts} more parts of this answer cannot be read; its payload holds them"
    return [*bad[:MOST_PARTS], Unparsed("", bad[-1].reason, text)]
