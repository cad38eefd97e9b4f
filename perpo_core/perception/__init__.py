"""What an answer is worth: read as its family writes it, and rewarded as its task says."""
