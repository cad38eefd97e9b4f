"""Content-keyed artifacts: reuse, verification, resume, locks."""
