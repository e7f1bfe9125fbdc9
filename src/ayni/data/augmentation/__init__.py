"""Views of examples that keep their meaning: images, tokens, texts and tables, batch by batch.

What is done is a `Policy` (policy.py), a value without torch; `augment_images` and its like do it.

Not covered: boxes, masks and key points that would have to move with an image; sound and video.
"""
