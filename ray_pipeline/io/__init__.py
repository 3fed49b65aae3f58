"""The only I/O: each module implements a port, or talks to one kind of server."""
