"""A provider is a value: where it is, how a key is shown to it, what it allows."""

from dataclasses import dataclass
from typing import Literal

from ray_pipeline.providers.quota import Quota
from ray_pipeline.providers.refusals import Classify, by_status

Auth = Literal["none", "query", "header", "bearer", "login"]


@dataclass(frozen=True, slots=True)
class Provider:
    """
    Who is asked.

    Attributes:
        name: In settings and tables: PIPELINE_<NAME>__REST_URL, PIPELINE_API_KEYS.
        title: For people.
        base_url: Before a request's path.
        auth: How a key is shown: in the query, in a header, as a bearer token, or by a login.
        auth_name: The query parameter's or header's name.
        quota: What one key may do; where there are no keys, what this address may do.
        classify: What an answer means when it is not data.
        needs_key: Whether nothing works without one.
        headers: Sent with every request.
        client: Which client calls it: plain HTTP, or a library that knows the site.
        free_plan: What a free key gives, one line.
        key_url: Where to get one.
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
    client: Literal["http", "yahoo", "truth_social"] = "http"
    free_plan: str = ""
    key_url: str = ""
