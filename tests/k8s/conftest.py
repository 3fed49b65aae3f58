"""The API server that the tests of this folder share, and a namespace for each of them."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_pipeline.kubernetes.deploy.kube import Kube, connect
from tests.k8s.apiserver import ApiServer, start
from tests.k8s.world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api_server(servers_dir: Path) -> Iterator[ApiServer]:
    """A real API server for custom resources, with stand-ins for core kinds."""
    server = start(servers_dir / "kubernetes")
    yield server
    server.stop()


@pytest.fixture
def kubeconfig(api_server: ApiServer) -> Path:
    """The kubeconfig of an administrator."""
    return api_server.kubeconfig("front", host=api_server.url)


@pytest.fixture
def kube(kubeconfig: Path) -> Iterator[Kube]:
    """The cluster, as an administrator."""
    found = connect(kubeconfig=kubeconfig)
    yield found
    found.close()


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own, not made yet."""
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def world(kube: Kube, api_server: ApiServer) -> World:
    """The cluster as everybody else sees it."""
    return World(kube, api_server)
