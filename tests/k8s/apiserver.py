"""
A Kubernetes API server for the tests: etcd and `apiextensions-apiserver`, both real.

That server knows custom resources only. Core kinds (Secret, Job, ...) are custom resources too
here, of a group that ends in `stand-in.test`; a proxy in front of it translates names. So
server-side apply, managed fields, conflicts and dry runs of core kinds are the real server's,
their schemas are not: those are checked elsewhere. No controller runs: tests write the status.
The proxy answers commands in pods (`kubectl exec`) with what the test put into `outputs`.
"""

import base64
import hashlib
import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
import yaml

from ray_pipeline.local import start as starting
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.process import ServerProcess
from ray_pipeline.local.server_ports import ServerPorts
from tests.k8s.authority import Authority
from tests.support import eventually_sync

REPOSITORY = Path(__file__).resolve().parents[2]
CRDS = REPOSITORY.parent / "shared" / "crds"
PROGRAM = REPOSITORY / ".setup" / "bin" / "apiextensions-apiserver"
JSON = "application/json"
START_S = 180.0
# The server reads /namespaces/NAME in any path as where something is, so not what it is.
SPACES = "spaces"
ONE_SPACE = re.compile(r"^(/api/v1)/namespaces((/[^/?]+)?(\?.*)?)$")
EXEC = re.compile(r"^/api/v1/namespaces/([^/]+)/pods/([^/]+)/exec\?")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SUFFIX = ".stand-in.test"
OFF = (
    "NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,"
    "ValidatingAdmissionPolicy,MutatingAdmissionPolicy"
)
# Core kinds that stand-ins are made for: api version, kind, plural, namespaced.
CORE = [
    ("v1", "Namespace", SPACES, False),
    ("v1", "Secret", "secrets", True),
    ("v1", "ConfigMap", "configmaps", True),
    ("v1", "Pod", "pods", True),
    ("v1", "Event", "events", True),
    ("v1", "Service", "services", True),
    ("v1", "ServiceAccount", "serviceaccounts", True),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims", True),
    ("v1", "ResourceQuota", "resourcequotas", True),
    ("v1", "LimitRange", "limitranges", True),
    ("apps/v1", "Deployment", "deployments", True),
    ("apps/v1", "StatefulSet", "statefulsets", True),
    ("batch/v1", "Job", "jobs", True),
    ("batch/v1", "CronJob", "cronjobs", True),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", True),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", True),
    ("networking.k8s.io/v1", "Ingress", "ingresses", True),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", True),
    ("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", False),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", True),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", True),
]
# Not RayCronJob, ServiceMonitor and Kafka Connect: for the tests of a kind that is not known.
CUSTOM = [
    "kuberay-1.7.0/ray.io_rayclusters.yaml",
    "kuberay-1.7.0/ray.io_rayservices.yaml",
    "kuberay-1.7.0/ray.io_rayjobs.yaml",
    "strimzi-1.2.0/040-Crd-kafka.yaml",
    "strimzi-1.2.0/043-Crd-kafkatopic.yaml",
    "strimzi-1.2.0/044-Crd-kafkauser.yaml",
    "strimzi-1.2.0/045-Crd-kafkanodepool.yaml",
    "k3s-helm-controller-0.17.7/helm.cattle.io_helmcharts.yaml",
    "prometheus-operator/monitoring.coreos.com_podmonitors.yaml",
    "prometheus-operator/monitoring.coreos.com_prometheusrules.yaml",
]
# As the real server: a Job's pods cannot be changed.
JOB_SPEC = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {"template": {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"containers": {"type": "array", "maxItems": 4, "items": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"image": {"type": "string", "maxLength": 200}},
            }}},
        }},
        "x-kubernetes-validations": [{
            "rule": "self.spec.containers[0].image == oldSelf.spec.containers[0].image",
            "message": "field is immutable",
        }],
    }},
}  # fmt: skip


def stand_in(api_version: str) -> str:
    """Return the version under which the real server knows a core kind."""
    group, _, version = api_version.rpartition("/")
    return f"{group.replace('.', '-') or 'core'}{SUFFIX}/{version}"


GROUPS = {version: stand_in(version) for version, *_ in CORE}


def _definition(api_version: str, kind: str, plural: str, namespaced: bool) -> dict[str, object]:
    group, _, version = stand_in(api_version).rpartition("/")
    return _open_definition(group, version, kind, plural, namespaced=namespaced)


def _open_definition(
    group: str, version: str, kind: str, plural: str, *, namespaced: bool
) -> dict[str, object]:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    spec = {"properties": {"spec": JOB_SPEC}} if kind == "Job" else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {
                "kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List",
            },
            "versions": [{
                "name": version, "served": True, "storage": True,
                "schema": {"openAPIV3Schema": anything | spec},
            }],
        },
    }  # fmt: skip


def _custom(path: str) -> dict[str, object]:
    documents = yaml.load_all((CRDS / path).read_text(), Loader=yaml.CSafeLoader)
    return next(document for document in documents if document)


