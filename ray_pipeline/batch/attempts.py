"""Make one request of a source: wait for a permit, call, retry, and act on refusals."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from ray_pipeline.batch.permits import (
    CallPermits,
    NotBefore,
    Pause,
    Permit,
    PermitBatcher,
    report,
    timed,
)
from ray_pipeline.batch.responses import ParsedAnswer, broken, collected, read, refused
from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.run_ports import Dependencies
from ray_pipeline.errors import (
    AnswerTooLarge,
    PipelineError,
    ProviderUnavailable,
    RedirectRefused,
)
from ray_pipeline.jobs.spec import JobSpec, Request, Run, Source
from ray_pipeline.providers.quota import Quota
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.redact import fingerprint, redactor
from ray_pipeline.retry import Backoff
from ray_pipeline.transport.answer import Answer

ATTEMPTS = 4  # for one request, while the provider or the network fails
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 30.0
# An answer and its rows take up to eight times its size, and the largest recorded one has 0.3 MB.
LARGEST_BYTES = 8 * 2**20
RATE_PAUSE_S = 60.0  # after HTTP 429 without Retry-After
BLOCKED_PAUSE = timedelta(hours=1)
# A sliding window does not say when the provider's own count ends: probe the key after this.
QUOTA_PAUSE = timedelta(hours=6)

# Another attempt would be refused in the same way.
FINAL = frozenset({Refusal.REQUEST, Refusal.PLAN, Refusal.NOT_FOUND, Refusal.OTHER_ITEM})
# The fault of one key: another key may succeed. Each such refusal puts a key into cooldown, so the
# number of keys bounds these attempts, and they do not count towards ATTEMPTS.
KEY_FAULTS = frozenset({Refusal.QUOTA, Refusal.KEY})


class Deferred(Exception):
    """The run cannot continue before a moment; None: before the keys change."""

    def __init__(self, until: datetime | None, reason: str) -> None:
        super().__init__(reason)
        self.until = until
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Retry:
    """
    An attempt that failed and may be repeated.

    Attributes:
        problem: Why it failed.
        counts: Whether it counts towards the limit of attempts.
        answer: The answer, if it was not JSON.
    """

    problem: str
    counts: bool = True
    answer: Answer | None = None


def cooldown_pause(verdict: Verdict, quota: Quota, *, speed: float) -> Pause:
    """Return how long the refused key must not be used."""
    if verdict.refusal is Refusal.KEY:
        return None
    if verdict.refusal is Refusal.BLOCKED:
        return BLOCKED_PAUSE
    if verdict.pause is not None:
        return timedelta(seconds=verdict.pause.wait_s)
    if verdict.refusal is Refusal.RATE:
        return timedelta(seconds=RATE_PAUSE_S / speed)
    window = quota.longest()
    return window if window and window.reset != "sliding" else QUOTA_PAUSE


class SourceCaller:
    """Makes the requests of one source within the provider's quota."""

    def __init__(self, spec: JobSpec, run: Run, source: Source, dependencies: Dependencies) -> None:
        self._spec = spec
        self._run = run
        self._source = source
        self._provider = source.provider
        self._dependencies = dependencies
        keys = dependencies.keys
        # The limiter and the database know keys by fingerprint only.
        self._keys = {fingerprint(key): key for key in keys.get(source.provider.name, ())}
        self._redactor = redactor(key for provider_keys in keys.values() for key in provider_keys)
        self._permits = PermitBatcher(self._acquire)

    async def call(self, request: Request, *, largest_bytes: int) -> Collected | None:
        """
        Make a request, retry it where that helps, and return its result.

        Return None for an answer of more than `largest_bytes` if a request with the full limit may
        succeed.

        Raises:
            Deferred: If no permit comes in time, or the provider blocks this address.
        """
        backoff = Backoff(
            base_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, random=self._dependencies.random
        )
        attempts = 0
        while True:
            permit = await self._permit(self._permits.take)
            result = await self._attempt(request, permit, largest_bytes)
            if isinstance(result, Retry):
                attempts += result.counts
                if attempts < ATTEMPTS:
                    if result.counts:
                        await self._dependencies.sleep(backoff.next_s() / self._dependencies.speed)
                    continue
                return _gave_up(request, result)
            return result

    async def _attempt(
        self, request: Request, permit: Permit, largest_bytes: int
    ) -> Collected | Retry | None:
        permits = CallPermits(
            permit,
            another=self._another,
            started=self._dependencies.calls.add,
            finished=partial(report, self._dependencies.limiter),
        )
        try:
            answer = await self._dependencies.fetcher.fetch(
                self._provider,
                request,
                key=self._keys.get(permit.key, ""),
                largest_bytes=largest_bytes,
                next_call=permits.next_call,
            )
            # From here on nothing contains a key: not the rows, payloads or dead letters.
            answer = answer.redacted(self._redactor)
        except AnswerTooLarge as error:
            if largest_bytes < LARGEST_BYTES:
                return None
            return Collected(request, "failed", why=self._clean(str(error)), fault="answer")
        except RedirectRefused as error:
            why = f"refused: {self._clean(' '.join(str(error).split()))}"
            return Collected(request, "failed", why=why, fault="refusal")
        except ProviderUnavailable as error:
            return Retry(self._clean(str(error)))
        except (PipelineError, Deferred):
            raise
        except Exception as error:
            # A library's error may quote the URL, and the URL the key: no traceback is logged.
            return Retry(self._clean(f"{type(error).__name__}: {error}"))
        parsed = read(self._source, answer, request, self._run)
        if isinstance(parsed, ParsedAnswer):
            return collected(self._source, parsed, request, answer=answer)
        if parsed.refusal is Refusal.BROKEN:
            return Retry(parsed.message, answer=answer)
        return await self._refused(request, parsed, permit)

    async def _refused(
        self, request: Request, verdict: Verdict, permit: Permit
    ) -> Collected | Retry:
        kind = verdict.refusal
        if kind in FINAL:
            return refused(self._source, verdict, request, now=self._dependencies.clock())
        if kind in KEY_FAULTS | {Refusal.RATE, Refusal.BLOCKED}:
            quota, speed = self._provider.quota, self._dependencies.speed
            pause = cooldown_pause(verdict, quota, speed=speed)
            until = await self._dependencies.limiter.cooldown(
                self._provider.name, permit.key, pause=pause, reason=verdict.reason
            )
            if kind is Refusal.BLOCKED:
                # A guard in front of the provider blocks the address, whatever the key.
                raise Deferred(until, verdict.reason)
        return Retry(verdict.reason, counts=kind not in KEY_FAULTS)

    async def _another(self, key: str) -> Permit:
        """Wait for a permit of the same key: a redirect carries the key of the first call."""
        limiter, provider, spec = self._dependencies.limiter, self._provider.name, self._spec
        return await self._permit(
            lambda: timed(limiter.acquire(provider, job=spec.name, sweep=spec.sweep, key=key))
        )

    async def _permit(self, take: Callable[[], Awaitable[Permit | NotBefore]]) -> Permit:
        if not self._provider.quota.windows and not self._keys:
            return Permit("")
        while True:
            answer = await take()
            if isinstance(answer, Permit):
                return answer
            reason = f"{self._provider.title}: {self._clean(answer.reason)}"
            if answer.moment is None:
                raise Deferred(None, reason)
            wait_s = answer.wait_from(self._dependencies.clock())
            if wait_s > self._dependencies.longest_wait_s:
                raise Deferred(answer.moment, reason)
            await self._dependencies.sleep(max(0.0, wait_s))

    async def _acquire(self, calls: int) -> Permit | NotBefore:
        return await self._dependencies.limiter.acquire(
            self._provider.name, job=self._spec.name, sweep=self._spec.sweep, calls=calls
        )

    def _clean(self, text: str) -> str:
        return self._redactor.text(text)


def _gave_up(request: Request, last: Retry) -> Collected:
    why = f"{ATTEMPTS} attempts: {last.problem}"
    if last.answer is not None:
        return broken(request, last.answer, why)
    return Collected(request, "failed", why=why, fault="provider")
