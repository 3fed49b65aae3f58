"""
Mutations of an answer: pure functions from a body and a source of randomness to another answer.

Each mutation imitates something that providers, proxies and broken encoders have sent: a field that
is missing, text that is no text, a document of another endpoint, a page instead of data.
"""

import copy
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

DEEP = 100_000  # brackets; Python's parsers follow about a thousand
HUGE_CHARACTERS = 300_000
SURROGATE = "cut \ud83d off"
NUL = "a\x00b"


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer as a fake provider sends it."""

    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Original:
    """
    The answer to be mutated.

    Attributes:
        body: The body, UTF-8.
        content_type: Its type.
        foreign: Bodies of other endpoints and providers.
        key: The key of the call, for an answer that quotes it.
        status: The HTTP status with which it was recorded.
    """

    body: bytes
    content_type: str
    foreign: Sequence[bytes] = ()
    key: str = ""
    status: int = 200

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


Mutate = Callable[[Original, Random], Sent | None]


# A value inside JSON ------------------------------------------------------------------------------


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values below the root; the first elements stand for long lists."""
    places: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        steps = list(value.items())
    elif isinstance(value, list):
        steps = list(enumerate(value))[:3]
    else:
        return places
    for step, inner in steps:
        places.append((*at, step))
        places += _places(inner, (*at, step))
    return places


def _get(root: Any, path: Sequence[Any]) -> Any:
    for step in path:
        root = root[step]
    return root


def _in_json(change: Callable[[Any, Any, Random], None]) -> Mutate:
    """Apply `change(container, step, random)` to a random value of a JSON body."""

    def mutate(original: Original, random: Random) -> Sent | None:
        try:
            root = copy.deepcopy(json.loads(original.body))
        except ValueError:
            return None
        places = _places(root)
        if not places:
            return None
        path = random.choice(places)
        change(_get(root, path[:-1]), path[-1], random)
        return Sent(json.dumps(root).encode(), original.content_type)

    return mutate


def _everywhere(value: Any) -> Mutate:
    """Replace every leaf of one name, such as the headline of each article."""

    def mutate(original: Original, random: Random) -> Sent | None:
        try:
            root = json.loads(original.body)
        except ValueError:
            return None
        names = sorted({path[-1] for path in _places(root) if isinstance(path[-1], str)})
        if not names:
            return None
        name = random.choice(names)
        return Sent(json.dumps(_with(root, name, value)).encode(), original.content_type)

    return mutate


def _with(root: Any, name: str, value: Any) -> Any:
    if isinstance(root, dict):
        return {
            key: value if key == name else _with(part, name, value) for key, part in root.items()
        }
    if isinstance(root, list):
        return [_with(part, name, value) for part in root]
    return root


def _remove(container: Any, step: Any, _random: Random) -> None:
    del container[step]


def _replace_by(*values: Any) -> Callable[[Any, Any, Random], None]:
    def change(container: Any, step: Any, random: Random) -> None:
        container[step] = copy.deepcopy(random.choice(values))

    return change


def _wrap(container: Any, step: Any, random: Random) -> None:
    container[step] = random.choice(([container[step]], {"value": container[step]}))


def _repeat(container: Any, step: Any, _random: Random) -> None:
    if isinstance(container, list):
        container.append(copy.deepcopy(container[step]))
    else:
        container[step] = [container[step], container[step]]


def _raw_number(text: str) -> Mutate:
    """Replace a value by a number that `json.dumps` cannot write."""

    def mutate(original: Original, random: Random) -> Sent | None:
        sent = _in_json(_replace_by("@number@"))(original, random)
        if sent is None:
            return None
        return Sent(sent.body.replace(b'"@number@"', text.encode()), sent.content_type)

    return mutate


# The whole body -----------------------------------------------------------------------------------


def _body(make: Callable[[Original, Random], bytes]) -> Mutate:
    return lambda original, random: Sent(make(original, random), original.content_type)


def _constant(body: bytes) -> Mutate:
    return _body(lambda _original, _random: body)


def _typed(content_type: str) -> Mutate:
    return lambda original, _random: Sent(original.body, content_type)


def _refusal(body: object, status: int, **headers: str) -> Mutate:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = json.dumps(body).encode()
    return lambda _original, _random: Sent(data, "application/json", status, named)


def _cut(original: Original, random: Random) -> bytes:
    return original.body[: random.randrange(len(original.body) + 1)]


def _foreign(original: Original, random: Random) -> Sent | None:
    if not original.foreign:
        return None
    return Sent(random.choice(original.foreign), original.content_type)


def _cell(value: str) -> Mutate:
    """Replace a cell of a CSV body."""

    def mutate(original: Original, random: Random) -> Sent | None:
        lines = original.text.splitlines()
        if original.body[:1] in b"{[<" or len(lines) < 2:
            return None
        at = random.randrange(len(lines))
        cells = lines[at].split(",")
        cells[random.randrange(len(cells))] = value
        lines[at] = ",".join(cells)
        return Sent("\n".join(lines).encode("utf-8", "surrogatepass"), original.content_type)

    return mutate


def _flip(original: Original, random: Random) -> bytes:
    data = bytearray(original.body)
    for _ in range(random.randint(1, 5)):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data)


def _echo(original: Original, _random: Random) -> Sent:
    text = f"Invalid API call with key {original.key}, see https://x/?apikey={original.key}"
    return Sent(json.dumps({"message": text, "Error Message": text}).encode(), "application/json")


def _packed_garbage(original: Original, _random: Random) -> Sent:
    data = gzip.compress(original.body)[:10] + b"\xff\x00 no deflate"
    return Sent(data, original.content_type, headers={"Content-Encoding": "gzip"})


