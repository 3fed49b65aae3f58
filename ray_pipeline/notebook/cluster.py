"""The Ray cluster of a pipeline, as a notebook joins it."""

from ray_pipeline.errors import PipelineError
from ray_pipeline.notebook.actors import Actors, Handle
from ray_pipeline.notebook.background import Background


class RayCluster:
    """A cluster at an address; see `actors.Cluster`."""

    def __init__(self, background: Background, *, address: str | None, namespace: str) -> None:
        """Take its address; None: nobody said where it is."""
        self._background = background
        self._address = address
        self._namespace = namespace
        self._joined_here = False

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
        self._joined_here |= live.join(self._address, namespace=self._namespace)
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
        if self._joined_here:
            from ray_pipeline.actors import live  # noqa: PLC0415

            live.leave()
            self._joined_here = False
