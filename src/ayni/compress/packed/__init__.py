"""Compressed weights as one file without pickle, and layers that compute with them."""
