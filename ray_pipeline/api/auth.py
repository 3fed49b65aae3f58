"""Check sizes and the token before any route; add the headers that protect a browser."""

import hmac
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ray_pipeline.api.answers import refusal

URL_LIMIT_BYTES = 8 * 1024
BODY_LIMIT_BYTES = 16 * 1024
OPEN = frozenset({"/", "/live", "/favicon.ico"})
OPEN_BELOW = "/static/"
SECURITY_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; object-src 'none'; base-uri 'none'; "
     b"form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]  # fmt: skip
NO_STORE = (b"cache-control", b"no-store")


class TokenCheck:
    """Compares tokens with the configured one."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def accepts(self, offered: str) -> bool:
        """Return whether a token is valid, in a time that does not depend on the token."""
        # A comparison that ends at the first difference would reveal the token byte by byte.
        return hmac.compare_digest(offered.encode("utf-8", "replace"), self._token)


def token_in(scope: Scope) -> str | None:
    """Return the token of the Authorization header or, for a WebSocket, of `?token=`."""
    kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    if scope["type"] == "websocket":
        values = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        return values[0] if values else None
    return None


class AuthMiddleware:
    """
    ASGI middleware that passes a request on if it is public or carries the token.

    A WebSocket with a wrong token is refused before its handshake. A WebSocket without a token
    passes, because a browser can send it only in the first message: its route checks that.
    """

    def __init__(self, app: ASGIApp, *, token_check: TokenCheck) -> None:
        self._app = app
        self._token_check = token_check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on to the application."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        public = _is_public(scope)

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *SECURITY_HEADERS]
                if not public:
                    headers.append(NO_STORE)
                message["headers"] = headers
            await send(message)

        refused = self._refused(scope, public=public)
        await (refused or self._app)(scope, receive, protected)

    def _refused(self, scope: Scope, *, public: bool) -> ASGIApp | None:
        """Return the response that refuses a request; None if it may pass."""
        answer = _too_large(scope) or self._without_token(scope, public=public)
        return _refuse_handshake if answer and scope["type"] == "websocket" else answer

    def _without_token(self, scope: Scope, *, public: bool) -> ASGIApp | None:
        token = token_in(scope)
        if public or (token is None and scope["type"] == "websocket"):
            return None
        if token is not None and self._token_check.accepts(token):
            return None
        return refusal(
            401, "a valid token is needed", "send the header Authorization: Bearer TOKEN"
        )


def _is_public(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and (path in OPEN or path.startswith(OPEN_BELOW))


async def _refuse_handshake(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Make the server respond 403. ASGI could send a body, but uvicorn logs that as an error."""
    await send({"type": "websocket.close"})


def _too_large(scope: Scope) -> ASGIApp | None:
    if len(scope["raw_path"]) + len(scope["query_string"]) > URL_LIMIT_BYTES:
        return refusal(414, f"the URL is longer than {URL_LIMIT_BYTES} bytes")
    # A chunked body has no size in advance, so that it could not be refused before it is read.
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        return refusal(411, "a body needs a Content-Length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > BODY_LIMIT_BYTES:
        return refusal(413, f"the body is longer than {BODY_LIMIT_BYTES} bytes")
    return None
