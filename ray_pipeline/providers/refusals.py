"""
What an answer means when it is not data.

Providers refuse in many ways, and several of them with HTTP 200. Every answer is classified before
anything is parsed: a refusal that is taken for data, or for "nothing new", is the fault that nobody
sees for months.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from ray_pipeline.redact import Redactor


class Refusal(Enum):
    """Why an answer is not data, and so what to do."""

    RATE = "rate"  # too fast: the same call works after a pause
    QUOTA = "quota"  # this key's day or month is used up
    KEY = "key"  # this key is not accepted; it will not be until somebody changes it
    PLAN = "plan"  # this plan does not include what was asked; no key of it will get it
    REQUEST = "request"  # the provider does not understand the question
    NOT_FOUND = "not_found"  # it does not know the item
    BLOCKED = "blocked"  # a guard in front of the provider, not the provider
    SERVER = "server"  # the provider is ill
    BROKEN = "broken"  # cut off on the way, or not what it claims to be


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    A refusal.

    Attributes:
        refusal: Why.
        message: What the provider said, one line.
        retry_after_s: Seconds that it asked us to wait; None where it did not say.
    """

    refusal: Refusal
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An HTTP answer, as it came.

    Attributes:
        status: HTTP status.
        headers: With names in lower case.
        text: The body.
        received_at: When it was complete, UTC.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    received_at: datetime
    _parsed: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def body(self) -> Any:
        """
        Return the body as JSON: the same object to all who ask, so that it is read only once.

        Raises:
            ValueError: If it is none.
        """
        if not self._parsed:
            self._parsed.append(json.loads(self.text, parse_float=Decimal))
        return self._parsed[0]

    def redacted(self, redactor: Redactor) -> "Answer":
        """Return the answer without secrets, in its headers' values and in its body."""
        headers = {name: redactor.text(value) for name, value in self.headers.items()}
        return replace(self, headers=headers, text=redactor.text(self.text))


Classify = Callable[[Answer], Verdict | None]

LONGEST_MESSAGE = 300


def by_status(answer: Answer) -> Verdict | None:
    """Judge by the HTTP status alone, and by what guards put in front of a provider."""
    if "cf-mitigated" in answer.headers or _is_cloudflare(answer):
        return Verdict(Refusal.BLOCKED, "Cloudflare stands before the provider", _after(answer))
    if answer.status < 400:
        return None
    kind = {
        400: Refusal.REQUEST,
        401: Refusal.KEY,
        402: Refusal.PLAN,
        403: Refusal.KEY,
        404: Refusal.NOT_FOUND,
        408: Refusal.SERVER,
        410: Refusal.NOT_FOUND,
        422: Refusal.REQUEST,
        425: Refusal.SERVER,
        426: Refusal.PLAN,
        429: Refusal.RATE,
    }.get(answer.status, Refusal.SERVER if answer.status >= 500 else Refusal.REQUEST)
    return Verdict(kind, f"HTTP {answer.status}: {_line(answer.text)}", _after(answer))


def _is_cloudflare(answer: Answer) -> bool:
    # A challenge comes with 403 or 503, but has been seen with 200 too.
    start = answer.text[:2000].lower()
    return start.lstrip().startswith(("<!doctype", "<html")) and (
        "cloudflare" in start or "just a moment" in start or "attention required" in start
    )


def _after(answer: Answer) -> float | None:
    """Return the pause a provider asks for: Retry-After, or the time of a reset."""
    text = answer.headers.get("retry-after", "").strip()
    if text:
        try:
            return max(0.0, float(text))
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(text) - answer.received_at).total_seconds())
        except (ValueError, TypeError):
            pass
    if answer.status == 429 and (reset := answer.headers.get("x-rate-limit-reset")):
        try:
            return max(0.0, float(reset) - answer.received_at.timestamp())
        except ValueError:
            return None
    return None


def alpha_vantage(answer: Answer) -> Verdict | None:
    """
    Recognise Alpha Vantage's refusals, nearly all of which come with HTTP 200.

    `Information` is today's quota, rate, key or premium message, `Note` the older one of the rate,
    `Error Message` a question it does not understand, `{}` a symbol it does not know. A CSV
    function answers with the letters of "Information" as its only row.
    """
    if found := by_status(answer):
        return found
    text = answer.text.strip()
    if not text.startswith("{"):
        return _letter_row(text)
    try:
        body = answer.body()
    except ValueError:
        return Verdict(Refusal.BROKEN, f"not JSON, or cut off: {_line(text)}")
    if body == {}:
        return Verdict(Refusal.NOT_FOUND, "an empty object: the symbol is not known")
    for key in ("Information", "Note"):
        if isinstance(body.get(key), str):
            return Verdict(_information(body[key]), _line(body[key]))
    if isinstance(message := body.get("Error Message"), str):
        bad_key = "apikey" in message.lower() or "api key" in message.lower()
        return Verdict(Refusal.KEY if bad_key else Refusal.REQUEST, _line(message))
    return None


