"""From the values of a run to what people and scripts read: one JSON object and one HTML file.

`run_view` makes the documented object of `ayni runs show RUN --json`; `html_report` turns that object
into a page that works offline, without scripts, in light and dark; `plots` and `scales` draw its
figures as SVG; `formats` writes numbers for people.

A value that is not known is null in the object and "unknown" on the page, never 0.
"""
