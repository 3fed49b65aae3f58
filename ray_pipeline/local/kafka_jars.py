"""Apache Kafka's jars, fetched once by Maven into the user's cache."""

import os
import shutil
import subprocess
from pathlib import Path

from ray_pipeline.errors import MissingDependency, ServerError

VERSION = "4.3.1"
POM = Path(__file__).parent / "kafka" / "pom.xml"
COMPLETE = ".complete"


def jars_dir() -> Path:
    """Return where the jars are, or would be: PIPELINE_KAFKA_LIBS, else the user's cache."""
    if named := os.environ.get("PIPELINE_KAFKA_LIBS"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ray-pipeline" / f"kafka-{VERSION}" / "libs"


def jars() -> Path:
    """
    Return the directory with the jars, fetching them at the first time.

    Raises:
        MissingDependency: If they are not there and Maven is not either.
        ServerError: If Maven fails; the text has its message.
    """
    where = jars_dir()
    if (where / COMPLETE).exists() or (where.exists() and list(where.glob("kafka_2.13-*.jar"))):
        return where
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingDependency(
            f"Apache Kafka's jars are not in {where}, and Maven, which fetches them, is not there",
            fix="install Maven and Java 17 (Debian: maven), or use the default broker",
        )
    done = subprocess.run(  # noqa: S603 - the command is ours
        [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
         f"-DoutputDirectory={where}", "-DincludeScope=runtime"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ServerError(
            f"Maven did not fetch Kafka's jars:\n{(done.stdout + done.stderr)[-1500:]}",
            fix="check the network and Maven's settings, then try again",
        )
    (where / COMPLETE).touch()
    return where


if __name__ == "__main__":
    print(jars())
