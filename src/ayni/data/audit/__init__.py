"""What a model or a generator gives away about the records that it was trained on.

An audit attacks what is to be published, with controls beside it that show whether the attack works at
all, and gives a verdict by the bounds of intervals. Training comes in as a function: nothing here knows
of `train`.
"""
