"""CoinGecko: coins, their markets and their tickers."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, Quota, Window, sliding
from ray_pipeline.providers.refusals import (
    Refusal,
    Verdict,
    by_status_or_broken,
    error_message,
    json_or_none,
    requested_pause,
)
from ray_pipeline.transport.answer import Answer

KEY_CODES = frozenset({401, 10002, 10010, 10011})
QUOTA_CODE = 10006
PLAN_CODE = 10005


def classify(answer: Answer) -> Verdict | None:
    """Recognise CoinGecko's refusals: `status.error_code` in the body, the month in the text."""
    message = error_message(answer)
    monthly = "monthly" in message.lower()
    code = _error_code(answer)
    if code in KEY_CODES:
        return Verdict(Refusal.KEY, message)
    if code == QUOTA_CODE or ((code or answer.status == 429) and monthly):
        return Verdict(Refusal.QUOTA, message)
    if code == PLAN_CODE:
        return Verdict(Refusal.PLAN, message)
    if code == 429:
        return Verdict(Refusal.RATE, message, requested_pause(answer))
    return by_status_or_broken(answer)


def _error_code(answer: Answer) -> int:
    body = json_or_none(answer)
    status = body.get("status") if isinstance(body, dict) else None
    code = status.get("error_code") if isinstance(status, dict) else None
    return code if isinstance(code, int) else 0


PROVIDER = Provider(
    "coingecko",
    "CoinGecko",
    "https://api.coingecko.com/api/v3",
    Quota((sliding(30, MINUTE), Window(10_000, reset="month")), reserve=0.1),
    auth="header",
    auth_name="x-cg-demo-api-key",
    classify=classify,
    free_plan="10,000 calls a month, 30 a minute",
    key_url="https://www.coingecko.com/en/developers/dashboard",
)
