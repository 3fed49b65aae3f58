"""The funds whose profiles are collected: the largest and most traded US ETFs."""

from collections.abc import Iterator
from dataclasses import dataclass

from ray_pipeline.jobs.spec import JobSpec, Run
from ray_pipeline.jobs.table import Table
from ray_pipeline.schedules.cron import Cron

FUNDS = {
    "SPY": "SPDR S&P 500 ETF Trust",
    "IVV": "iShares Core S&P 500 ETF",
    "VOO": "Vanguard S&P 500 ETF",
    "VTI": "Vanguard Total Stock Market ETF",
    "QQQ": "Invesco QQQ Trust",
    "VEA": "Vanguard FTSE Developed Markets ETF",
    "VUG": "Vanguard Growth ETF",
    "VTV": "Vanguard Value ETF",
    "IEFA": "iShares Core MSCI EAFE ETF",
    "AGG": "iShares Core US Aggregate Bond ETF",
    "BND": "Vanguard Total Bond Market ETF",
    "IWF": "iShares Russell 1000 Growth ETF",
    "IJH": "iShares Core S&P Mid-Cap ETF",
    "IJR": "iShares Core S&P Small-Cap ETF",
    "VIG": "Vanguard Dividend Appreciation ETF",
    "IEMG": "iShares Core MSCI Emerging Markets ETF",
    "VWO": "Vanguard FTSE Emerging Markets ETF",
    "VGT": "Vanguard Information Technology ETF",
    "VXUS": "Vanguard Total International Stock ETF",
    "VO": "Vanguard Mid-Cap ETF",
    "IWM": "iShares Russell 2000 ETF",
    "GLD": "SPDR Gold Shares",
    "RSP": "Invesco S&P 500 Equal Weight ETF",
    "SCHD": "Schwab US Dividend Equity ETF",
    "ITOT": "iShares Core S&P Total US Stock Market ETF",
    "IWD": "iShares Russell 1000 Value ETF",
    "VYM": "Vanguard High Dividend Yield ETF",
    "VNQ": "Vanguard Real Estate ETF",
    "TLT": "iShares 20+ Year Treasury Bond ETF",
    "LQD": "iShares iBoxx Investment Grade Corporate Bond ETF",
    "HYG": "iShares iBoxx High Yield Corporate Bond ETF",
    "XLK": "Technology Select Sector SPDR Fund",
    "XLF": "Financial Select Sector SPDR Fund",
    "XLV": "Health Care Select Sector SPDR Fund",
    "XLE": "Energy Select Sector SPDR Fund",
    "XLY": "Consumer Discretionary Select Sector SPDR Fund",
    "XLI": "Industrial Select Sector SPDR Fund",
    "XLP": "Consumer Staples Select Sector SPDR Fund",
    "XLU": "Utilities Select Sector SPDR Fund",
    "XLB": "Materials Select Sector SPDR Fund",
    "XLRE": "Real Estate Select Sector SPDR Fund",
    "XLC": "Communication Services Select Sector SPDR Fund",
    "DIA": "SPDR Dow Jones Industrial Average ETF Trust",
    "MDY": "SPDR S&P MidCap 400 ETF Trust",
    "EFA": "iShares MSCI EAFE ETF",
    "EEM": "iShares MSCI Emerging Markets ETF",
    "SMH": "VanEck Semiconductor ETF",
    "SOXX": "iShares Semiconductor ETF",
    "ARKK": "ARK Innovation ETF",
    "SLV": "iShares Silver Trust",
    "IBIT": "iShares Bitcoin Trust",
    "JEPI": "JPMorgan Equity Premium Income ETF",
    "SHY": "iShares 1-3 Year Treasury Bond ETF",
    "IEF": "iShares 7-10 Year Treasury Bond ETF",
    "TIP": "iShares TIPS Bond ETF",
    "USMV": "iShares MSCI USA Min Vol Factor ETF",
    "QUAL": "iShares MSCI USA Quality Factor ETF",
    "MTUM": "iShares MSCI USA Momentum Factor ETF",
    "IYR": "iShares US Real Estate ETF",
    "KRE": "SPDR S&P Regional Banking ETF",
}


@dataclass(frozen=True, slots=True)
class Etf:
    """A fund."""

    symbol: str
    name: str
    popularity_rank: int


def derive(_run: Run) -> Iterator[Etf]:
    """Return the list; rows that somebody added stay."""
    for rank, (symbol, name) in enumerate(FUNDS.items(), 1):
        yield Etf(symbol, name, rank)


SPEC = JobSpec(
    name="etf_basic_info",
    title="The ETFs whose profiles are collected",
    derive=derive,
    tables=(Table("etf_basic_info", Etf, key=("symbol",), replace=False),),
    schedule=Cron("0 0 1 * *"),
)
