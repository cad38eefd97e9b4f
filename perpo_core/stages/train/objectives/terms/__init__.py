"""Terms: losses that are added, with a weight, to whatever objective is chosen."""
