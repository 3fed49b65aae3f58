"""Calls of actors by their handles, without a cluster."""

import asyncio
import gc

import pytest
from ray.exceptions import ActorDiedError

from ray_pipeline.actors.ray_runtime import ActorUnreachable, RayHandle


class Method:
    """A method of an actor whose result the test decides."""

    def __init__(self, result: "asyncio.Future[object]") -> None:
        self._result = result

    def remote(self, *_arguments: object) -> "asyncio.Future[object]":
        return self._result


class Actor:
    """An actor with the method `status`."""

    def __init__(self, result: "asyncio.Future[object]") -> None:
        self.status = Method(result)


async def test_the_result_of_a_method_is_returned():
    result = asyncio.get_running_loop().create_future()
    result.set_result("storing")

    assert await RayHandle(Actor(result)).call("status") == "storing"


async def test_a_dead_actor_is_unreachable():
    result = asyncio.get_running_loop().create_future()
    result.set_exception(ActorDiedError())

    with pytest.raises(ActorUnreachable, match="ActorDiedError"):
        await RayHandle(Actor(result)).call("status")


async def test_an_actor_that_dies_after_the_timeout_is_not_reported_again():
    """`up` ends its actors after such a timeout; asyncio printed a traceback for each."""
    loop = asyncio.get_running_loop()
    reported: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    result = loop.create_future()

    with pytest.raises(ActorUnreachable, match="TimeoutError"):
        await RayHandle(Actor(result)).call("status", timeout_s=0)
    result.set_exception(ActorDiedError())
    for _ in range(3):  # the shielded task, then its callbacks
        await asyncio.sleep(0)
    del result
    gc.collect()

    assert reported == []
