"""Fixtures of the hub's server; its tests are left out where the extra `hub` is not installed."""

from importlib.util import find_spec

if find_spec("fastapi") is None or find_spec("httpx") is None:
    collect_ignore_glob = ["*"]
else:
    from tests.server.hub_app import client, running_hub, served_hub

    __all__ = ["client", "running_hub", "served_hub"]
