"""The command `up`."""

import logging

import pytest

from ray_pipeline.cli.up import log_libraries


@pytest.fixture
def ray_logger():
    """The logger of Ray, restored after the test; it writes to the terminal, as Ray sets it up."""
    names = ("aiokafka", "ray", "kafka")
    loggers = [logging.getLogger(name) for name in names]
    previous = [(logger, logger.handlers, logger.propagate, logger.level) for logger in loggers]
    loggers[1].handlers = [logging.StreamHandler()]
    yield loggers[1]
    loggers[1].handlers[0].close()
    for logger, handlers, propagate, level in previous:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_warnings_of_ray_go_to_the_file_and_not_to_the_terminal(ray_logger, tmp_path, capfd):
    """Ray sets the level of its logger again when it starts."""
    log_libraries(tmp_path / "logs" / "libraries.log")
    ray_logger.setLevel(logging.WARNING)

    logging.getLogger("ray._private.worker").warning("12 worker processes have been started")

    assert "12 worker processes" in (tmp_path / "logs" / "libraries.log").read_text()
    assert capfd.readouterr().err == ""
