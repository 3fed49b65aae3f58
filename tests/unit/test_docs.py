"""Generated files that name the feeds."""

from ray_pipeline.docs import ROOT, files
from ray_pipeline.feeds.feed_registry import FEEDS

ALERTS = ROOT / "kuberay" / "components" / "monitoring" / "alerts.yaml"


def test_both_alerts_of_stalled_feeds_know_every_feed_that_never_closes():
    """One alert leaves these feeds out, the other one covers them: together they cover all."""
    always_open = "|".join(feed.name for feed in FEEDS if feed.calendar is None)

    alerts = files()[ALERTS]

    assert f'ray_pipeline_feed_age_s{{feed!~"{always_open}"}}' in alerts
    assert f'ray_pipeline_feed_age_s{{feed=~"{always_open}"}}' in alerts
