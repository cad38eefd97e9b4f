"""Refreshes one after the other, each from the policy that the one before promoted."""
