"""The truth of a row, checked: one sentence for everything that is none."""
