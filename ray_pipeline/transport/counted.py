"""
One HTTP request is one call of the provider's quota, and no library makes a request of its own.

HTTP libraries make requests without a permit: they repeat a request if the server closes the
connection, and they follow redirects. Clients of providers switch both off, and open `NextCall`
around every single request.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import aiohttp
from curl_cffi import CurlOpt
from curl_cffi.requests.exceptions import ConnectTimeout, Timeout

# Opens a block in which exactly one request is made; it waits for the request's permit first.
# A TimeoutError inside the block means that the request may still arrive.
NextCall = Callable[[], AbstractAsyncContextManager[None]]

# libcurl repeats a request if a reused connection closes before the answer.
SINGLE_REQUEST = {CurlOpt.FRESH_CONNECT: 1, CurlOpt.FORBID_REUSE: 1}


@asynccontextmanager
async def uncounted() -> AsyncIterator[None]:
    """Make a request of a server without a quota."""
    yield


async def never_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """
    Make a request once; a middleware of aiohttp.

    aiohttp repeats a GET after these two errors, on a new connection too, although the server may
    have counted the first request. It does not repeat a request after the error's base class.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise  # not connected: nothing was sent, and aiohttp does not repeat it
        raise aiohttp.ClientConnectionError(type(error).__name__) from error


@contextmanager
def curl_timeouts() -> Iterator[None]:
    """Raise TimeoutError if a request of curl_cffi gets no answer in time after it was sent."""
    try:
        yield
    except ConnectTimeout:
        raise
    except Timeout as error:
        raise TimeoutError(type(error).__name__) from error
