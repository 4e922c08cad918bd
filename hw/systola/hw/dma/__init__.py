"""The AXI4 manager's side of the accelerator: load and store engines, instruction fetch, and the guard before the bus."""

from systola.hw.dma.axi import AxiGuard
from systola.hw.dma.fetch import Fetch
from systola.hw.dma.load import LoadEngine
from systola.hw.dma.store import StoreEngine

__all__ = ["AxiGuard", "Fetch", "LoadEngine", "StoreEngine"]
