"""What a model looks at: attributions of single decisions, with a check that they are faithful.

`explaining.py` tells the story: choose test examples, compare the variant with the full model,
attribute, check, draw.

Nothing here knows of training or compression; the models arrive as arguments.
"""
