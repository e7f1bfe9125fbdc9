"""What is asked of data before a result is believed: provenance, clean splits, a simple baseline.

Siblings are strangers: nothing here knows of training, models' files or reports. Torch and
scikit-learn are imported where they are needed.

Not covered: text generation, and data that change while they are used.
"""
