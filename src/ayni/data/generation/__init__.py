"""Generators: new examples of the classes of a data set, to be shared where the data themselves are not.

Per-class Gaussian and Gaussian copula are the cheap ones that are always run beside the neural ones: a
conditional VAE, a WGAN-GP and flow matching. One value for all of them: `generator.Generator`.

A generator that learned from the few examples of one's own does not help to train on them; one that
learned from somebody else's does (docs/generation.md has the numbers).

Not covered: text, several inputs an example, and differential privacy of generators.
"""
