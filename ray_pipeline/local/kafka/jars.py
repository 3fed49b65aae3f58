"""Apache Kafka's jars, which Maven downloads once into the user's cache."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from ray_pipeline.errors import MissingDependency, ServerError

VERSION = "4.3.1"
POM = Path(__file__).with_name("pom.xml")
MAIN_JAR = f"kafka_2.13-{VERSION}.jar"


def jars_dir() -> Path:
    """Return the folder of the jars: PIPELINE_KAFKA_LIBS, or one in the user's cache."""
    if named := os.environ.get("PIPELINE_KAFKA_LIBS"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ray-pipeline" / f"kafka-{VERSION}" / "libs"


def fetch_jars() -> Path:
    """
    Return the folder of the jars; the first call downloads them.

    The folder appears when it is complete, so an interrupted download is repeated.

    Raises:
        MissingDependency: If neither the jars nor Maven are installed.
        ServerError: If Maven fails; the text quotes its message.
    """
    libs = jars_dir()
    if (libs / MAIN_JAR).exists():
        return libs
    libs.parent.mkdir(parents=True, exist_ok=True)
    with (libs.parent / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel tests would all download them
        if not (libs / MAIN_JAR).exists():
            _run_maven(libs)
    return libs


def _run_maven(libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingDependency(
            f"Apache Kafka's jars are not in {libs}, and Maven, which downloads them, is missing",
            fix="install Maven and Java 17 (Debian: apt-get install maven "
            "openjdk-17-jre-headless), or use the default broker, which needs neither",
        )
    new_libs = libs.with_name("libs.new")
    shutil.rmtree(new_libs, ignore_errors=True)
    result = subprocess.run(  # noqa: S603 - the command is ours
        [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
         f"-DoutputDirectory={new_libs}", "-DincludeScope=runtime"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0 or not (new_libs / MAIN_JAR).exists():
        raise ServerError(
            f"Maven did not fetch Kafka's jars:\n{(result.stdout + result.stderr)[-1500:]}",
            fix="check the network and Maven's settings, then try again",
        )
    shutil.rmtree(libs, ignore_errors=True)
    new_libs.rename(libs)


if __name__ == "__main__":
    print(fetch_jars())
