"""Training a little more: distillation and recovery."""
