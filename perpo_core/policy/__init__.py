"""The model in a folder: found, asked, kept unchanged."""
