"""The supervisor as an application on Ray Serve."""
