"""What is around the accelerator on an FPGA board: memory controller, serial link to a computer, clock, pins."""
