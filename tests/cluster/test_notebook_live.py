"""The shipped notebook runs from top to bottom against a demo, and shows what it promises."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.support import eventually_sync

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"


def test_the_notebook_runs_against_a_demo_and_pauses_a_live_producer(start, monkeypatch):
    """Frames, three plots, a producer that rests and goes on; the audit is clean afterwards."""
    run = start("notebook", "demo")
    eventually_sync(
        lambda: {"sp500", "bithumb"} <= set(run.stored_of_feeds()), timeout_s=120, what="rows"
    )
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are stripped"
    for name in list(os.environ):
        if name.startswith("PIPELINE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIPELINE_HOME", str(run.home))

    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(run.home))

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    plots = [one for one in outputs if "image/png" in one.get("data", {})]
    tables = [one for one in outputs if "text/html" in one.get("data", {})]
    assert len(plots) == 3
    assert len(tables) >= 8
    texts = [one["data"].get("text/plain", "") for one in outputs if "data" in one]
    assert any("SIMULATED" in text for text in texts)
    printed = "".join(one["text"] for one in outputs if one["output_type"] == "stream")
    assert "paused" in printed
    assert any(text.startswith("('collecting', ['KRW-") for text in texts), texts[-3:]
    assert any("paused" in str(cause) for cause in run.rows("SELECT cause FROM gaps"))

    run.interrupt()
    assert run.wait() == 0, run.text()[-2000:]
    assert "clean: everything is explained" in run.text()
