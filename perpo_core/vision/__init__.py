"""An image: decoded, upright, its pixels' hash, and nothing of it lost unseen."""
