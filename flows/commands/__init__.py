"""The command line: what is asked, and tables of what is there."""