class ApiServer:
    """etcd, the API server, and the proxy in front of it; `url` is the proxy's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.etcd = ServerProcess("etcd", log=directory / "etcd.log")
        self.process = ServerProcess("apiextensions-apiserver", log=directory / "apiserver.log")
        self.ports = ServerPorts(0, 0, 0)  # of the server, of etcd for clients and for peers
        self.url = ""
        # By namespace and pod: what a command in it prints; of the others, the status of a refusal.
        self.outputs: dict[tuple[str, str], str] = {}
        self.refusals: dict[tuple[str, str], int] = {}
        self._front: ThreadingHTTPServer | None = None

    @property
    def real(self) -> str:
        """Where the real server is, behind the proxy."""
        return f"https://{HOST}:{self.ports.numbers[0]}"

    def start(self) -> None:
        """Start everything; returns when every kind is served."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(self.directory)
        self.serving = self.authority.sign("server")
        admin = self.authority.sign("admin", group="system:masters")
        self._serve()
        self.pool = urllib3.PoolManager(
            ca_certs=str(self.authority.certificate),
            cert_file=str(admin.certificate),
            key_file=str(admin.key),
            maxsize=8,
        )
        starting.start(self)
        self._define([_definition(*kind) for kind in CORE] + [_custom(path) for path in CUSTOM])

    def spawn(self) -> None:
        """Start etcd and the server; what is left of an attempt before is removed."""
        self._end()
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)
        with self.ports.held():
            _, client, peer = self.ports.numbers
            self._spawn_etcd(f"http://{HOST}:{client}", f"http://{HOST}:{peer}")
            self._spawn_server(f"http://{HOST}:{client}")

    def wait_ready(self) -> None:
        """Wait until etcd answers, then the server."""
        try:
            self.etcd.wait_ready(self._ping_etcd, timeout_s=START_S, ports=self.ports.numbers)
            self.process.wait_ready(self._ping, timeout_s=START_S, ports=self.ports.numbers)
        finally:
            self.ports.release()

    def _spawn_etcd(self, at: str, peers: str) -> None:
        self.etcd.spawn([
            shutil.which("etcd") or "etcd", "--data-dir", str(self.directory / "etcd"),
            "--listen-client-urls", at, "--advertise-client-urls", at,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}", "--unsafe-no-fsync",
        ])  # fmt: skip

    def _spawn_server(self, etcd: str) -> None:
        judge = self.kubeconfig("judge", host=self.url)
        config = self.kubeconfig("itself", host=self.real, user="admin")
        self.process.spawn([
            str(program()), f"--etcd-servers={etcd}", f"--secure-port={self.ports.numbers[0]}",
            "--bind-address=127.0.0.1",
            f"--tls-cert-file={self.serving.certificate}",
            f"--tls-private-key-file={self.serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            "--authentication-skip-lookup=true", f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={judge}", f"--kubeconfig={config}",
            "--enable-priority-and-fairness=false", f"--disable-admission-plugins={OFF}",
        ])  # fmt: skip

    def stop(self) -> None:
        """Stop everything."""
        if self._front is not None:
            self._front.shutdown()
            self._front.server_close()
            self.pool.clear()
        self._end()

    def _end(self) -> None:
        self.process.stop(timeout_s=2)
        self.etcd.stop(timeout_s=2)

    def user(self, name: str, *, group: str) -> Path:
        """Return the kubeconfig of a new user of the real server."""
        self.authority.sign(name, group=group)
        return self.kubeconfig(name, host=self.real, user=name)

    def kubeconfig(self, name: str, *, host: str, user: str | None = None) -> Path:
        """Write a kubeconfig for `host`; without a certificate, no user is identified."""
        path = self.directory / f"{name}.kubeconfig"
        certificate = {
            "client-certificate": str(self.directory / f"{user}.crt"),
            "client-key": str(self.directory / f"{user}.key"),
        }
        cluster = {"server": host, "certificate-authority": str(self.authority.certificate)}
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "me", "user": certificate if user else {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
        }))  # fmt: skip
        return path

    def define(self, api_version: str, kind: str) -> None:
        """Serve one more kind, as an operator does when it is installed; any fields are allowed."""
        group, _, version = api_version.rpartition("/")
        self._define([_open_definition(group, version, kind, f"{kind.lower()}s", namespaced=True)])

    def call(
        self, method: str, path: str, body: object = None, *, content: str = "application/json"
    ) -> dict:
        """Send one request through the proxy; fails the test where it is refused."""
        answer = self.pool.request(
            method, self.url + path,
            body=None if body is None else json.dumps(body), headers={"Content-Type": content},
        )  # fmt: skip
        assert answer.status < 300, answer.data
        return answer.json()

    def _ping_etcd(self) -> None:
        self.etcd.check_listening(self.ports.numbers[1:])

    def _ping(self) -> None:
        # Not /readyz: it waits for core kinds, which this server will never have.
        answer = self.pool.request("GET", self.real + DEFINITIONS, timeout=5, retries=False)
        assert answer.status == 200, answer.data[:200]

    def _define(self, definitions: list[dict]) -> None:
        kinds = []
        for definition in definitions:
            self.call("POST", DEFINITIONS, definition)
            spec = definition["spec"]
            version = next(one["name"] for one in spec["versions"] if one["storage"])
            kinds.append((f"{spec['group']}/{version}", spec["names"]["plural"]))

        def served() -> bool:
            # Discovery is written a moment after the kind can be used.
            return all(self._discovered(*kind) and self._listed(*kind) for kind in kinds)

        eventually_sync(served, timeout_s=START_S, what="every kind to be served")

    def _discovered(self, api_version: str, plural: str) -> bool:
        answer = self.pool.request("GET", f"{self.real}/apis/{api_version}")
        return answer.status == 200 and plural in {
            one["name"] for one in answer.json()["resources"]
        }

    def _listed(self, api_version: str, plural: str) -> bool:
        path = f"{self.real}/apis/{api_version}/{plural}?limit=1"
        return self.pool.request("GET", path).status == 200

    def _serve(self) -> None:
        self._front = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._front.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._front.server_address[1]}"
        threading.Thread(target=self._front.serve_forever, daemon=True).start()


