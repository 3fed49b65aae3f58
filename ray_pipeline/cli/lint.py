"""`ray-pipeline lint`: is what will be applied right?"""

from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.cli.common import AsJson, command, print_json
from ray_pipeline.cli.deploy import ROOTS
from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.manifest_source import OVERLAYS, read
from ray_pipeline.kubernetes.manifests.all_rules import lint as check
from ray_pipeline.kubernetes.manifests.build import build
from ray_pipeline.kubernetes.manifests.finding import Finding
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

    The operators enforce more than their schemas say; these rules find it before they do. With
    `--crds` every object is also held against its schema, strictly. Exit status: 1 if a fault was
    found.
    """
    names = sources or _overlays()
    schemas = read_crds(crds) if crds is not None else None
    found = {
        name: check(read(name, build, roots=ROOTS, namespace=None), crds=schemas) for name in names
    }
    if as_json:
        print_json({name: [one.as_json() for one in some] for name, some in found.items()})
    else:
        _show(found)
    return 1 if any(found.values()) else 0


def _overlays() -> list[str]:
    names = sorted(
        {path.name for root in ROOTS for path in (root / OVERLAYS).glob("*") if path.is_dir()}
    )
    if not names:
        raise ConfigurationError(
            "there are no overlays here", fix="run it in a checkout, or name a folder or a file"
        )
    return names


def _show(found: dict[str, list[Finding]]) -> None:
    for name, some in found.items():
        typer.echo(f"{name}: {len(some)} faults" if some else f"{name}: no fault")
        for one in some:
            typer.echo(f"  {one}".replace("\n", "\n  "))
