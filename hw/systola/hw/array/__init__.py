"""The array engine: weight loader, pixel stream, systolic array, accumulators."""
