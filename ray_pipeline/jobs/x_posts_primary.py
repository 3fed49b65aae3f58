"""Posts of the seven core accounts on X."""

from ray_pipeline.jobs._x_accounts import PRIMARY
from ray_pipeline.jobs._x_posts import spec
from ray_pipeline.schedules.cron import Cron

SPEC = spec(
    "x_posts_primary",
    "Posts of the core accounts on X",
    PRIMARY,
    "primary_token_improved",
    Cron("0 1 * * *"),
)
