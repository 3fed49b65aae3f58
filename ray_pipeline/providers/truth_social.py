"""
Truth Social: posts of accounts, trending posts and tags.

A client logs in, then calls the site's documented endpoints. A guard in front of the site examines
how a client negotiates TLS, so calls go through curl_cffi, as truthbrush's do; the client's
identity is truthbrush's too.
"""

import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from curl_cffi.requests import AsyncSession, Response
from curl_cffi.requests.exceptions import RequestException

from ray_pipeline.errors import MissingDependency, RedirectRefused
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding
from ray_pipeline.providers.refusals import by_status_or_broken
from ray_pipeline.redact import Redactor, redactor
from ray_pipeline.transport.answer import Answer, decoded
from ray_pipeline.transport.client import ProviderClient, ProviderServer
from ray_pipeline.transport.counted import (
    SINGLE_REQUEST,
    NextCall,
    curl_timeouts,
    uncounted,
)
from ray_pipeline.transport.http import TIMEOUT_S, headers_of, now, unavailable
from ray_pipeline.transport.redirects import (
    MOST_REDIRECTS,
    moved,
    redirect_target,
    too_many_redirects,
)

REDIRECT = "urn:ietf:wg:oauth:2.0:oob"
BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0 Safari/537.36"
)


@asynccontextmanager
async def open_client(
    server: ProviderServer, base_url: str | None
) -> AsyncIterator[ProviderClient]:
    """Open a client. Tokens live as long as it does."""
    yield TruthSocialClient(server, base_url)


class TruthSocialClient:
    """Logs in once per key, and again after a token was refused."""

    def __init__(self, server: ProviderServer, base_url: str | None) -> None:
        """Take the base URL of a simulator; None for the site."""
        self._server = server
        self._base_url = (base_url or server.base_url).rstrip("/")
        self._simulated = base_url is not None
        self._tokens: dict[str, str] = {}

    async def fetch(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        key: str,
        largest_bytes: int,  # noqa: ARG002 - curl_cffi reads a body whole
        next_call: NextCall = uncounted,
    ) -> Answer:
        """
        Make a request with a key of the form user:password; see `ProviderClient.fetch`.

        User, password and token are replaced in the answer. A login that redirects is refused.
        """
        try:
            answer = await self._call(path, params, key=key, next_call=next_call)
        except RedirectRefused as error:
            raise RedirectRefused(self._redactor(key).text(error.args[0]), fix=error.fix) from None
        redacted = answer.redacted(self._redactor(key))
        if answer.status == 401:
            self._tokens.pop(key, None)
        return redacted

    def _redactor(self, key: str) -> Redactor:
        return redactor([key, self._tokens.get(key, "")])

    async def _call(
        self, path: str, params: Mapping[str, str], *, key: str, next_call: NextCall
    ) -> Answer:
        try:
            async with AsyncSession(
                impersonate="chrome", timeout=TIMEOUT_S, curl_options=SINGLE_REQUEST
            ) as session:
                if key not in self._tokens:
                    refused = await self._log_in(session, key, next_call)
                    if refused is not None:
                        return refused
                token = self._tokens[key]
                return _answer(
                    await self._get(session, path, params, token=token, next_call=next_call)
                )
        except (RequestException, TimeoutError) as error:
            raise unavailable(self._server, error) from None

    async def _log_in(
        self, session: AsyncSession[Response], key: str, next_call: NextCall
    ) -> Answer | None:
        """Get a token; return the answer if the site refuses the login."""
        user, _, password = key.partition(":")
        client_id, client_secret = ("", "") if self._simulated else _client_identity()
        url = f"{self._base_url}/oauth/v2/token"
        credentials = {
            "client_id": client_id,
            "client_secret": client_secret,
            "grant_type": "password",
            "username": user,
            "password": password,
            "redirect_uri": REDIRECT,
            "scope": "read",
        }
        async with next_call():
            with curl_timeouts():
                response = await session.post(url, json=credentials, allow_redirects=False)
        if self._target(response, url) is not None:
            raise RedirectRefused(
                f"{self._server.title} redirects the login, which is not sent twice",
                fix=moved(self._server.name),
            )
        answer = _answer(response)
        if answer.status >= 400:
            return answer
        try:
            self._tokens[key] = str(answer.body()["access_token"])
        except (ValueError, KeyError, TypeError):
            return Answer(502, {}, "no access_token in the answer", answer.received_at)
        return None

    async def _get(
        self,
        session: AsyncSession[Response],
        path: str,
        params: Mapping[str, str],
        *,
        token: str,
        next_call: NextCall,
    ) -> Response:
        """GET a path, and follow redirects to the same host."""
        url, query = self._base_url + path, dict(params)
        headers = {"Authorization": f"Bearer {token}"}
        for _ in range(MOST_REDIRECTS + 1):
            async with next_call():
                with curl_timeouts():
                    response = await session.get(
                        url, params=query, headers=headers, allow_redirects=False
                    )
            target = self._target(response, str(response.url) or url)
            if target is None:
                return response
            url, query = target, {}
        raise too_many_redirects(self._server.title, fix=moved(self._server.name))

    def _target(self, response: Response, url: str) -> str | None:
        return redirect_target(
            url,
            response.status_code,
            response.headers.get("Location"),
            server=self._server.title,
            fix=moved(self._server.name),
        )


def _client_identity() -> tuple[str, str]:
    """
    Return the identity of the site's own client, which truthbrush contains.

    Raises:
        MissingDependency: If truthbrush is not installed.
    """
    try:
        api = importlib.import_module("truthbrush.api")
    except ImportError:
        raise MissingDependency(
            "truthbrush is not installed", fix="pip install 'ray-pipeline[truth-social]'"
        ) from None
    return str(api.CLIENT_ID), str(api.CLIENT_SECRET)


def _answer(response: Response) -> Answer:
    text = decoded(response.content, response.charset_encoding)
    return Answer(response.status_code, headers_of(response.headers.items()), text, now())


PROVIDER = Provider(
    "truth_social",
    "Truth Social",
    "https://truthsocial.com",
    Quota((sliding(1, SECOND), sliding(250, timedelta(minutes=5)))),
    auth="login",
    classify=by_status_or_broken,  # Cloudflare's page, and Mastodon's errors
    headers=(("User-Agent", BROWSER),),
    open_client=open_client,
    free_plan="an account: its key is username:password",
    key_url="https://truthsocial.com",
)
