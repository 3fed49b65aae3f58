"""Posts of fourteen further accounts on X: crypto, technology, institutions, media."""

from ray_pipeline.jobs._x_accounts import SECONDARY
from ray_pipeline.jobs._x_posts import spec
from ray_pipeline.schedules.cron import Cron

SPEC = spec(
    "x_posts_secondary",
    "Posts of further accounts on X",
    SECONDARY,
    "secondary_token_improved",
    Cron("0 5 * * *"),
)
