"""The method, a folder a stage; they ask each other at the door (CONTRIBUTING.md)."""
