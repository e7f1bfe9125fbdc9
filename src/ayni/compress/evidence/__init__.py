"""What a variant is worth: quality, what changed, bytes, time, memory, energy, break-even."""
