"""A small disk for the spool, which a fault can fill."""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x00020000
SIZE_BYTES = 64 * 2**20
BALLAST = "ballast"
BLOCK = bytes(4096)


def leave_mount_namespace() -> bool:
    """
    Give this process a mount namespace of its own; return whether it may mount.

    Mounts then end with the last process of the run, however the run ends.
    """
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return False
    private = ["mount", "--make-rprivate", "/"]
    return subprocess.run(private, check=False, capture_output=True, timeout=120).returncode == 0


def mount_disk(directory: Path) -> bool:
    """Mount a disk of SIZE_BYTES at a new directory; return whether that worked."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(directory)]
    return subprocess.run(mount, check=False, capture_output=True, timeout=120).returncode == 0


def fill(directory: Path) -> None:
    """Use up the disk, which processes use meanwhile."""
    with (directory / BALLAST).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def empty(directory: Path) -> None:
    """Free what `fill` used."""
    (directory / BALLAST).unlink(missing_ok=True)
