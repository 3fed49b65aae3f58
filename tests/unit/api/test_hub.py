"""What the hub reads, and which client is offered which value."""

from ray_pipeline.api.client_queue import CONTROL_LIMIT
from ray_pipeline.api.hub import Client, Hub
from ray_pipeline.errors import CacheUnavailable


class Redis:
    """Holds values, counts reads, and fails while `down`."""

    def __init__(self, **values):
        self.values, self.down, self.reads = values, False, []

    async def read(self, symbols):
        self.reads.append(list(symbols))
        if self.down:
            raise CacheUnavailable("Redis is down")
        return [self.values.get(symbol) for symbol in symbols]


def clients(hub, *interests):
    created = []
    for interest in interests:
        client = Client("f")
        hub.subscribe(client, interest)
        created.append(client)
    return created


def offered(client):
    """The values that wait for a client, by removing them."""
    text = client.queue.values()
    return [value for value in ("1", "2", "3", "9") if value in text.partition("[")[2]]


async def test_one_read_serves_all_clients():
    """The union of their symbols, once per round."""
    redis = Redis(A="1", B="2", C="3")
    hub = Hub("f", redis.read, interval_s=1.0)
    first, second, third = clients(hub, "AB", "BC", "AB")

    await hub.round()

    assert redis.reads == [["A", "B", "C"]]
    assert [offered(client) for client in (first, second, third)] == [
        ["1", "2"],
        ["2", "3"],
        ["1", "2"],
    ]


async def test_only_changes_are_offered_and_new_symbols_with_their_current_value():
    """Another client's new symbol changes nothing for the first."""
    redis = Redis(A="1", B="2")
    hub = Hub("f", redis.read, interval_s=1.0)
    (first,) = clients(hub, "AB")
    await hub.round()
    offered(first)

    redis.values["B"] = "9"
    (late,) = clients(hub, "A")
    await hub.round()

    assert offered(first) == ["9"]
    assert offered(late) == ["1"]


async def test_a_client_that_left_costs_nothing():
    """No symbols, no read."""
    redis = Redis(A="1")
    hub = Hub("f", redis.read, interval_s=1.0)
    (client,) = clients(hub, "A")
    hub.remove(client)

    await hub.round()

    assert redis.reads == []


async def test_an_outage_is_announced_once_and_so_is_its_end():
    """Even if one client does not read its replies."""
    redis = Redis(A="1")
    hub = Hub("f", redis.read, interval_s=1.0)
    stuck, client = clients(hub, "A", "A")
    for _ in range(CONTROL_LIMIT):
        stuck.queue.say({})
    redis.down = True
    await hub.round()
    await hub.round()
    assert hub.trouble == "Redis is down"
    assert client.queue.control() == '{"type":"status","redis":"away","why":"Redis is down"}'
    assert not client.queue.has_control

    redis.down = False
    await hub.round()

    assert client.queue.control() == '{"type":"status","redis":"ok","why":""}'
