"""Model folders: weights with their spec, published checkpoints, and the check against reference arrays."""
