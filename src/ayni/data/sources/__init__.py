"""Data sets behind one small port: files wherever fsspec reaches, read as inputs and classes.

Where files are is `FileTree` (file_trees.py); what they hold is `DataSource` (collection.py): arrays, folders
of images, CSV and Parquet, lines of text, data set repositories in the manner of Hugging Face.

Not covered: data larger than memory, streams, sound, video, and several inputs an example.
"""
