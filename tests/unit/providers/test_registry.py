"""Every provider module is complete."""

import importlib
from datetime import UTC, datetime

import pytest

from ray_pipeline.providers.refusals import Refusal
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.simulators.bodies import Body, Simulated, simulated
from ray_pipeline.transport.answer import Answer

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
every_provider = pytest.mark.parametrize(
    "provider", all_providers(), ids=lambda provider: provider.name
)


def refusal(provider, body: Body) -> Refusal | None:
    verdict = provider.classify(Answer(body.status, body.headers, body.text, NOW))
    return verdict and verdict.refusal


@every_provider
def test_a_provider_is_in_the_module_of_its_name(provider):
    """Errors name the file, and the simulator is found by the name."""
    module = importlib.import_module(f"ray_pipeline.providers.{provider.name}")

    assert module.PROVIDER is provider


@every_provider
def test_a_provider_says_what_its_users_need(provider):
    """People read the plan and get a key; the ledger needs a window."""
    assert provider.title
    assert provider.free_plan
    assert provider.base_url.startswith("https://")
    assert provider.quota.windows
    assert provider.key_url.startswith("https://") == provider.needs_key
    assert (provider.auth != "none") == provider.needs_key
    assert bool(provider.auth_name) == (provider.auth in {"query", "header"})


@every_provider
def test_a_provider_is_simulated(provider):
    """The demo collects from it."""
    assert simulated(provider.name) != Simulated()


@every_provider
def test_simulated_refusals_are_recognised(provider):
    """Too fast, the quota, and a key that is not accepted."""
    simulation = simulated(provider.name)

    assert refusal(provider, simulation.rate) in {Refusal.RATE, Refusal.QUOTA}
    assert refusal(provider, simulation.past_quota()) in {Refusal.RATE, Refusal.QUOTA}
    assert refusal(provider, simulation.bad_key) is Refusal.KEY


def test_a_provider_without_a_simulation_answers_nothing():
    """A new provider works before it is simulated."""
    assert simulated("unheard_of").generate("/", {}, None) is None
