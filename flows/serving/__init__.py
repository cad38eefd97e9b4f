"""Prefect's server, worker, deployments and alerts, and what a command needs of them."""
