"""An API of a test's own."""

import pytest

from tests.integration.api.serving import configure


@pytest.fixture
def configured(postgres_dsn, redis_url):
    """Settings of an API over this test's own stores."""
    return configure(postgres_dsn, redis_url)
