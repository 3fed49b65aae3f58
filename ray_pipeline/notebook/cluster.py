"""The Ray cluster of a pipeline, joined on first use."""

from collections.abc import Callable, Mapping

from ray_pipeline.errors import PipelineError
from ray_pipeline.notebook.actors import Actors
from ray_pipeline.notebook.background import Background
from ray_pipeline.notebook.labels import labels


class RayCluster:
    """A cluster at an address."""

    def __init__(
        self,
        background: Background,
        *,
        address: str | None,
        namespace: str,
        environment: Mapping[str, str],
    ) -> None:
        """Take its address, None if it is unknown, and Ray's variables for this cluster."""
        self._background = background
        self._address = address
        self._namespace = namespace
        self._environment = environment
        self._disconnect: Callable[[], None] | None = None

    def actors(self, kind: str) -> Actors:
        """
        Return the living actors of a kind; the first call joins the cluster.

        Raises:
            PipelineError: If no cluster can be joined.
        """
        # Imported late: importing Ray takes seconds, which reading data does not need.
        from ray_pipeline.actors import live, ray_runtime  # noqa: PLC0415

        if self._address is None:
            raise PipelineError(
                "it is not known where the Ray cluster is",
                fix='connect(..., ray_address="host:6379"), or set RAY_ADDRESS; on this machine '
                "`ray-pipeline up` and `demo` write it into PIPELINE_HOME",
            )
        disconnect = live.join(
            self._address, namespace=self._namespace, environment=self._environment
        )
        self._disconnect = disconnect or self._disconnect
        names = labels(live.names(kind, namespace=self._namespace))
        # An actor may die between the list and this call: it is left out.
        handles = {
            label: handle
            for label, name in names.items()
            if (handle := ray_runtime.find(name, self._namespace)) is not None
        }
        return Actors(self._background, handles, kind=kind)

    def disconnect(self) -> None:
        """Leave the cluster, if this object joined it."""
        if self._disconnect is not None:
            self._disconnect()
            self._disconnect = None
