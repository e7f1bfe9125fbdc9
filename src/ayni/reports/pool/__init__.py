"""The report of a pool simulation: one HTML file like that of a run, from the simulation object alone.

| module | subject |
|---|---|
| pool_report | the file |
| pool_words | its title and what it says first |
| pool_rows | rows of its tables |
| pool_figures | which plots it has |
| bars | horizontal bars as SVG |
"""
