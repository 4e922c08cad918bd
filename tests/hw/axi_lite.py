"""An AXI4-Lite manager for tests, which pauses at random."""

from __future__ import annotations

import random
from typing import Any


class AxiLiteManager:
    """Reads and writes through ``bus``, an object with the members of ``AxiLiteSignature``."""

    def __init__(self, bus: Any, rng: random.Random) -> None:
        self.bus = bus
        self.rng = rng

    async def pause(self, ctx: Any) -> None:
        """One to three cycles."""
        await ctx.tick().repeat(1 + self.rng.randrange(3))

    async def _until(self, ctx: Any, condition: Any) -> None:
        for _ in range(100):
            if ctx.get(condition):
                return
            await ctx.tick()
        raise AssertionError("AXI4-Lite does not answer")

    async def write(self, ctx: Any, address: int, value: int, strobes: int = 15) -> None:
        """Address and data in either order."""
        bus = self.bus
        first, second = (bus.aw_valid, bus.w_valid) if self.rng.random() < 0.5 else (bus.w_valid, bus.aw_valid)
        ctx.set(bus.aw_addr, address)
        ctx.set(bus.w_data, value)
        ctx.set(bus.w_strb, strobes)
        ctx.set(first, 1)
        if self.rng.random() < 0.5:
            await self.pause(ctx)
        ctx.set(second, 1)
        await self._until(ctx, bus.aw_ready & bus.w_ready)
        ctx.set(bus.b_ready, 0)
        await ctx.tick()
        ctx.set(first, 0)
        ctx.set(second, 0)
        if self.rng.random() < 0.5:
            await self.pause(ctx)
        await self._until(ctx, bus.b_valid)
        assert ctx.get(bus.b_resp) == 0
        ctx.set(bus.b_ready, 1)
        await ctx.tick()

    async def read(self, ctx: Any, address: int) -> int:
        """The word at ``address``."""
        bus = self.bus
        ctx.set(bus.ar_addr, address)
        ctx.set(bus.ar_valid, 1)
        await self._until(ctx, bus.ar_ready)
        await ctx.tick()
        ctx.set(bus.ar_valid, 0)
        await self._until(ctx, bus.r_valid)
        if self.rng.random() < 0.5:
            await self.pause(ctx)
        value = int(ctx.get(bus.r_data))
        assert ctx.get(bus.r_resp) == 0
        ctx.set(bus.r_ready, 1)
        await ctx.tick()
        ctx.set(bus.r_ready, 0)
        return value
