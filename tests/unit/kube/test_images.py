"""The project's Dockerfile, as the node's tests build it."""

from tests.kube.cache import REPOSITORY
from tests.kube.images import GIT_SYNC, without_git_sync


def test_only_the_stage_that_downloads_sources_is_replaced():
    """All other stages are built as they are."""
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    changed = without_git_sync(dockerfile)

    assert "git clone" not in changed
    assert f"FROM {GIT_SYNC} AS git-sync\n" in changed
    final_stages = dockerfile[dockerfile.index("FROM python:") :]
    assert changed.endswith(final_stages)
