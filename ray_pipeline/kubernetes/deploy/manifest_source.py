"""Read manifests: an overlay by name or folder, or a file of YAML documents."""

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.kinds import COMPONENT
from ray_pipeline.kubernetes.deploy.needs import home_of, placed
from ray_pipeline.kubernetes.deploy.objects import Json, annotation, items, kind_of

NAMESPACE = "ray-pipeline"
OVERLAYS = Path("kuberay") / "overlays"
Build = Callable[[Path], list[Json]]


def read(
    source: str, build: Build, *, roots: tuple[Path, ...], namespace: str | None
) -> list[Json]:
    """
    Return the objects of a file, or of an overlay, each in its namespace.

    Raises:
        ConfigurationError: If the file or overlay does not exist, or has no objects.
    """
    path = locate(source, roots)
    objects = build(path) if path.is_dir() else _documents(path)
    if not objects:
        raise ConfigurationError(f"{path} has no objects", fix="name a file or folder with objects")
    return placed(objects, namespace or home_of(objects) or NAMESPACE)


def without_components(objects: Sequence[Json], components: Sequence[str]) -> list[Json]:
    """
    Return the objects without those of the components.

    Raises:
        ConfigurationError: If a component has no objects.
    """
    names = sorted({name for obj in objects if (name := annotation(obj, COMPONENT))})
    fix = f"one of {', '.join(names)}" if names else f"no object has the annotation {COMPONENT}"
    for name in components:
        if name not in names:
            raise ConfigurationError(f"these manifests have no component {name!r}", fix=fix)
    return [obj for obj in objects if annotation(obj, COMPONENT) not in components]


def overlay_names(roots: tuple[Path, ...]) -> list[str]:
    """Return the names of the overlays below the roots, sorted."""
    folders = (path for root in roots for path in (root / OVERLAYS).glob("*"))
    return sorted({path.name for path in folders if path.is_dir()})


def locate(source: str, roots: tuple[Path, ...]) -> Path:
    """
    Return the path of a file or folder; a path takes precedence over the name of an overlay.

    Raises:
        ConfigurationError: If it does not exist.
    """
    for path in (Path(source), *(root / OVERLAYS / source for root in roots)):
        if path.exists():
            return path
    names = ", ".join(overlay_names(roots))
    raise ConfigurationError(
        f"no overlay or file {source!r}",
        fix=f"one of {names}, or a path"
        if names
        else "run it in a checkout with kuberay/overlays, or give a path",
    )


def _documents(path: Path) -> list[Json]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}", fix="correct it") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    objects = [document for document in documents if isinstance(document, dict)]
    lists = [item for obj in objects if kind_of(obj) == "List" for item in items(obj, "items")]
    return [obj for obj in objects if kind_of(obj) != "List"] + lists
