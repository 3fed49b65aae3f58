"""The cluster's API server, through the `kubernetes` client. All I/O of `deploy` is here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

import urllib3
import websocket
from kubernetes import client, config
from kubernetes.config import ConfigException
from kubernetes.stream.ws_client import STDOUT_CHANNEL, WSClient

from ray_pipeline.kubernetes.deploy.failures import (
    NOT_FOUND,
    ClusterUnavailable,
    NoKubeconfig,
    UnknownKind,
    failure,
)
from ray_pipeline.kubernetes.deploy.objects import FIELD_MANAGER, Json, Ref, items, ref_of, text

CONNECT_S = 5.0
READ_S = 30.0
APPLY = "application/apply-patch+yaml"  # JSON is YAML
PAGE = 500
NOTHING = Ref("", "", "", "")


@dataclass(frozen=True, slots=True)
class Resource:
    """The form of a kind in URL paths."""

    plural: str
    namespaced: bool


class Kube:
    """
    One cluster, as one user.

    Paths come from the server's discovery, so every kind that it serves works. Every method raises
    ClusterUnavailable, NotLoggedIn and Forbidden.
    """

    def __init__(self, configuration: client.Configuration) -> None:
        self.host = str(configuration.host)
        self._api = client.ApiClient(configuration)
        self._kinds: dict[str, dict[str, Resource]] = {}
        self._date = ""

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def version(self) -> str:
        """Return the server's version; proves that the cluster answers and accepts the user."""
        return text(self._call("GET", "/version"), "gitVersion")

    def now(self) -> datetime:
        """Return the server's time, which all times in objects refer to, to the second."""
        self.version()
        return parsedate_to_datetime(self._date) if self._date else datetime.now(UTC)

    def serves(self, api_version: str, kind: str) -> bool:
        """Say whether the cluster serves the kind now; a kind that it lacks is looked up again."""
        if kind not in self._kinds.get(api_version, {}):
            self._kinds[api_version] = self._discover(api_version)
        return kind in self._kinds[api_version]

    def get(self, ref: Ref) -> Json | None:
        """
        Return the object; None if it does not exist.

        Raises:
            UnknownKind: If the cluster does not serve its kind.
        """
        return self._call("GET", self._path(ref), ref=ref, missing_ok=True)

    def find(self, ref: Ref) -> Json | None:
        """Return the object; None if it does not exist, or if its kind is not served."""
        try:
            return self.get(ref)
        except UnknownKind:
            return None

    def list(self, api_version: str, kind: str, *, namespace: str, labels: str = "") -> list[Json]:
        """
        Return the objects of a kind that match the label selector; "" stands for all namespaces.

        Raises:
            UnknownKind: If the cluster does not serve the kind.
        """
        resource = self.resource(api_version, kind)
        part = f"/namespaces/{quote(namespace)}" if namespace else ""
        path = f"{_root(api_version)}{part}/{resource.plural}"
        objects: list[Json] = []
        token = ""
        while True:
            query = {"limit": str(PAGE), "labelSelector": labels, "continue": token}
            ref = Ref(api_version, kind, namespace, "")
            page = self._call("GET", path, query=query, ref=ref) or {}
            # The server leaves version and kind out of the items of a list.
            objects += [
                {"apiVersion": api_version, "kind": kind} | item for item in items(page, "items")
            ]
            token = text(page, "metadata", "continue")
            if not token:
                return objects

    def apply(self, obj: Json, *, dry_run: bool = False, force: bool = False) -> Json:
        """
        Apply the object server-side; return the result, with `dry_run` without storing it.

        Raises:
            FieldConflict: If another manager owns a field and `force` is not set.
            MissingNamespace: If the object's namespace does not exist.
            ObjectRefused: If the object is invalid.
            UnknownKind: If the cluster does not serve the kind.
        """
        ref = ref_of(obj)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        query |= {"force": "true"} if force else {}
        query |= {"dryRun": "All"} if dry_run else {}
        return self._call("PATCH", self._path(ref), query=query, body=obj, ref=ref) or {}

    def delete(self, ref: Ref) -> None:
        """Delete the object, and in the background its dependents; it need not exist."""
        body: Json = {"propagationPolicy": "Background"}
        try:
            self._call("DELETE", self._path(ref), body=body, ref=ref, missing_ok=True)
        except UnknownKind:
            return  # the server removes the objects of a kind with the kind

    def execute(self, pod: Ref, container: str, *, command: Sequence[str]) -> str:
        """
        Run a command in a container; return what it wrote to its standard output within 30 s.

        This goes through the kubelet, like `kubectl exec`, so no NetworkPolicy blocks it.

        Raises:
            ObjectRefused: If the container does not run.
        """
        words = [("command", word) for word in command]
        query = urlencode([*words, ("container", container), ("stdout", "1"), ("stderr", "1")])
        url = urlsplit(f"{self.host}{self._path(pod)}/exec?{query}")
        scheme = "wss" if url.scheme == "https" else "ws"
        try:
            stream = WSClient(
                self._api.configuration, url._replace(scheme=scheme).geturl(),
                {name.lower(): value for name, value in self._headers("").items()},
                capture_all=True,
            )  # fmt: skip
            stream.run_forever(timeout=READ_S)
            output = str(stream.read_channel(STDOUT_CHANNEL))
            stream.close()
        except websocket.WebSocketBadStatusException as error:
            body = _json(error.resp_body or b"")
            raise failure(error.status_code, body, verb="create", ref=pod) from error
        except (websocket.WebSocketException, OSError) as error:
            raise _unreachable(self.host, error) from error
        return output

    def resource(self, api_version: str, kind: str) -> Resource:
        """
        Return the form of the kind in URL paths.

        Raises:
            UnknownKind: If the cluster does not serve it.
        """
        if not self.serves(api_version, kind):
            raise UnknownKind(kind, api_version)
        return self._kinds[api_version][kind]

    def _discover(self, api_version: str) -> dict[str, Resource]:
        group = self._call("GET", _root(api_version), missing_ok=True)
        return {
            text(item, "kind"): Resource(text(item, "name"), bool(item.get("namespaced")))
            for item in items(group, "resources")
            if "/" not in text(item, "name")  # subresources, such as pods/log
        }

    def _path(self, ref: Ref) -> str:
        resource = self.resource(ref.api_version, ref.kind)
        namespace = f"/namespaces/{quote(ref.namespace)}" if resource.namespaced else ""
        return f"{_root(ref.api_version)}{namespace}/{resource.plural}/{quote(ref.name)}"

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Json | None = None,
        ref: Ref = NOTHING,
        missing_ok: bool = False,
    ) -> Json | None:
        status, answer = self._send(method, path, query or {}, body)
        if 200 <= status < 300:
            return answer
        if status == NOT_FOUND and missing_ok:
            return None
        if status == NOT_FOUND and method == "PATCH" and not text(answer, "details", "kind"):
            raise UnknownKind(ref.kind, ref.api_version)
        raise failure(status, answer, verb=method.lower(), ref=ref)

    def _send(
        self, method: str, path: str, query: dict[str, str], body: Json | None
    ) -> tuple[int, Json]:
        url = self.host + path
        if parameters := {name: value for name, value in query.items() if value}:
            url += "?" + urlencode(parameters)
        try:
            answer = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers(APPLY if method == "PATCH" else "application/json"),
                timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
                # An apply and a delete are idempotent, so they may be repeated.
                retries=urllib3.Retry(2, redirect=0, backoff_factor=0.2, allowed_methods=None),
            )
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(self.host, error) from error
        self._date = answer.headers.get("Date", "")
        return answer.status, _json(answer.data)

    @property
    def _pool(self) -> urllib3.PoolManager:
        # The client's own `call_api` changes its signature in almost every version. Its pool, with
        # the certificates and the proxy of the kubeconfig, has never changed.
        return cast(urllib3.PoolManager, self._api.rest_client.pool_manager)

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        auth = self._api.configuration.auth_settings()  # renews an expired token
        for setting in cast(dict[str, Any], auth).values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers


