"""The hub's pages for people: rendered here, readable without a script, and nothing comes from elsewhere.

`table.py` lists the routes, `pages.py` answers a request, one module for each kind of page gathers what its
template shows. Pages ask the same permissions as the API. Who is logged in has a cookie that holds the token,
sealed; every form carries a proof that it came from a page of this hub.

Not covered: uploads and commits, which clients make.
"""
