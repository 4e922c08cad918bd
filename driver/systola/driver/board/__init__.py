"""An accelerator on a board, under Linux: registers mapped into the process, a buffer that both sides see, an interrupt."""
