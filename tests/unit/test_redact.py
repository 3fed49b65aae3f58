"""Secrets in every form in which a program may write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.redact import MASK, redact, redactor
from tests.echoes import FORMS, KEY, decodings

keys = st.text(
    st.one_of(
        st.characters(min_codepoint=33, max_codepoint=126),
        st.sampled_from("+/=\"\\&%<>' é漢\U0001f511"),
    ),
    min_size=8,
    max_size=40,
).filter(lambda key: ":" not in key and key.strip() == key and not set(key) <= set("*"))
texts = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_replaced_in_every_form(form):
    """Characters that each encoding escapes in its own way are all in this one."""
    written = FORMS[form](KEY)

    for text in (written, f"key={written}&x=1", f'{{"a": "{written}"}}'):
        redacted = redactor([KEY]).text(text)
        assert MASK in redacted
        assert written not in redacted
        assert redacted.encode() == redactor([KEY]).data(text.encode())


@given(key=keys, form=st.sampled_from(sorted(FORMS)), before=texts, after=texts)
def test_no_reader_finds_the_secret(key, form, before, after):
    """Whatever the key is, and whatever stands around it."""
    redacted = redactor([key]).text(before + FORMS[form](key) + after)

    assert FORMS[form](key) not in redacted
    assert all(key not in read for read in decodings(redacted) if key not in before + after)


@given(key=keys, form=st.sampled_from(sorted(FORMS)), before=st.binary(max_size=40))
def test_bytes_are_treated_as_text(key, form, before):
    """Also where the rest of the frame is no UTF-8."""
    written = FORMS[form](key).encode()

    redacted = redactor([key]).data(before + written)

    assert written not in redacted


@given(key=keys, text=texts, data=st.binary(max_size=200))
def test_what_has_no_secret_is_not_changed(key, text, data):
    """Neither text nor bytes."""
    if all(key not in read for read in decodings(text)):
        assert redactor([key]).text(text) == text
    assert redactor([]).data(data) == data
    assert redactor(["no-such-key-in-it"]).data(data) == data


@given(
    key=keys,
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), texts),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    ),
    form=st.sampled_from(["plain", "URL", "HTML", "base64", "JSON"]),
    ascii_only=st.booleans(),
)
def test_a_redacted_body_is_still_json(key, value, form, ascii_only):
    """Parsers see the other fields as they were sent."""
    body = {"first": value, "echo": f"key {FORMS[form](key)}", FORMS[form](key): [value, key]}

    read = json.loads(redactor([key]).text(json.dumps(body, ensure_ascii=ascii_only)))

    assert key not in json.dumps(read, ensure_ascii=False)
    assert len(read) == 3
    assert MASK in read["echo"]


@pytest.mark.parametrize(
    "body",
    ['{"n": 1234567890}', '{"n":-1234567890.5}', '{"n": 991234567890}', "[0.1234567890,1]"],
)
def test_a_number_that_holds_a_secret_stays_a_number(body):
    """A mask in the middle of a number would make the whole answer unreadable."""
    redacted = redactor(["1234567890"]).text(body)

    assert "1234567890" not in redacted
    json.loads(redacted)


@pytest.mark.parametrize("text", [r'{"a": "\nfooBar99 \u0041bcdefgh"}', r'{"a": "x\\\\nfooBar99"}'])
def test_no_half_of_an_escape_is_left(text):
    """`\\***` is no JSON."""
    json.loads(redactor(["nfooBar99", "u0041bcdefgh"]).text(text))


@pytest.mark.parametrize("form", ["plain", "URL", "JSON", "HTML", "base64"])
def test_a_short_secret_is_replaced_as_a_word(form):
    """Also behind an escaped character, which has letters of its own."""
    written = FORMS[form]("demo")
    for text in (f"apikey={written}&x", f"k%3D{written}", f'"\\n{written}"', f"({written})"):
        assert written not in redact(text, ["demo"])


@pytest.mark.parametrize("text", ["demographic", "a Demo", "undemocratic", "demos", "xZGVtbwx"])
def test_a_short_secret_does_not_change_words_that_contain_it(text):
    """Alpha Vantage's public key is `demo`; news are full of demographics."""
    assert redact(text, ["demo"]) == text


def test_a_redactor_does_not_show_its_secrets():
    """It is an attribute of clients, and debuggers and error reports print those."""
    made = redactor([KEY, "another-key"])

    assert "another-key" not in f"{made!r} {made} {made.secrets!r} {made.secrets[0].plain!r}"


def test_a_very_short_secret_is_left_alone():
    """It would take ordinary words out of every text."""
    assert redact("a key abc", ["abc", ""]) == "a key abc"


def test_both_parts_of_a_pair_are_secrets():
    """A login may be echoed without its password, or the other way round."""
    secrets = ["someone@example.com:pass-word1"]
    for text in ("someone@example.com", "pass-word1", "someone%40example.com", secrets[0]):
        assert redact(f"login {text} failed", secrets) == "login *** failed"


def test_a_secret_with_a_line_break_is_found_without_it():
    """A key that was read from a file often ends with one."""
    assert redact("key abcdefgh12 refused", ["abcdefgh12\n"]) == "key *** refused"
