"""Alpha Vantage: macroeconomic series, fundamentals, calendars and news."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, SECOND, Quota, Window, sliding
from ray_pipeline.providers.refusals import Refusal, Verdict, broken, by_status, one_line
from ray_pipeline.transport.answer import Answer

NEW_YORK = "America/New_York"


def classify(answer: Answer) -> Verdict | None:
    """
    Recognise Alpha Vantage's refusals, nearly all of which have HTTP status 200.

    `Information` names the quota, the rate, the key or a premium endpoint; `Note` is the older
    message about the rate; `Error Message` means a request that is not understood, and `{}` an
    unknown symbol. A function that answers with CSV spells "Information" in its only row.
    """
    if verdict := by_status(answer):
        return verdict
    text = answer.text.strip()
    if not text.startswith("{"):
        return _spelled_row(text)
    if verdict := broken(answer):
        return verdict
    body = answer.body()
    if body == {}:
        return Verdict(Refusal.NOT_FOUND, "an empty object: the symbol is not known")
    for key in ("Information", "Note"):
        if isinstance(body.get(key), str):
            return Verdict(_information(body[key]), one_line(body[key]))
    if isinstance(message := body.get("Error Message"), str):
        bad_key = "apikey" in message.lower() or "api key" in message.lower()
        return Verdict(Refusal.KEY if bad_key else Refusal.REQUEST, one_line(message))
    return None


def _information(message: str) -> Refusal:
    text = message.lower()
    if (
        "per second" in text
        or "per minute" in text
        or "spreading out" in text
        or "frequency" in text
    ):
        # One message names the limits of the minute and of the day. "Spreading out" requests helps
        # against the minute's limit only.
        return Refusal.QUOTA if "per day" in text and "spreading" not in text else Refusal.RATE
    if "per day" in text or "daily" in text or "rate limit" in text:
        return Refusal.QUOTA
    if "premium" in text:
        return Refusal.PLAN
    if "demo" in text or "api key" in text or "apikey" in text:
        return Refusal.KEY
    return Refusal.QUOTA


def _spelled_row(text: str) -> Verdict | None:
    """Recognise a CSV with a row that spells a word, one letter per column: 'I,n,f,o,r,m,a'."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 2:
        cells = [cell.strip() for cell in lines[1].split(",")]
        word = "".join(cells)
        # The row has as many columns as the data would have, so the word may be cut off.
        if len(cells) > 2 and all(len(cell) <= 1 for cell in cells):
            if "Information".startswith(word):
                return Verdict(Refusal.QUOTA, "a row that spells 'Information': the quota")
            if "ErrorMessage".startswith(word.replace(" ", "")):
                return Verdict(Refusal.REQUEST, "a row that spells 'Error'")
    return None


PROVIDER = Provider(
    "alpha_vantage",
    "Alpha Vantage",
    "https://www.alphavantage.co",
    Quota(
        (sliding(1, SECOND), sliding(5, MINUTE), Window(25, reset="day", zone=NEW_YORK)),
        reserve=0.2,
    ),
    auth="query",
    auth_name="apikey",
    classify=classify,
    free_plan="25 calls a day, 5 a minute",
    key_url="https://www.alphavantage.co/support/#api-key",
)
