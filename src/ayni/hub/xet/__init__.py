"""The Xet protocol: files as chunks that are cut where their content says, each stored once.

`hashes.py`, `xorbs.py` and `shards.py` are the formats, without disk or database;
`reconstruction.py` says which bytes make a file again. `xorb_files.py` keeps the bytes, `tables.py` and
`index.py` know what is in them, `receive.py` and `register.py` take uploads, `contents.py` reads files,
`tokens.py` lets in.

Clients cut files into chunks themselves; what comes another way (LFS, pages, publications) stays whole.

Not covered: the HTTP routes, and who may read or write a repository.
"""
