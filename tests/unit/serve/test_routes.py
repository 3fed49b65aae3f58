"""What the supervisor says of itself, its actors and the feeds."""

import json
from dataclasses import replace

import pytest
from starlette.requests import Request

from ray_pipeline.api.auth import TokenCheck
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.observe.status import Status
from ray_pipeline.observe.topic_partitions import TopicRow
from ray_pipeline.serve.routes import View, routes
from tests.unit.observe.test_status import ROW, SHARD

PAGE = Status((ROW,), (SHARD,), (), (), ())


class Supervisor:
    """The states of two actors."""

    names = ("consumer-sp500-0-g1", "producer-sp500-00-g1")
    trouble = ""

    def __init__(self, **states):
        self.statuses = dict(zip(self.names, states.values(), strict=False))


STORING = {"state": "storing"}
UP = Supervisor(first=STORING, second={"state": "streaming", "cause": "", "valid": True})


TOKEN = "right-token"


def request(token):
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    return Request({"type": "http", "headers": headers})


async def ask(
    path, *, supervisor=UP, page=PAGE, cause="starting", fix="", token=TOKEN, expected=TOKEN
):
    async def read():
        if isinstance(page, Exception):
            raise page
        return page

    view = View(
        read, limit_s=60.0, generation=3, supervisor=supervisor, cause=cause, fix=fix,
        token_check=TokenCheck(expected) if expected else None,
    )  # fmt: skip
    (route,) = [route for route in routes(lambda: view).routes if route.path == path]
    response = await (route.endpoint() if path == "/live" else route.endpoint(request(token)))
    return response.status_code, json.loads(response.body)


async def test_a_process_lives_without_anything_else():
    """Kubernetes must not restart it because of a store."""
    assert await ask("/live", supervisor=None, page=DatabaseUnavailable("down")) == (
        200,
        {"live": True},
    )


async def test_it_is_ready_while_actors_answer_and_data_progresses():
    """The generation tells a rollout which release answered."""
    assert await ask("/ready") == (
        200,
        {
            "ready": True, "collecting": True, "generation": 3,
            "reasons": [], "waiting": [], "notices": [],
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("producer", "collecting", "waiting"),
    [
        (
            {"state": "waiting", "cause": "for the lease", "valid": False},
            False,
            ["producer-sp500-00-g1 is waiting: for the lease."],
        ),
        ({"state": "no_key", "cause": "add a key", "valid": False}, True, []),
        (None, False, ["producer-sp500-00-g1 has not started yet."]),
    ],
)
async def test_a_generation_without_its_leases_does_not_collect(producer, collecting, waiting):
    """Data progresses all the same: the other generation collects it."""
    states = {"first": STORING} | ({"second": producer} if producer else {})
    _, body = await ask("/ready", supervisor=Supervisor(**states))

    assert (body["collecting"], body["waiting"]) == (collecting, waiting)


async def test_a_supervisor_that_has_not_begun_does_not_collect():
    """It has no actors that could wait."""
    _, body = await ask("/ready", supervisor=None)

    assert body["collecting"] is False


@pytest.mark.parametrize(
    ("view", "reasons"),
    [
        ({"supervisor": None, "cause": "no schema", "fix": "migrate"}, ["no schema: migrate"]),
        (
            {"supervisor": Supervisor(first={"state": "unreachable"})},
            [
                "consumer-sp500-0-g1 does not answer",
                "producer-sp500-00-g1 has not started yet",
            ],
        ),
        ({"page": DatabaseUnavailable("Postgres is down")}, ["Postgres is down"]),
        ({"page": Status((), (), (), (), ())}, ["no feed has ever stored a record"]),
    ],
)
async def test_it_is_not_ready_for_named_reasons(view, reasons):
    """Each missing actor is one."""
    status, body = await ask("/ready", **view)

    assert status == 503
    assert body["reasons"] == reasons


async def test_every_feed_and_actor_has_a_sentence():
    """Also an actor that is not at work."""
    waiting = Supervisor(first={"state": "waiting", "cause": "for the lease"})
    _, body = await ask("/why", supervisor=waiting)

    assert body["supervisor"] == "reconciling"
    assert body["feeds"][0]["fresh"] is True
    assert body["actors"] == [
        {
            "name": "consumer-sp500-0-g1",
            "up": True,
            "why": "consumer-sp500-0-g1 is waiting: for the lease.",
        },
        {
            "name": "producer-sp500-00-g1",
            "up": False,
            "why": "producer-sp500-00-g1 has not started yet.",
        },
    ]


SURPLUS = TopicRow("t", "sp500", 3, 6, [], 0, 1.0)
SHORTAGE = TopicRow("t", "sp500", 3, 1, [], 0, 1.0)
UNREAD = TopicRow("t", "sp500", 3, 6, [3, 4, 5], 682, 1.0)


async def test_more_partitions_than_the_settings_name_are_a_notice():
    """Their records are stored: data progresses."""
    status, body = await ask("/ready", page=replace(PAGE, topics=(SURPLUS,)))

    assert status == 200
    assert body["notices"] == [SURPLUS.notice]
    assert "6 partitions, the settings name 3" in SURPLUS.notice


@pytest.mark.parametrize("topic", [SHORTAGE, UNREAD])
async def test_it_is_not_ready_while_records_wait_that_nothing_reads_or_sends(topic):
    """A lag of 0 hid them."""
    status, body = await ask("/ready", page=replace(PAGE, topics=(topic,)))

    assert (status, body["reasons"]) == (503, [topic.trouble])


@pytest.mark.parametrize("topic", [SHORTAGE, SURPLUS, UNREAD])
async def test_why_names_a_topic_that_differs_from_the_settings(topic):
    _, body = await ask("/why", page=replace(PAGE, topics=(topic,)))

    (feed,) = body["feeds"]
    assert (topic.trouble or topic.notice) in feed["why"]
    assert feed["fresh"] is not bool(topic.trouble)


@pytest.mark.parametrize(
    ("token", "expected"), [(None, TOKEN), ("wrong", TOKEN), ("", TOKEN), (None, ""), ("any", "")]
)
async def test_without_the_token_a_probe_learns_the_state_and_no_reason(token, expected):
    """Reasons name hosts, topics and errors of the stores."""
    down = {"page": DatabaseUnavailable("Postgres at db.internal is down")}

    assert await ask("/ready", token=token, expected=expected, **down) == (
        503,
        {"ready": False, "collecting": True, "generation": 3},
    )
    status, body = await ask("/why", token=token, expected=expected)
    assert (status, set(body)) == (401, {"error", "fix"})
    assert (await ask("/live", token=token, expected=expected))[0] == 200
