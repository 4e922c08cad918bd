"""Backends: golden model, interpreter, RTL simulation."""
