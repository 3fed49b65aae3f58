"""One module per venue or feed: its facts, its protocol, its oddities. Pure."""
