"""The accounts of X from which posts are collected, and the days on which each one is due."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

MON, TUE, WED, THU, FRI, SAT, SUN = range(7)


@dataclass(frozen=True, slots=True)
class Account:
    """
    An account.

    Attributes:
        handle: Its name; capitals do not matter.
        category: Stored with each post.
        priority: 1 is requested first.
        weekdays: The days of the week on which the account is due; None for any day.
        every: Without weekdays, the account is due when (day of the year + offset) is a multiple
            of this.
        offset: Spreads accounts with the same `every` over the days.
    """

    handle: str
    category: str
    priority: int
    weekdays: frozenset[int] | None = None
    every: int = 1
    offset: int = 0

    def due(self, day: date) -> bool:
        """Return whether the account is due on a day."""
        if self.weekdays is not None:
            return day.weekday() in self.weekdays
        return (day.timetuple().tm_yday + self.offset) % self.every == 0


def _on(*weekdays: int) -> frozenset[int]:
    return frozenset(weekdays)


CORE = "core_investors"
PRIMARY = (
    Account("elonmusk", CORE, 1),
    Account("RayDalio", CORE, 1, every=2, offset=1),
    Account("jimcramer", CORE, 2, every=3),
    Account("tim_cook", CORE, 2, every=3, offset=1),
    Account("oracle", CORE, 3, _on(TUE, FRI)),
    Account("sundarpichai", CORE, 3, _on(MON, THU)),
    Account("BitCoin", CORE, 4, _on(SUN)),
)
SECONDARY = (
    Account("saylor", "crypto", 1),
    Account("brian_armstrong", "crypto", 2, every=3, offset=2),
    Account("CoinbaseAssets", "crypto", 3, _on(SUN)),
    Account("jeffbezos", "tech_ceo", 1, every=2),
    Account("Meta", "tech_ceo", 2, _on(MON, THU)),
    Account("BitCoin", "tech_ceo", 3, _on(SAT)),
    Account("Palantir", "institutional", 2, _on(WED, SAT)),
    Account("IonQ", "institutional", 2, _on(TUE, FRI)),
    Account("Ethereum", "institutional", 3, _on(SUN)),
    Account("CNBC", "media", 2, _on(MON, THU)),
    Account("Tether", "media", 3, _on(TUE)),
    Account("WSJ", "media", 3, _on(WED)),
    Account("Tesla", "corporate", 4, _on(FRI)),
    Account("nvidia", "corporate", 4, _on(THU)),
)
# Only the ids of these accounts are collected, not their posts.
OTHERS = {
    "Meta": "corporate",
    "Oracle": "corporate",
    "Palantir": "corporate",
    "IonQ": "corporate",
    "BitCoin": "crypto",
    "Ethereum": "crypto",
    "Solana": "crypto",
    "Dogecoin": "crypto",
    "Tether": "crypto",
    "Ripple": "crypto",
}


def due(accounts: Iterable[Account], day: date) -> list[Account]:
    """Return the accounts of a day, the most important first."""
    return sorted(
        (account for account in accounts if account.due(day)),
        key=lambda account: account.priority,
    )


def handles() -> dict[str, str]:
    """Return every handle, in one spelling, with its category."""
    accounts: dict[str, tuple[str, str]] = {}
    for handle, category in OTHERS.items():
        accounts.setdefault(handle.lower(), (handle, category))
    for account in (*PRIMARY, *SECONDARY):
        accounts.setdefault(account.handle.lower(), (account.handle, account.category))
    return dict(accounts.values())
