"""Synthesis for FPGA: yosys, nextpnr and ecppack from PyPI; resources, clock, critical path, bitstream."""
