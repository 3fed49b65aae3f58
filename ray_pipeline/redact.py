"""
Replace secrets in every text that a provider sends and that is logged or stored.

A secret is recognised in each form in which other programs write it:

- literally, and with any of its characters escaped for a URL (`%2F`, `%2f`, `+` for a space, also
  escaped twice), for JSON (`\\u002f`, `\\/`, `\\"`), for Python (`\\x2f`) or for HTML (`&amp;`,
  `&#38;`, `&#x26;`);
- in base64, both alphabets, with or without padding, alone or inside a longer text, such as the
  `user:key` of Basic authentication.

A secret shorter than `SHORTEST` is not replaced. A secret shorter than `WHOLE_WORD_BELOW` is
replaced only if it is a whole word, and in base64 only if it is encoded alone: Alpha Vantage's key
`demo` must not change the word "demographic".

The search has three steps, because nearly every text contains no secret:

1. Look for needles: plain substrings, one of which is in every text that contains the secret in an
   unescaped or base64 form. `str.__contains__` is about a hundred times as fast as a pattern.
2. If the text contains an escape sign, search for any escaped character of any secret. Most texts
   with a percent sign or a backslash do not escape a character that is in a secret.
3. Only then search for the pattern of a secret. It has an alternative for each escape of each
   character. Its compilation takes milliseconds, so it is left to the first search (the `re`
   module caches it); most patterns are never compiled.
"""

import base64
import functools
import hashlib
import html.entities
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MASK = "***"
SHORTEST = 4  # characters; a shorter "secret" would match ordinary words
WHOLE_WORD_BELOW = 8  # characters

# Escaped twice, or more often: "%252F". A backslash may itself be escaped for a URL. Repetitions
# are bounded and possessive (no backtracking), so a text that consists of backslashes does not take
# quadratic time.
_AGAIN = "(?:25){0,3}"
_A_BACKSLASH = rf"(?:\\|%{_AGAIN}5[cC])"
_MORE_BACKSLASHES = _A_BACKSLASH + "{0,7}+"
_BASE64 = "[A-Za-z0-9+/_-]"
_PADDING = rf"(?:=|%{_AGAIN}3[dD]|\\{{1,8}}u003[dD]){{0,2}}"
# A word also begins after an escaped character: the "d" of `%3Ddemo` and of `\ndemo`.
_BEHIND_ESCAPE = r"(?<=%[0-9A-Fa-f]{2})|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4})"
_WORD_BEGINS, _WORD_ENDS = rf"(?:(?<!\w)|{_BEHIND_ESCAPE})", r"(?!\w)"
_ESCAPE_SIGNS = ("%", "\\", "&")
_SHORT_ESCAPES = "bfnrtu"  # the letters that JSON allows after a backslash
_NEXT_TO_NUMBER = frozenset("0123456789.-+eE:,[]{} \t\r\n")  # in JSON; a string has a quote there


@dataclass(frozen=True, slots=True, repr=False)
class Redactor:
    """
    Replaces a set of secrets; created by `redactor`. Its repr and its parts' show no secret.

    Attributes:
        secrets: How to find each secret, the longest first: a secret can contain another one.
        escape: A regular expression for any escaped character of any secret.
        signs: Substrings, one of which is in all data with a secret in any form; as Latin-1.
    """

    secrets: tuple["_Secret", ...]
    escape: str
    signs: tuple[str, ...]

    def text(self, text: str) -> str:
        """Return the text with every secret replaced. Valid JSON stays valid."""
        escaped = bool(self.secrets) and _has_escape(text, self.escape)
        for secret in self.secrets:
            text = secret.replaced(text, escaped=escaped)
        return text

    def data(self, data: bytes) -> bytes:
        """Return UTF-8 with every secret replaced; bytes that are not UTF-8 are not changed."""
        # The hot path, once per frame: a search in a str is three times as fast as in bytes. As
        # Latin-1, every byte becomes one character, so nothing can fail to decode.
        view = data.decode("latin-1")
        for sign in self.signs:
            if sign in view:
                return _octets(self.text(data.decode("utf-8", "surrogateescape")))
        return data


def redactor(secrets: Iterable[str]) -> Redactor:
    """Return a redactor for these secrets, and for each part of a user:password pair."""
    return _redactor(tuple(sorted(set(_parts(secrets)), key=lambda part: (-len(part), part))))