def _information(message: str) -> Refusal:
    low = message.lower()
    if "per second" in low or "per minute" in low or "spreading out" in low or "frequency" in low:
        # One text names both limits; only the day's cannot be waited for.
        return Refusal.QUOTA if "per day" in low and "spreading" not in low else Refusal.RATE
    if "per day" in low or "daily" in low or "rate limit" in low:
        return Refusal.QUOTA
    if "premium" in low:
        return Refusal.PLAN
    if "demo" in low or "api key" in low or "apikey" in low:
        return Refusal.KEY
    return Refusal.QUOTA


def _letter_row(text: str) -> Verdict | None:
    """A CSV whose row spells a word, a letter a column: 'I,n,f,o,r,m,a'."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 2:
        cells = [cell.strip() for cell in lines[1].split(",")]
        word = "".join(cells)
        if len(cells) > 2 and all(len(cell) <= 1 for cell in cells):
            if "Information".startswith(word):
                return Verdict(Refusal.QUOTA, "a row that spells 'Information': the quota")
            if "Error Message".replace(" ", "").startswith(word.replace(" ", "")):
                return Verdict(Refusal.REQUEST, "a row that spells 'Error'")
    return None


def bithumb(answer: Answer) -> Verdict | None:
    """Recognise Bithumb's: under HTTP 200 an `error`, or a `status` other than 0000."""
    if found := by_status(answer):
        return found
    body = _parsed(answer)
    if isinstance(body, Verdict):
        return body
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, dict):
        missing = str(error.get("name")) == "404"
        text = str(error.get("message", error))
        return Verdict(Refusal.NOT_FOUND if missing else Refusal.REQUEST, _line(text))
    status = str(body.get("status", "0000"))
    if status != "0000":
        return Verdict(Refusal.REQUEST, f"status {status}: {_line(str(body.get('message')))}")
    return None


def finnhub(answer: Answer) -> Verdict | None:
    """Recognise Finnhub's: 403 means the plan, not the key; 429 may be plain text."""
    if answer.status == 403 and "access to this resource" in answer.text:
        return Verdict(Refusal.PLAN, _line(_message(answer)))
    return by_status(answer) or _broken(answer)


def newsapi(answer: Answer) -> Verdict | None:
    """Recognise NewsAPI's codes; `rateLimited` is the day's quota, not the second's."""
    code = _field(answer, "code")
    kinds = {
        "rateLimited": Refusal.QUOTA,
        "apiKeyExhausted": Refusal.QUOTA,
        "apiKeyInvalid": Refusal.KEY,
        "apiKeyDisabled": Refusal.KEY,
        "apiKeyMissing": Refusal.KEY,
        "maximumResultsReached": Refusal.PLAN,
        "parameterInvalid": Refusal.REQUEST,
        "parametersMissing": Refusal.REQUEST,
        "sourcesTooMany": Refusal.REQUEST,
        "sourceDoesNotExist": Refusal.NOT_FOUND,
        "unexpectedError": Refusal.SERVER,
    }
    if code in kinds and _field(answer, "status") == "error":
        return Verdict(kinds[code], _line(_message(answer)), _after(answer))
    return by_status(answer) or _broken(answer)


def coingecko(answer: Answer) -> Verdict | None:
    """Recognise CoinGecko's: a `status.error_code` in the body, a month's limit in the text."""
    body = _or_none(answer)
    status = body.get("status") if isinstance(body, dict) else None
    message = _line(_message(answer))
    if isinstance(status, dict) and status.get("error_code"):
        code = int(status["error_code"])
        if code in {10002, 10010, 10011, 401}:
            return Verdict(Refusal.KEY, message)
        if code == 10006 or "monthly" in message.lower():
            return Verdict(Refusal.QUOTA, message)
        if code in {10005}:
            return Verdict(Refusal.PLAN, message)
        if code == 429:
            return Verdict(Refusal.RATE, message, _after(answer))
    if answer.status == 429 and "monthly" in message.lower():
        return Verdict(Refusal.QUOTA, message)
    return by_status(answer) or _broken(answer)


