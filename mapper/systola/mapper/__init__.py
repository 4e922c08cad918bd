"""From NNEF to an image for the accelerator."""
