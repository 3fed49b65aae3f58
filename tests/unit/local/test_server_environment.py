"""Servers receive what they need to run, and no secret of any name."""

from ray_pipeline.local.server_environment import server_environment


def test_paths_and_locale_are_passed_on():
    needed = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "JAVA_HOME": "/jdk", "TZ": "UTC"}

    assert server_environment(needed) == needed


def test_a_variable_that_no_server_needs_is_not_passed_on():
    secrets = {"PIPELINE_API_KEYS": "{}", "PGPASSWORD": "x", "AWS_SECRET_ACCESS_KEY": "x"}

    assert server_environment(secrets | {"PATH": "/bin"}) == {"PATH": "/bin"}
