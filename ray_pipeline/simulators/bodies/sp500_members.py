"""The members of the S&P 500, for generated answers."""

from pytickersymbols import PyTickerSymbols


def companies() -> list[tuple[str, str]]:
    """Return symbol and name of each member, as the installed package lists them."""
    stocks = PyTickerSymbols().get_stocks_by_index("S&P 500")
    names = {str(stock["symbol"]): str(stock["name"]) for stock in stocks if stock.get("symbol")}
    return sorted(names.items())
