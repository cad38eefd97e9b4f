"""Whether a policy is better, and why: measurements that no refresh asks for."""
