"""The ports of one server, which stay the same from one start to the next."""

import contextlib
from collections.abc import Iterator

from ray_pipeline.local.ports import Reservation, reserve


class ServerPorts:
    """
    The set of ports of one server, held while it starts and after it was killed.

    While the server runs, nothing is held: its own listening sockets keep the ports.

    Attributes:
        numbers: The ports, the one for clients first; 0 for a port that is not chosen yet.
    """

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self._reservation: Reservation | None = None

    def hold(self) -> None:
        """
        Hold the ports; choose those that are 0, and replace those that another program uses.

        If the ports are held already, do nothing.

        Raises:
            ServerError: If there are not enough free ports.
        """
        if self._reservation is None:
            self._reservation = reserve(len(self.numbers), preferred=self.numbers)
            self.numbers = self._reservation.ports

    def release(self) -> None:
        """Release the ports; `hold` chooses the same ones again if they are free."""
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """
        Hold the ports before the block; release them only if the block raises.

        After a success they stay held, because the server binds them later.

        Raises:
            ServerError: If there are not enough free ports.
        """
        self.hold()
        try:
            yield
        except BaseException:
            self.release()
            raise
