"""Which policy is promoted, who said so, and what was before it."""