def connect(*, kubeconfig: Path | None = None, context: str | None = None) -> Kube:
    """
    Return the cluster of the kubeconfig's context; inside a pod, the pod's own cluster.

    Raises:
        NoKubeconfig: If neither exists, or the kubeconfig does not have the context.
    """
    configuration = client.Configuration()
    try:
        config.load_kube_config(
            config_file=str(kubeconfig) if kubeconfig else None,
            context=context,
            client_configuration=configuration,
        )
    except (ConfigException, OSError) as error:
        if kubeconfig is not None or context is not None or not _in_a_pod(configuration):
            raise NoKubeconfig(
                f"no cluster to talk to: {error}",
                fix="set KUBECONFIG or give --kubeconfig and --context "
                "(on a K3s server: /etc/rancher/k3s/k3s.yaml)",
            ) from error
    return Kube(configuration)


def _in_a_pod(configuration: client.Configuration) -> bool:
    try:
        config.load_incluster_config(client_configuration=configuration)
    except ConfigException:
        return False
    return True


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _json(data: bytes) -> Json:
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {"message": data[:200].decode("utf-8", "replace").strip()}
    return value if isinstance(value, dict) else {}


def _unreachable(host: str, error: Exception) -> ClusterUnavailable:
    reason = getattr(error, "reason", None) or error
    text = str(reason).rpartition("object at")[2].partition(": ")[2] or str(reason)
    if "certificate" in text.lower():
        fix = "the kubeconfig's certificates do not match this server: fetch the kubeconfig again"
    else:
        fix = "is the server up, and its port open from here? `kubectl cluster-info` tests the same"
    return ClusterUnavailable(f"the API server {host} cannot be reached: {text}", fix=fix)
