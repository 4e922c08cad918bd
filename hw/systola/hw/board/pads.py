"""Cells of ECP5 at the pins and before the clock (FPGA-TN-02200 and FPGA-TN-02032), instantiated."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Instance, IOPort, Module, Signal

from systola.hw.board.pll import Pll
from systola.hw.board.sdram import SdramPart

__all__ = ["add_clock", "add_sdram_pads"]


def add_clock(m: Module, oscillator: Signal, pll: Pll) -> Signal:
    """The domain ``sync`` and, a quarter of a period later, ``late``, which has no logic. → the PLL is locked."""
    m.domains.sync = sync = ClockDomain("sync")
    m.domains.late = late = ClockDomain("late", reset_less=True)
    locked = Signal()
    coarse, fine = pll.quarter
    m.submodules.pll = Instance(
        "EHXPLLL",
        p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB", p_FEEDBK_PATH="CLKOP",
        p_CLKI_DIV=pll.input, p_CLKFB_DIV=pll.feedback,
        p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=pll.output, p_CLKOP_CPHASE=pll.phase, p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=pll.output, p_CLKOS_CPHASE=coarse, p_CLKOS_FPHASE=fine,
        a_FREQUENCY_PIN_CLKI=f"{pll.oscillator_hz / 1e6:g}", a_FREQUENCY_PIN_CLKOP=f"{pll.clock_hz / 1e6:g}",
        a_FREQUENCY_PIN_CLKOS=f"{pll.clock_hz / 1e6:g}",
        a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
        i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0, i_PHASESTEP=0, i_PHASELOADREG=0, i_PLLWAKESYNC=0,
        i_ENCLKOP=0, i_ENCLKOS=0,
        i_CLKI=oscillator, i_CLKFB=sync.clk, o_CLKOP=sync.clk, o_CLKOS=late.clk, o_LOCK=locked,
    )  # fmt: skip
    return locked


def add_sdram_pads(m: Module, part: SdramPart, pins: Any, ports: dict[str, Any]) -> None:
    """Registers in the pins' own cells, so that every bit of ``pins`` (SdramSignature) has one delay; the clock through a cell of
    the same kind. ``ports``: the top module's, by name."""
    outputs = {
        "sdram_clock_enable": pins.clock_enable, "sdram_select_n": ~pins.clock_enable,
        "sdram_we_n": pins.command[0], "sdram_cas_n": pins.command[1], "sdram_ras_n": pins.command[2],
        "sdram_bank": pins.bank, "sdram_address": pins.address, "sdram_mask": pins.mask,
    }  # fmt: skip
    for name, value in outputs.items():
        for bit in range(len(value)):
            m.submodules[f"{name}_{bit}"] = _output(value[bit], ports[name][bit])
    m.submodules.sdram_clock = Instance(
        "ODDRX1F", i_SCLK=ClockSignal("late"), i_RST=0, i_D0=1, i_D1=0, o_Q=ports["sdram_clock"]
    )
    idle = Signal(init=1)
    m.d.sync += idle.eq(~pins.drive)
    data: IOPort = ports["sdram_data"]
    for bit in range(part.data_bits):
        out, come = Signal(name=f"out_{bit}"), Signal(name=f"come_{bit}")
        m.submodules[f"sdram_out_{bit}"] = _output(pins.write_data[bit], out)
        m.submodules[f"sdram_pad_{bit}"] = Instance("BB", i_I=out, i_T=idle, o_O=come, io_B=data[bit])
        m.submodules[f"sdram_in_{bit}"] = Instance(
            "IFS1P3DX", i_SCLK=ClockSignal(), i_SP=1, i_CD=0, i_D=come, o_Q=pins.read_data[bit]
        )


def _output(value: Any, pin: Any) -> Instance:
    return Instance("OFS1P3DX", i_SCLK=ClockSignal(), i_SP=1, i_CD=0, i_D=value, o_Q=pin)
