"""What belongs to a run: its record, its state, its links, its end."""
