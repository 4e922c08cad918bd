"""The accelerator: description, instruction set, engines, Verilog."""
