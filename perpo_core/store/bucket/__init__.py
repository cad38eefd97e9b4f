"""A store in a bucket: a working copy, conditional commits, leases."""