def x(answer: Answer) -> Verdict | None:
    """
    Recognise X's: 429 with its reset, and usage caps of the month.

    A 403 is about the application's access, so the key; a 404, or errors without data under HTTP
    200, are about the account that was asked for.
    """
    body = _or_none(answer)
    if isinstance(body, dict):
        title = str(body.get("title", ""))
        if answer.status in {403, 429} and "UsageCapExceeded" in title.replace(" ", ""):
            return Verdict(Refusal.QUOTA, _line(_message(answer)))
        if body.get("errors") and "data" not in body and answer.status == 200:
            first = body["errors"][0]
            kind = Refusal.NOT_FOUND if "Not Found" in str(first.get("title")) else Refusal.REQUEST
            return Verdict(kind, _line(str(first.get("detail", first))))
    return by_status(answer) or _broken(answer)


def fred(answer: Answer) -> Verdict | None:
    """Recognise FRED's: HTTP 400 for a bad key as well as for a bad question."""
    if answer.status == 400:
        message = _line(_message(answer))
        return Verdict(Refusal.KEY if "api_key" in message else Refusal.REQUEST, message)
    return by_status(answer) or _broken(answer)


def fmp(answer: Answer) -> Verdict | None:
    """Recognise FMP's: 'Error Message' in any status, 'Limit Reach' for the day's quota."""
    message = _line(_message(answer))
    low = message.lower()
    if "limit reach" in low:
        return Verdict(Refusal.QUOTA, message, _after(answer))
    if "exclusive endpoint" in low or "legacy endpoint" in low or "premium" in low:
        return Verdict(Refusal.PLAN, message)
    if "invalid api key" in low:
        return Verdict(Refusal.KEY, message)
    if answer.status in {402, 403, 429} and not answer.text.lstrip().startswith(("{", "[", "<")):
        kinds = {402: Refusal.PLAN, 403: Refusal.KEY, 429: Refusal.QUOTA}
        return Verdict(kinds[answer.status], message, _after(answer))
    if found := by_status(answer):
        return found
    if _field(answer, "Error Message"):
        return Verdict(Refusal.REQUEST, message)
    return _broken(answer)


def yahoo(answer: Answer) -> Verdict | None:
    """Recognise Yahoo's: a crumb that is no longer valid, and errors inside the envelope."""
    body = _or_none(answer)
    if isinstance(body, dict):
        for envelope in body.values():
            error = envelope.get("error") if isinstance(envelope, dict) else None
            if isinstance(error, dict):
                text = f"{error.get('code')}: {error.get('description')}"
                if "crumb" in text.lower() or "unauthorized" in text.lower():
                    return Verdict(Refusal.RATE, _line(text))
                if "not found" in text.lower() or answer.status == 404:
                    return Verdict(Refusal.NOT_FOUND, _line(text))
                return Verdict(Refusal.REQUEST, _line(text))
    return by_status(answer) or _broken(answer)


def truth_social(answer: Answer) -> Verdict | None:
    """Recognise Truth Social's: Cloudflare's page, and Mastodon's errors."""
    return by_status(answer) or _broken(answer)


def page(answer: Answer) -> Verdict | None:
    """Judge a web page: by its status, and by whether its end has arrived."""
    if found := by_status(answer):
        return found
    if "</html>" not in answer.text[-2000:].lower():
        return Verdict(Refusal.BROKEN, "the page is cut off")
    return None


# What they share -------------------------------------------------------------------------------


def _or_none(answer: Answer) -> Any:
    try:
        return answer.body()
    except ValueError:
        return None


def _parsed(answer: Answer) -> Any:
    return _broken(answer) or answer.body()


def _broken(answer: Answer) -> Verdict | None:
    """A body that was announced as JSON and is none: cut off on the way, or another server's."""
    try:
        answer.body()
    except ValueError:
        return Verdict(Refusal.BROKEN, f"not JSON, or cut off: {_line(answer.text)}")
    return None


def _field(answer: Answer, name: str) -> str:
    body = _or_none(answer)
    return str(body.get(name, "")) if isinstance(body, dict) else ""


def _message(answer: Answer) -> str:
    """Return what a provider says went wrong, wherever it says it."""
    body = _or_none(answer)
    return next(_texts(body), answer.text) if isinstance(body, dict) else answer.text


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    for name in ("message", "Error Message", "error_message", "detail", "error", "title"):
        value = body.get(name)
        if isinstance(value, str) and value:
            yield value
    for value in body.values():
        if isinstance(value, dict):
            yield from _texts(value)


def _line(text: str) -> str:
    """Return the first words of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_MESSAGE else f"{flat[:LONGEST_MESSAGE]}..."
