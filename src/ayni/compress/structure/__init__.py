"""What changes the shape of a model: channels and heads that go, low-rank layers, folded batch norms."""
