"""Where manifests come from: an overlay by name or folder, or a file of YAML documents."""

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.kinds import COMPONENT
from ray_pipeline.kubernetes.deploy.needs import home_of, placed
from ray_pipeline.kubernetes.deploy.objects import Json, annotation

NAMESPACE = "ray-pipeline"
OVERLAYS = Path("kuberay") / "overlays"
Build = Callable[[Path], list[Json]]


def read(
    source: str, build: Build, *, roots: tuple[Path, ...], namespace: str | None
) -> list[Json]:
    """
    Return the objects of a file, or of an overlay, each in its namespace.

    Raises:
        ConfigurationError: If there is no such file or overlay, or it holds no objects.
    """
    path = locate(source, roots)
    objects = build(path) if path.is_dir() else _documents(path)
    if not objects:
        raise ConfigurationError(f"{path} holds no objects", fix="name a file or folder that does")
    return placed(objects, namespace or home_of(objects) or NAMESPACE)


def leave_out(objects: Sequence[Json], components: Sequence[str]) -> list[Json]:
    """
    Return the objects without those of the components.

    Raises:
        ConfigurationError: If no object belongs to one of them.
    """
    known = sorted({name for obj in objects if (name := annotation(obj, COMPONENT))})
    for name in components:
        if name not in known:
            raise ConfigurationError(
                f"there is no component {name!r} in these manifests",
                fix=f"one of {', '.join(known)}"
                if known
                else f"components are told by the annotation {COMPONENT}, and no object has it",
            )
    return [obj for obj in objects if annotation(obj, COMPONENT) not in components]


def locate(source: str, roots: tuple[Path, ...]) -> Path:
    """
    Return the file or folder that is meant: a path, else an overlay's name below one of `roots`.

    Raises:
        ConfigurationError: If there is none.
    """
    candidates = [Path(source), *(root / OVERLAYS / source for root in roots)]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        known = sorted(
            {p.name for root in roots for p in (root / OVERLAYS).glob("*") if p.is_dir()}
        )
        raise ConfigurationError(
            f"no overlay or file {source!r}",
            fix=f"one of {', '.join(known)}, or a path"
            if known
            else "run it in a checkout, where kuberay/overlays is, or give a path",
        )
    return found


def _documents(path: Path) -> list[Json]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}", fix="correct it") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    found = [one for one in documents if isinstance(one, dict)]
    lists = [inner for one in found if one.get("kind") == "List" for inner in one["items"]]
    return [one for one in found if one.get("kind") != "List"] + lists
