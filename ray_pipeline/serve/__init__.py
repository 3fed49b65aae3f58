"""What runs on Ray Serve to keep the actors alive."""