def program() -> Path | None:
    """Return the API server's program: of `make test-k8s`, or on the PATH."""
    found = shutil.which("apiextensions-apiserver")
    return PROGRAM if PROGRAM.exists() else Path(found) if found else None


def _to_real(path: str) -> str:
    path = ONE_SPACE.sub(rf"\1/{SPACES}\2", path)
    for version, other in GROUPS.items():
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if path == root or path.startswith((root + "/", root + "?")):
            return f"/apis/{other}{path[len(root) :]}"
    return path


def _to_real_body(data: bytes) -> bytes:
    if not data:
        return data
    body = json.loads(data)
    if isinstance(body, dict) and body.get("apiVersion") in GROUPS:
        body["apiVersion"] = GROUPS[body["apiVersion"]]
    return json.dumps(body).encode()


def _from_real(data: bytes) -> bytes:
    data = data.replace(b'"name":"spaces"', b'"name":"namespaces"')
    for version, other in GROUPS.items():
        data = data.replace(other.encode(), version.encode())
    return data


def _review(review: dict) -> bytes:
    """Let everybody look; the server asks about those only who may not do everything."""
    verb = (review["spec"].get("resourceAttributes") or {}).get("verb", "get")
    return json.dumps(review | {"status": {"allowed": verb in {"get", "list"}}}).encode()


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if (match := EXEC.match(self.path)) is not None:
                self.execute((match[1], match[2]))
                return
            if self.path.startswith(REVIEWS):
                self.answer(201, _review(json.loads(data)))
                return
            if (refusal := self.refusal()) is not None:
                self.answer(404, json.dumps(refusal).encode())
                return
            headers = {"Accept": "application/json"}
            if content := self.headers.get("Content-Type"):
                headers["Content-Type"] = content
            answer = server.pool.request(
                self.command, server.real + _to_real(self.path),
                body=_to_real_body(data), headers=headers,
            )  # fmt: skip
            self.answer(answer.status, _from_real(answer.data))

        def execute(self, pod: tuple[str, str]) -> None:
            """Answer as the kubelet: a WebSocket with the output and the result, then its end."""
            if status := server.refusals.get(pod):
                self.answer(status, json.dumps({"message": "exec is refused"}).encode())
                return
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest())
            self.send_header("Sec-WebSocket-Accept", accept.decode())
            self.end_headers()
            for channel, text in ((1, server.outputs.get(pod, "")), (3, '{"status":"Success"}')):
                payload = bytes([channel]) + text.encode()
                self.wfile.write(b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload)
            self.wfile.write(b"\x88\x02\x03\xe8")
            self.close_connection = True

        def refusal(self) -> dict | None:
            """Refuse, as the real one, what is written into a namespace that is not there."""
            parts = self.path.split("?")[0].split("/")
            if self.command not in {"POST", "PATCH"} or "namespaces" not in parts[:-2]:
                return None
            name = parts[parts.index("namespaces") + 1]
            at = f"{server.real}{_to_real(f'/api/v1/namespaces/{name}')}"
            if name == "kube-system" or server.pool.request("GET", at).status == 200:
                return None
            details = {"kind": "namespaces", "name": name}
            message = f'namespaces "{name}" not found'
            return {"kind": "Status", "status": "Failure", "message": message, "details": details}

        def answer(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def missing() -> str:
    """Say what is not there to run the server; empty for nothing."""
    if not shutil.which("etcd"):
        return "etcd is not installed (Debian: apt-get install etcd-server)"
    if program() is None:
        return "no apiextensions-apiserver (make test-k8s builds it; needs Go)"
    return "" if CRDS.is_dir() else f"no {CRDS.name} next to the checkout (../shared/crds)"


def start(directory: Path) -> ApiServer:
    """Start a server; skip the test, saying why, where that cannot be done."""
    if why := missing():
        pytest.skip(why)
    server = ApiServer(directory)
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server
