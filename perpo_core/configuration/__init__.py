"""The settings of a run, from a file to a checked model."""
