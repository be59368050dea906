"""What it means for a machine to be out of reach: which of them are, and what its pods tolerate meanwhile. Pure."""
