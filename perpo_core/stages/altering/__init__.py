"""What a prompt may show instead of its image: a small part of it, or grey of its size."""
