"""The documented backup and restore."""

import re
import time

import pytest

from tests.kube.cluster import run
from tests.kube.documented import documented_commands
from tests.kube.feeds import row_counts, wait_for_fresh_rows
from tests.kube.oracle import compare
from tests.kube.profiles import apply

HEADING = "Back up and restore"
# The names of Ray's object and of Ray's client.
RAY = {"ha": "rayservice ray-pipeline", "dev": "raycluster/ray-pipeline deployment/keeper"}


def test_a_backup_can_be_restored(profile: str):
    """Every feed continues, and what was stored after the backup comes from Kafka again."""
    wait_for_fresh_rows()
    start_s = time.time()
    before = row_counts()

    result = run(documented_commands(HEADING, "create job backup-now"))
    assert re.search(r"backup-now\s+Complete", result), result
    run("kubectl -n ray-pipeline delete job backup-now")

    restore = documented_commands(HEADING, "DROP DATABASE")
    stop = "delete rayservice ray-pipeline"
    assert stop in restore
    restore = restore.replace(stop, f"delete {RAY[profile]}").replace("exec -it", "exec -i")
    restore, _, last = restore.rpartition("\n")
    assert last.startswith("ray-pipeline deploy apply"), last
    result = run(restore)
    assert re.search(r"restore\s+Complete", result), result
    restored = row_counts()
    apply(profile)

    assert all(restored.get(shard, 0) >= count for shard, count in before.items())
    wait_for_fresh_rows()
    verdict = compare(start_s, time.time())
    assert verdict.unexplained == 0, verdict.violations
    assert verdict.duplicates == 0, verdict.violations


@pytest.mark.parametrize("profile", ["dev"], indirect=True)
def test_the_scheduled_backup_is_not_suspended(profile: str):
    """The CronJob exists and runs at noon in Seoul."""
    result = run("kubectl -n ray-pipeline get cronjob backup -o jsonpath='{.spec.timeZone}'")
    assert result == "Asia/Seoul"
