"""The hub over HTTP: routes translate requests to calls of `hub`, and results and errors to replies.

`app.py` finds the route of a request, `errors.py` turns errors into replies, `routes/` has one file for each
capability. Nothing is decided here.

Not covered: TLS, which a proxy in front does.
"""
