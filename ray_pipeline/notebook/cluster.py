"""The Ray cluster of a pipeline, as a notebook joins it."""

from collections.abc import Callable, Mapping

from ray_pipeline.errors import PipelineError
from ray_pipeline.notebook.actors import Actors, Handle
from ray_pipeline.notebook.background import Background


class RayCluster:
    """A cluster at an address; see `actors.Cluster`."""

    def __init__(
        self,
        background: Background,
        *,
        address: str | None,
        namespace: str,
        environment: Mapping[str, str],
    ) -> None:
        """Take its address, None where nobody said it, and Ray's variables for this cluster."""
        self._background = background
        self._address = address
        self._namespace = namespace
        self._environment = environment
        self._leave: Callable[[], None] | None = None

    def actors(self, kind: str) -> Actors:
        """Return the living actors of a kind; the first time, the cluster is joined."""
        # Imported late: who only reads need not wait for Ray.
        from ray_pipeline.actors import live  # noqa: PLC0415

        if self._address is None:
            raise PipelineError(
                "it is not known where the Ray cluster is",
                fix='connect(..., ray_address="host:6379"), or set RAY_ADDRESS; on this machine '
                "`ray-pipeline up` and `demo` say it in PIPELINE_HOME",
            )
        leave = live.join(self._address, namespace=self._namespace, environment=self._environment)
        self._leave = leave or self._leave
        return Actors(self._background, self, kind=kind)

    def names(self, kind: str) -> list[str]:
        """Return the names of the actors of a kind."""
        from ray_pipeline.actors import live  # noqa: PLC0415

        return live.names(kind, namespace=self._namespace)

    def handle(self, name: str) -> Handle | None:
        """Return the actor of that name, None where there is none."""
        from ray_pipeline.actors import live  # noqa: PLC0415

        return live.handle(name, namespace=self._namespace)

    def leave(self) -> None:
        """Leave the cluster, if it was joined here."""
        if self._leave is not None:
            self._leave()
            self._leave = None
