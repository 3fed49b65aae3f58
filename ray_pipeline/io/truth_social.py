"""
Calls of Truth Social: a login, then the site's documented endpoints.

The site stands behind a guard that looks at how a client speaks TLS, so the calls go through
curl_cffi, as truthbrush's do; the client's identity is truthbrush's too.
"""

import importlib
from datetime import UTC, datetime

from curl_cffi.requests import AsyncSession, Response
from curl_cffi.requests.exceptions import RequestException

from ray_pipeline.errors import MissingDependency, ProviderUnavailable
from ray_pipeline.io.http import TIMEOUT_S
from ray_pipeline.provider import Provider
from ray_pipeline.refusals import Answer
from ray_pipeline.spec import Request

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

        Raises:
            ProviderUnavailable: If there is none in time; the text names no URL and no key.
        """
        base_url = (self._base_url or provider.base_url).rstrip("/")
        try:
            async with AsyncSession(impersonate="chrome", timeout=self._timeout_s) as session:
                if key not in self._tokens:
                    refused = await self._log_in(session, base_url, key)
                    if refused is not None:
                        return refused
                answer = _answer(
                    await session.get(
                        base_url + request.path,
                        params=dict(request.params),
                        headers={"Authorization": f"Bearer {self._tokens[key]}"},
                    )
                )
        except RequestException as error:
            raise ProviderUnavailable(
                f"{provider.title} cannot be reached, or broke off: {type(error).__name__}"
            ) from None
        if answer.status == 401:
            self._tokens.pop(key, None)
        return answer

    async def _log_in(self, session: AsyncSession[Response], url: str, key: str) -> Answer | None:
        """Get a token; return the refusal where there is one."""
        user, _, password = key.partition(":")
        client_id, client_secret = _client() if self._base_url is None else ("", "")
        answer = _answer(
            await session.post(
                f"{url}/oauth/v2/token",
                json={
                    "client_id": client_id,
                    "client_secret": client_secret,
                    "grant_type": "password",
                    "username": user,
                    "password": password,
                    "redirect_uri": REDIRECT,
                    "scope": "read",
                },
            )
        )
        if answer.status >= 400:
            return answer
        try:
            self._tokens[key] = str(answer.body()["access_token"])
        except (ValueError, KeyError, TypeError):
            return Answer(502, {}, "no access_token in the answer", answer.received_at)
        return None


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
