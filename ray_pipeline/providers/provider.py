"""A provider is a value: its address, how it receives a key, and how often it may be called."""

from dataclasses import dataclass

from ray_pipeline.providers.quota import Quota
from ray_pipeline.providers.refusals import Classify, by_status
from ray_pipeline.transport.client import Auth, OpenClient
from ray_pipeline.transport.http import open_http


@dataclass(frozen=True, slots=True)
class Provider:
    """
    A provider of batch data.

    Attributes:
        name: The name in settings and tables: PIPELINE_<NAME>__REST_URL, PIPELINE_API_KEYS. The
            module has the same name.
        title: The name in texts for people.
        base_url: The URL before the path of each request.
        quota: The calls that one key allows; for a provider without keys, that one address allows.
        auth: How the key is passed: in the query, in a header, as a bearer token, or by a login.
        auth_name: The query parameter or the header of the key.
        classify: Returns what an answer means if it is not data.
        needs_key: Whether every call needs a key.
        headers: Headers of every request.
        open_client: Opens the client; plain HTTP unless the module has its own.
        free_plan: What a free key allows, one line.
        key_url: The page on which people get a key.
    """

    name: str
    title: str
    base_url: str
    quota: Quota
    auth: Auth = "none"
    auth_name: str = ""
    classify: Classify = by_status
    needs_key: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    open_client: OpenClient = open_http
    free_plan: str = ""
    key_url: str = ""
