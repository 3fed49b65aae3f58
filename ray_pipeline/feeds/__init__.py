"""One module per feed, each with one FEED. Pure; new modules are discovered."""

# Modules that define no feed.
SHARED_MODULES = frozenset(
    {
        "codec", "feed", "feed_registry", "finnhub", "key_plan", "layout", "protocol", "records",
        "symbol_source", "upbit_protocol",
    }
)  # fmt: skip