HTML = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body><p>Back soon</p>"

MUTATIONS: Mapping[str, Mutate] = {
    "original": lambda original, _random: Sent(original.body, original.content_type),
    # one value
    "field missing": _in_json(_remove),
    "null": _in_json(_replace_by(None)),
    "wrong type": _in_json(_replace_by("text", 7, -1.5, True, [], {}, [1], {"a": 1}, "")),
    "nested": _in_json(_wrap),
    "duplicated value": _in_json(_repeat),
    "lone surrogate": _in_json(_replace_by(SURROGATE)),
    "NUL in text": _in_json(_replace_by(NUL)),
    "huge text": _in_json(_replace_by("x" * HUGE_CHARACTERS)),
    "huge key": _everywhere("k" * 20_000),
    "giant number": _in_json(_replace_by(10**30, -(10**18), 1e308, "9" * 400)),
    "giant exponent": _raw_number("1e99999"),
    "monstrous exponent": _raw_number("1e999999999"),
    "5000 digits": _raw_number("9" * 5_000),
    "not a number": _raw_number("NaN"),
    "strange text": _in_json(
        _replace_by("NaN", "Infinity", "0000-00-00", "99999-01-01", "1e5", "-")
    ),
    "deep value": _raw_number("[" * 500 + "]" * 500),
    "surrogates everywhere": _everywhere(SURROGATE),
    "null everywhere": _everywhere(None),
    "object everywhere": _everywhere({"a": [1]}),
    "list everywhere": _everywhere(["text"]),
    "number everywhere": _everywhere(10**25),
    # the document
    "another document": _foreign,
    "HTML": _constant(HTML),
    "empty": _constant(b""),
    "blank": _constant(b" \n "),
    "null document": _constant(b"null"),
    "empty list": _constant(b"[]"),
    "empty object": _constant(b"{}"),
    "text document": _constant(b'"ok"'),
    "number document": _constant(b"0"),
    "list of texts": _constant(b'["a", "b"]'),
    "list of nulls": _constant(b"[null, null]"),
    "deep nesting": _constant(b"[" * DEEP + b"]" * DEEP),
    "deep objects": _constant(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "truncated": _body(_cut),
    "duplicated document": _body(lambda original, _random: original.body * 2),
    "wrapped document": _body(lambda original, _random: b'{"data": ' + original.body + b"}"),
    "flipped bytes": _body(_flip),
    "NUL bytes": _body(lambda original, _random: original.body.replace(b" ", b"\x00", 5)),
    "only NUL": _constant(b"\x00" * 64),
    "surrogate bytes": _body(
        lambda original, _random: original.body.replace(b"a", b"\xed\xa0\x80", 3)
    ),
    "unclosed quote": _body(lambda original, _random: original.body + b'\n"unclosed,1,2\n3,4'),
    "unclosed cell": _cell('"unclosed'),
    "cell surrogate": _cell(SURROGATE),
    "cell NUL": _cell(NUL),
    "cell number": _cell("9" * 5_000),
    "cell text": _cell("text"),
    "cell empty": _cell(""),
    # the encoding
    "BOM": _body(lambda original, _random: b"\xef\xbb\xbf" + original.body),
    "UTF-16": _body(lambda original, _random: original.text.encode("utf-16")),
    "Latin-1": _body(
        lambda original, _random: original.text.encode("latin-1", "replace") + b"\xe9"
    ),
    "unknown charset": _typed("application/json; charset=no-such-charset"),
    "codec charset": _typed("application/json; charset=zlib"),
    "UTF-7 charset": _typed("application/json; charset=utf-7"),
    "UTF-16 charset": _typed("application/json; charset=utf-16"),
    "IDNA charset": _typed("application/json; charset=idna"),
    "undefined charset": _typed("text/plain; charset=undefined"),
    "escape charset": _typed("text/plain; charset=unicode_escape"),
    "image type": _typed("image/png"),
    "odd type": _typed(";;;"),
    "gzip garbage": _packed_garbage,
    "unpacked gzip": lambda original, _random: Sent(
        original.body, original.content_type, headers={"Content-Encoding": "gzip"}
    ),
    # refusals
    "errors of texts": _refusal({"errors": ["Not authorized", None, 5]}, 200),
    "errors text": _refusal({"errors": "Not authorized"}, 200),
    "error code text": _refusal(
        {"status": {"error_code": "rate_limit", "error_message": SURROGATE}}, 200
    ),
    "status text": _refusal({"status": "error", "code": {"a": 1}, "message": ["x"]}, 200),
    "error object": _refusal({"error": {"code": None, "message": {"text": NUL}}}, 200),
    "error list": _refusal({"error": ["x"], "finance": {"error": "x"}}, 400),
    "refused with NUL": _refusal({"error": NUL, "detail": SURROGATE}, 400),
    "unauthorized": _refusal({"message": SURROGATE}, 401),
    "payment": _refusal([NUL], 402),
    "not found": _refusal({"error": NUL}, 404),
    "too many": _refusal({"error": SURROGATE}, 429, Retry_After="soon"),
    "too many for ever": _refusal({"error": NUL}, 429, Retry_After="1e400"),
    "too many till infinity": _refusal({}, 429, Retry_After="inf"),
    "too many till 9999": _refusal({}, 429, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "too many till NaN": _refusal({}, 429, Retry_After="nan", x_rate_limit_reset="1e300"),
    "server error": _refusal({"error": SURROGATE}, 500),
    "teapot": _refusal(["x"], 418),
    "key in the answer": _echo,
}
