"""The ports of one server, over its starts."""

import contextlib
from collections.abc import Iterator

from ray_pipeline.local.ports import Reservation, reserve


class ServerPorts:
    """
    One set of ports. A server holds it while it starts, and again after it was killed.

    Attributes:
        numbers: The ports, the one that clients use first; 0 where none is chosen yet.
    """

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self._reservation: Reservation | None = None

    def hold(self) -> None:
        """
        Choose the ports and hold them; a port that is chosen already is replaced if it is taken.

        It does nothing while the ports are held.

        Raises:
            ServerError: If there are not enough free ports.
        """
        if self._reservation is None:
            self._reservation = reserve(len(self.numbers), preferred=self.numbers)
            self.numbers = self._reservation.ports

    def release(self) -> None:
        """Let the ports go; they are chosen again at the next start if they are free."""
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """
        Hold the ports before the block; release them only if the block raises.

        Raises:
            ServerError: If there are not enough free ports.
        """
        self.hold()
        try:
            yield
        except BaseException:
            self.release()
            raise