@functools.lru_cache(maxsize=256)
def _redactor(parts: tuple[str, ...]) -> Redactor:
    secrets = tuple(map(_secret, parts))
    needles = [form.needle for secret in secrets for form in (secret.plain, *secret.encoded)]
    signs = [*needles, *_ESCAPE_SIGNS] if secrets else []
    return Redactor(
        secrets,
        _escapes("".join(dict.fromkeys("".join(parts)))),
        tuple(_octets(sign).decode("latin-1") for sign in signs),
    )


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret replaced; for many texts, use one `redactor`."""
    return redactor(secrets).text(text)


def fingerprint(key: str) -> str:
    """Return a name for a key that does not reveal the key; an empty key has an empty name."""
    return hashlib.sha256(key.encode()).hexdigest()[:10] if key else ""


def _parts(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        for part in (secret, secret.strip(), *secret.split(":")):
            if len(part) >= SHORTEST:
                yield part


# How a secret is found --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class _Form:
    """
    One form of a secret.

    Attributes:
        needle: A substring of every text with this form, unless characters are escaped.
        pattern: A regular expression, not compiled yet.
    """

    needle: str
    pattern: str


@dataclass(frozen=True, slots=True, repr=False)
class _Secret:
    """
    One secret.

    Attributes:
        escape: A regular expression for any escaped character of the secret.
        plain: The secret, with or without escapes.
        encoded: Its base64 forms.
    """

    escape: str
    plain: _Form
    encoded: tuple[_Form, ...]

    def replaced(self, text: str, *, escaped: bool) -> str:
        if self.plain.needle in text or (escaped and _has_escape(text, self.escape)):
            text = re.sub(self.plain.pattern, _mask, text)
        for form in self.encoded:
            if form.needle in text:
                text = re.sub(form.pattern, MASK, text)
        return text


def _has_escape(text: str, pattern: str) -> bool:
    return any(sign in text for sign in _ESCAPE_SIGNS) and re.search(pattern, text) is not None


def _mask(match: re.Match[str]) -> str:
    """Return the replacement of a secret: the mask, but a digit inside a JSON number."""
    text, before, after = match.string, match.start() - 1, match.end()
    neighbours = text[max(before, 0) : before + 1] + text[after : after + 1]
    return "1" if match[0].isdigit() and _NEXT_TO_NUMBER.issuperset(neighbours) else MASK


def _secret(secret: str) -> _Secret:
    short = len(secret) < WHOLE_WORD_BELOW
    # Consecutive backslashes form one run: each of them may be escaped as two or more.
    first, *runs = re.findall(r"\\+|[^\\]", secret, re.DOTALL)
    plain = f"(?:{_leading(first)}){''.join(f'(?:{_any_form(run)})' for run in runs)}"
    return _Secret(
        _escapes("".join(dict.fromkeys(secret))),
        _Form(
            max(secret.split(" "), key=len),
            _WORD_BEGINS + plain + _WORD_ENDS if short else plain,
        ),
        tuple(_alone_in_base64(secret) if short else _inside_base64(secret)),
    )


def _leading(run: str) -> str:
    """
    Return a pattern for the first character, including an escape that ends with it.

    In the JSON text "\\nfoo", a backslash precedes the secret "nfoo". If it remained, the
    text would contain "\\***", which is not valid JSON.
    """
    escape_character = rf"|\\{_MORE_BACKSLASHES}{run}" if run in _SHORT_ESCAPES else ""
    return _any_form(run) + escape_character


def _any_form(run: str) -> str:
    """
    Return a pattern for a character, or for consecutive backslashes, escaped or not.

    Each alternative begins with a literal character, so the engine can skip to the positions that
    have one of them.
    """
    if run[0] == "\\":
        count = len(run)
        more = f"{_A_BACKSLASH}{{{count - 1},{8 * count}}}"
        escapes = f"(?:{_escapes(run[0])}){{{count}}}"
        return rf"\\{more}|%{_AGAIN}5[cC]{more}|{escapes}"
    as_such = r" |\+" if run == " " else re.escape(run)
    return f"{as_such}|{_escapes(run)}"


def _escapes(characters: str) -> str:
    """Return a pattern for an escape of any of these characters."""
    for_url = "|".join(_for_url(character) for character in characters)
    for_json = "|".join(_for_json(character) for character in characters)
    for_html = f"(?:amp;){{0,3}}(?:{'|'.join(_for_html(character) for character in characters)});?"
    twice = rf"|\\{_A_BACKSLASH}" if "\\" in characters else ""
    return (
        rf"%{_AGAIN}(?:{for_url}|5[cC]{_MORE_BACKSLASHES}(?:{for_json})|26{for_html})"
        rf"|\\{_MORE_BACKSLASHES}(?:{for_json}|u0026{for_html})"
        rf"|&{for_html}{twice}"
    )


def _for_url(character: str) -> str:
    """Return a pattern for the part after the first percent sign."""
    return f"%{_AGAIN}".join(_hex(octet, 2) for octet in _octets(character))


def _for_json(character: str) -> str:
    """Return a pattern for the part after the backslashes, in JSON or in Python."""
    units = character.encode("utf-16-be", "surrogatepass")
    in_json = [f"u{_hex(units[at] * 256 + units[at + 1], 4)}" for at in range(0, len(units), 2)]
    in_python = [f"x{_hex(octet, 2)}" for octet in _octets(character)]
    again = rf"{_A_BACKSLASH}{_MORE_BACKSLASHES}"
    code = f"x{_hex(ord(character), 2)}|U{_hex(ord(character), 8)}"
    forms = (again.join(in_json), again.join(in_python), code, *_behind_backslash(character))
    return "|".join(dict.fromkeys(forms))


def _behind_backslash(character: str) -> tuple[str, ...]:
    """Return patterns for a character that is escaped by a backslash alone, such as a quote."""
    if character.isalnum() or character == "\\":
        return ()
    return re.escape(character), f"%{_AGAIN}{_for_url(character)}"


def _for_html(character: str) -> str:
    """Return a pattern for the part after the ampersand."""
    number = ord(character)
    names = (re.escape(name) for name in _entity_names().get(character, ()))
    return "|".join((f"#0{{0,5}}{number}", f"#[xX]0{{0,5}}{_hex(number, 1)}", *names))


@functools.cache
def _entity_names() -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, character in html.entities.html5.items():
        if name.endswith(";"):
            names.setdefault(character, []).append(name[:-1])
    return names


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _hex(number: int, width: int) -> str:
    """Return a pattern for a number in hexadecimal, in upper or lower case."""
    digits = f"{number:0{width}x}"
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


# Base64 -----------------------------------------------------------------------------------------


def _inside_base64(secret: str) -> Iterator[_Form]:
    """
    Yield the forms of a secret anywhere in a longer encoded text.

    Base64 encodes three bytes as four characters, so a secret has three forms, depending on the
    number of bytes before it, modulo three. A character at either end may also encode bits of the
    text before or after the secret; the pattern accepts any character there.
    """
    octets = _octets(secret)
    for before, first in ((0, 0), (1, 2), (2, 3)):
        end = 8 * (before + len(octets)) // 6
        for encoded in _both_alphabets(bytes(before) + octets):
            partly = f"{_BASE64}?"
            yield _base64_form(
                encoded[first:end], before=partly if before else "", after=partly + _PADDING
            )


def _alone_in_base64(secret: str) -> Iterator[_Form]:
    for encoded in _both_alphabets(_octets(secret)):
        yield _base64_form(
            encoded.rstrip("="),
            before=f"(?:(?<!{_BASE64})|{_BEHIND_ESCAPE})",
            after=f"(?!{_BASE64}){_PADDING}",
        )


def _both_alphabets(octets: bytes) -> list[str]:
    forms = (base64.b64encode(octets).decode(), base64.urlsafe_b64encode(octets).decode())
    return list(dict.fromkeys(forms))


def _base64_form(encoded: str, *, before: str, after: str) -> _Form:
    # Encoders escape "+", "/" and "=" for URLs and "/" for JSON, but never letters and digits.
    pattern = "".join(char if char.isalnum() else f"(?:{_any_form(char)})" for char in encoded)
    needle = max(re.findall("[A-Za-z0-9]*", encoded), key=len)
    return _Form(needle, before + pattern + after)
