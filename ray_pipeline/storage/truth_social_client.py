"""
Calls of Truth Social: a login, then the site's documented endpoints.

The site stands behind a guard that looks at how a client speaks TLS, so the calls go through
curl_cffi, as truthbrush's do; the client's identity is truthbrush's too.
"""

import importlib
from datetime import UTC, datetime

from curl_cffi.requests import AsyncSession, Response
from curl_cffi.requests.exceptions import RequestException

from ray_pipeline.errors import MissingDependency, ProviderUnavailable, RedirectRefused
from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.refusals import Answer
from ray_pipeline.redact import Redactor, redactor
from ray_pipeline.storage.http import TIMEOUT_S
from ray_pipeline.storage.redirects import (
    MOST_REDIRECTS,
    moved,
    redirect_target,
    too_many_redirects,
)

REDIRECT = "urn:ietf:wg:oauth:2.0:oob"


class TruthSocialClient:
    """Logs in once a key, again when a token has ended."""

    def __init__(self, base_url: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        """Take the base URL where it is not the usual one."""
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._tokens: dict[str, str] = {}

    async def fetch(self, provider: Provider, request: Request, *, key: str) -> Answer:
        """
        Make one call with a key of the form user:password, and return the answer.

        User, password and token are replaced in it.

        Raises:
            ProviderUnavailable: If there is none in time; the text names no URL and no key.
            RedirectRefused: If the site redirects to another host, or redirects a login.
        """
        try:
            answer = await self._fetch(provider, request, key=key)
        except RedirectRefused as error:
            raise RedirectRefused(self._clean(key).text(error.args[0]), fix=error.fix) from None
        redacted = answer.redacted(self._clean(key))
        if answer.status == 401:
            self._tokens.pop(key, None)
        return redacted

    def _clean(self, key: str) -> Redactor:
        return redactor([key, self._tokens.get(key, "")])

    async def _fetch(self, provider: Provider, request: Request, *, key: str) -> Answer:
        base_url = (self._base_url or provider.base_url).rstrip("/")
        try:
            async with AsyncSession(impersonate="chrome", timeout=self._timeout_s) as session:
                if key not in self._tokens:
                    refused = await self._log_in(session, provider, base_url, key)
                    if refused is not None:
                        return refused
                headers = {"Authorization": f"Bearer {self._tokens[key]}"}
                return _answer(await _get(session, provider, base_url, request, headers=headers))
        except RequestException as error:
            raise ProviderUnavailable(
                f"{provider.title} cannot be reached, or broke off: {type(error).__name__}"
            ) from None

    async def _log_in(
        self, session: AsyncSession[Response], provider: Provider, base_url: str, key: str
    ) -> Answer | None:
        """Get a token; return the refusal where there is one."""
        user, _, password = key.partition(":")
        client_id, client_secret = _client() if self._base_url is None else ("", "")
        response = await session.post(
            f"{base_url}/oauth/v2/token",
            json={
                "client_id": client_id,
                "client_secret": client_secret,
                "grant_type": "password",
                "username": user,
                "password": password,
                "redirect_uri": REDIRECT,
                "scope": "read",
            },
            allow_redirects=False,
        )
        if _target(response, provider, f"{base_url}/oauth/v2/token") is not None:
            raise RedirectRefused(
                f"{provider.title} redirects the login, which is not sent twice",
                fix=moved(provider.name),
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
    session: AsyncSession[Response],
    provider: Provider,
    base_url: str,
    request: Request,
    *,
    headers: dict[str, str],
) -> Response:
    """GET a path, and what it redirects to on the same host."""
    url, params = base_url + request.path, dict(request.params)
    for _ in range(MOST_REDIRECTS + 1):
        response = await session.get(url, params=params, headers=headers, allow_redirects=False)
        target = _target(response, provider, str(response.url) or url)
        if target is None:
            return response
        url, params = target, {}
    raise too_many_redirects(provider.title, fix=moved(provider.name))


def _target(response: Response, provider: Provider, url: str) -> str | None:
    return redirect_target(
        url,
        response.status_code,
        response.headers.get("Location"),
        server=provider.title,
        fix=moved(provider.name),
    )


def _client() -> tuple[str, str]:
    """
    Return the identity of the site's own client, which truthbrush knows.

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
    headers = {name.lower(): value or "" for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.text, datetime.now(UTC))
