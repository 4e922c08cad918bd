"""Host runtime and command line."""
