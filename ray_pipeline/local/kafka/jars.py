"""Apache Kafka's jars, fetched once by Maven into the user's cache."""

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
    """Return where the jars are, or would be: PIPELINE_KAFKA_LIBS, else the user's cache."""
    # Not a setting: it names installed software, as JAVA_HOME does.
    if named := os.environ.get("PIPELINE_KAFKA_LIBS"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ray-pipeline" / f"kafka-{VERSION}" / "libs"


def fetch_jars() -> Path:
    """
    Return the folder of the jars; the first call fetches them.

    They appear there all at once: a fetch that was cut off leaves nothing behind that counts.

    Raises:
        MissingDependency: If they are absent, and so is Maven.
        ServerError: If Maven fails; the text has its message.
    """
    libs = jars_dir()
    if (libs / MAIN_JAR).exists():
        return libs
    libs.parent.mkdir(parents=True, exist_ok=True)
    with (libs.parent / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in parallel all want them at once
        if not (libs / MAIN_JAR).exists():
            _run_maven(libs)
    return libs


def _run_maven(libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingDependency(
            f"Apache Kafka's jars are not in {libs}, and Maven, which fetches them, is absent",
            fix="install Maven and Java 17 (Debian: apt-get install maven "
            "openjdk-17-jre-headless), or use the default broker, which needs neither",
        )
    fresh = libs.with_name("libs.new")
    shutil.rmtree(fresh, ignore_errors=True)
    done = subprocess.run(  # noqa: S603 - the command is ours
        [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
         f"-DoutputDirectory={fresh}", "-DincludeScope=runtime"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 or not (fresh / MAIN_JAR).exists():
        raise ServerError(
            f"Maven did not fetch Kafka's jars:\n{(done.stdout + done.stderr)[-1500:]}",
            fix="check the network and Maven's settings, then try again",
        )
    shutil.rmtree(libs, ignore_errors=True)
    fresh.rename(libs)


if __name__ == "__main__":
    print(fetch_jars())
