"""Run the shipped notebook from top to bottom against a running pipeline."""

import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.cluster.support import Run

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"


def explore(run: Run, monkeypatch) -> None:
    """Execute it; it must show frames and plots, and pause and resume a running producer."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are stripped"
    for name in list(os.environ):
        if name.startswith("PIPELINE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIPELINE_HOME", str(run.home))
    # The kernel prints a message about its debugger.
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")

    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(run.home))

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output["data"] for output in outputs if "data" in output]
    assert len([data for data in shown if "image/png" in data]) == 3
    assert len([data for data in shown if "text/html" in data]) >= 8
    texts = [data.get("text/plain", "") for data in shown]
    assert any("SIMULATED" in text for text in texts)
    assert any(re.match(r"\('collecting', \['KRW-", text) for text in texts), texts[-3:]
    printed = "".join(one["text"] for one in outputs if one["output_type"] == "stream")
    assert "paused" in printed
    assert any("paused" in cause for (cause,) in run.rows("SELECT cause FROM gaps"))
