"""Searches: limits are stated, and the accelerators that meet them come out. Built on ``systola.driver.sweep``."""
