"""The blocks of docs/kubernetes.md that the tests on a real node run."""

import pytest

from tests.kube.cluster import with_api_keys
from tests.kube.documented import documented_commands

BLOCKS = [
    ("3. Secrets", "create namespace"),
    ("4. Apply", "deploy plan ha"),
    ("One-off runs and backfills", "ray-pipeline run cpi"),
    ("Back up and restore", "create job backup-now"),
    ("Back up and restore", "DROP DATABASE"),
]


@pytest.mark.parametrize(("heading", "text"), BLOCKS)
def test_a_block_that_is_run_on_a_node_exists_once(heading: str, text: str):
    """A change of the page must not silently change what the node's tests run."""
    assert text in documented_commands(heading, text)


def test_a_missing_block_is_an_error():
    """With the text and the heading."""
    with pytest.raises(LookupError, match=r"0 blocks with 'nothing' under '3\. Secrets'"):
        documented_commands("3. Secrets", "nothing")


def test_the_keys_of_the_tests_replace_those_of_the_page():
    """The page shows placeholders."""
    commands = with_api_keys(documented_commands(*BLOCKS[0]))

    assert '"sp500-1"' in commands
    assert '"key 1"' not in commands
