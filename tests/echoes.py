"""Texts in which a program may write a secret, and how their readers would decode them."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus, unquote, unquote_plus

KEY = 'c8/x+Q="a\\b&1%2é<\U0001f511'


def all_percent(key: str) -> str:
    return "".join(f"%{octet:02X}" for octet in key.encode())


def all_u(key: str) -> str:
    units = key.encode("utf-16-be")
    return "".join(
        f"\\u{int.from_bytes(units[at : at + 2], 'big'):04x}" for at in range(0, len(units), 2)
    )


def lower_escapes(key: str) -> str:
    quoted = quote(key, safe="")
    parts = quoted.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def json_escaped(key: str) -> str:
    return json.dumps(key)[1:-1]


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL, slash kept": quote,
    "URL": lambda key: quote(key, safe=""),
    "URL, lower case": lower_escapes,
    "URL, plus for space": quote_plus,
    "URL, every character": all_percent,
    "URL, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "JSON": json_escaped,
    "JSON, Unicode kept": lambda key: json.dumps(key, ensure_ascii=False)[1:-1],
    "JSON, capitals": lambda key: json_escaped(key).replace("\\ud83d\\udd11", "\\uD83D\\uDD11"),
    "JSON, slashes escaped": lambda key: json_escaped(key).replace("/", "\\/"),
    "JSON, every character": all_u,
    "JSON, every character, capitals": lambda key: all_u(key).upper().replace("\\U", "\\u"),
    "JSON in JSON": lambda key: json_escaped(json.dumps(key)),
    "JSON in URL": lambda key: quote(json.dumps(key), safe=""),
    "HTML": html.escape,
    "HTML, decimal": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "HTML, hexadecimal": lambda key: "".join(f"&#x{ord(char):X};" for char in key),
    "HTML in JSON": lambda key: json_escaped(html.escape(key)).replace("&", "\\u0026"),
    "repr": lambda key: repr(key)[1:-1],
    "repr of bytes": lambda key: repr(key.encode())[2:-1],
    "ascii": lambda key: ascii(key)[1:-1],
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64, no padding": lambda key: base64.b64encode(key.encode()).decode().rstrip("="),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base64 in a URL": lambda key: quote(base64.b64encode(key.encode()).decode(), safe=""),
    "Basic, 1 before": lambda key: base64.b64encode(f"u:{key}".encode()).decode(),
    "Basic, 2 before": lambda key: base64.b64encode(f"us:{key}:more".encode()).decode(),
    "Basic, 3 before": lambda key: base64.urlsafe_b64encode(f"use:{key}:m".encode()).decode(),
}


def decodings(text: str) -> list[str]:
    """Return the text as each kind of reader would see it."""
    read = [text, unquote(text), unquote_plus(text), html.unescape(text), unquote(unquote(text))]
    for wrapped in (f'"{text}"', text):
        try:
            read.append(str(json.loads(wrapped, strict=False)))
        except ValueError:
            continue
    return read
