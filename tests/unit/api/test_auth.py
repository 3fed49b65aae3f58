"""Where a token may be, and how it is compared."""

import pytest

from ray_pipeline.api.auth import TokenCheck, token_in


def scope(kind="http", *, header=None, query=b""):
    headers = [] if header is None else [(b"authorization", header)]
    return {"type": kind, "headers": headers, "query_string": query}


@pytest.mark.parametrize(
    ("request_scope", "token"),
    [
        (scope(header=b"Bearer abc"), "abc"),
        (scope(header=b"bearer  abc "), "abc"),
        (scope(header=b"Basic abc"), None),
        (scope(header=b"Bearer "), None),
        (scope(), None),
        (scope(query=b"token=abc"), None),
        (scope("websocket", query=b"token=abc&x=1"), "abc"),
        (scope("websocket", header=b"Bearer abc", query=b"token=other"), "abc"),
        (scope("websocket"), None),
    ],
)
def test_the_token_is_in_the_header_or_in_the_address_of_a_websocket(request_scope, token):
    """A browser cannot set a header on a WebSocket; an HTTP address would end up in logs."""
    assert token_in(request_scope) == token


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [("s3cret", True), ("s3cre", False), ("", False), ("s3cret ", False), ("\udc80", False)],
)
def test_only_the_whole_token_is_accepted(offered, accepted):
    """Also of a text that is not valid UTF-8."""
    assert TokenCheck("s3cret").accepts(offered) is accepted
