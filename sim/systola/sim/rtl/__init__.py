"""RTL simulation: the accelerator's Verilog compiled by Verilator with its DRAM inside, driven by cocotb.

``session`` is the entry point. This module imports nothing, because the simulator process imports it too.
"""
