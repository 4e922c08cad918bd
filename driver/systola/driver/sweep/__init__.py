"""Sweeps: many accelerators, computed by many processes, kept in one database."""
