"""The input of the datasets that collect every member of the S&P 500."""

MEMBERS = {"members": "SELECT symbol FROM sp500_companies WHERE is_member ORDER BY symbol"}
