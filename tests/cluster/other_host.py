"""A second host: a network namespace that reaches this one over a pair of virtual interfaces."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable

# From the range for documentation (RFC 5737), which no real host uses.
HERE, THERE = "198.51.100.1", "198.51.100.2"
# Request each port to run a command, and print the results.
SUBMIT = """
import http.client, json, sys, urllib.error, urllib.request
answers = {}
for port in json.loads(sys.argv[2]):
    url = f"http://{sys.argv[1]}:{port}/api/job_agent/jobs/"
    request = urllib.request.Request(url, data=b'{"entrypoint": "id"}')
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answers[port] = str(answer.status)
    except urllib.error.HTTPError as error:
        answers[port] = str(error.code)
    except urllib.error.URLError as error:
        answers[port] = type(error.reason).__name__
    except (OSError, http.client.HTTPException) as error:
        answers[port] = type(error).__name__
print(json.dumps(answers))
"""


def possible() -> bool:
    """Return whether this user may create network namespaces."""
    if shutil.which("ip") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--net", "true"], capture_output=True, check=False, timeout=120
    )
    return tried.returncode == 0


class OtherHost:
    """Create the namespace; delete it when the context ends."""

    def __init__(self, number: int) -> None:
        self._name = f"rp-{number}"
        self._ours, self._theirs = f"rp{number}a", f"rp{number}b"

    def __enter__(self) -> "OtherHost":
        _ip(f"netns add {self._name}")
        _ip(f"link add {self._ours} type veth peer name {self._theirs} netns {self._name}")
        _ip(f"addr add {HERE}/30 dev {self._ours}")
        _ip(f"link set {self._ours} up")
        _ip(f"-n {self._name} addr add {THERE}/30 dev {self._theirs}")
        _ip(f"-n {self._name} link set {self._theirs} up")
        return self

    def __exit__(self, *_: object) -> None:
        _ip(f"link del {self._ours}")
        _ip(f"netns del {self._name}")

    def submit(self, ports: Iterable[int]) -> dict[int, str]:
        """Submit a job to each port; return its HTTP status or the name of the error, by port."""
        done = subprocess.run(
            ["ip", "netns", "exec", self._name, sys.executable, "-c", SUBMIT, HERE,
             json.dumps(sorted(ports))],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return {int(port): answer for port, answer in json.loads(done.stdout).items()}


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, timeout=120)
