"""What synthesis and place-and-route say of an accelerator: the data, and how it is shown."""
