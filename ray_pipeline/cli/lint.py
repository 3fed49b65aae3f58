"""`ray-pipeline lint`: check manifests without a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.cli.common import AsJson, command, print_json
from ray_pipeline.cli.deploy import ROOTS
from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.manifest_source import overlay_names, read
from ray_pipeline.kubernetes.manifests.all_rules import lint as check
from ray_pipeline.kubernetes.manifests.build import build
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding
from ray_pipeline.kubernetes.manifests.schemas import read_crds

Sources = Annotated[
    list[str] | None,
    typer.Argument(help="Overlays, folders with a kustomization, or files. Default: all overlays."),
]
Crds = Annotated[
    Path | None,
    typer.Option(help="A folder of CRD files: check every object's schema, too.", exists=True),
]


@command
async def lint(sources: Sources = None, *, crds: Crds = None, as_json: AsJson = False) -> int:
    """
    Check manifests without a cluster: KubeRay's own rules, references, rights, safety, sums.

    The operators enforce more rules than their schemas contain; `lint` checks these rules first.
    With `--crds`, every object must also match its schema, strictly. Exit status: 1 after a fault.
    """
    names = sources or overlay_names(ROOTS)
    if not names:
        fix = "run it in a checkout, or name a folder or a file"
        raise ConfigurationError("no overlays in this folder", fix=fix)
    schemas = read_crds(crds) if crds is not None else None
    findings = {
        name: check(read(name, build, roots=ROOTS, namespace=None), crds=schemas) for name in names
    }
    if as_json:
        rows = {
            name: [finding.as_json() for finding in faults] for name, faults in findings.items()
        }
        print_json(rows)
    else:
        _show(findings)
    return 1 if any(findings.values()) else 0


def _show(findings: dict[str, list[LintFinding]]) -> None:
    for name, faults in findings.items():
        typer.echo(f"{name}: {len(faults)} faults" if faults else f"{name}: no fault")
        for finding in faults:
            typer.echo(f"  {finding}".replace("\n", "\n  "))
