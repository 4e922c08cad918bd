"""The cycle model: what happens in which cycle, without data, equal to the RTL."""
