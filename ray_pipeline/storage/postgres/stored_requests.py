"""Requests as JSON, as `job_items` and `payloads` hold them."""

from collections.abc import Mapping
from typing import Any

from ray_pipeline.jobs.spec import Request
from ray_pipeline.storage.postgres.storable_json import json_text


def request_json(request: Request) -> str:
    """Return a request as JSON, the same text for the same request."""
    return json_text(
        {
            "facts": dict(request.facts),
            "item": request.item,
            "page": request.page,
            "params": dict(request.params),
            "path": request.path,
        }
    )


def stored_request(stored: Mapping[str, Any]) -> Request:
    """Return the request that `job_items` or `payloads` holds as JSON."""
    return Request(**stored)
