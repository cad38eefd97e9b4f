"""Children that end whole, whatever ends their parent, and what the system refuses."""
