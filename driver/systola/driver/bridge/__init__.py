"""A simulated accelerator that another process drives through shared files: registers, memory, interrupt."""
