"""What is stored is listed by repository, of those that the caller may see, with its share of the whole."""

from tests.server.hub_app import Client, commit, inline, make_repository


def test_repositories_are_listed_with_their_bytes(client: Client) -> None:
    for name, num_bytes in (("x", 3000), ("y", 1000)):
        make_repository(client, name, private=name == "y")
        commit(client, f"ada/{name}", inline("a.txt", name.encode() * num_bytes))

    own = {each["id"]: each for each in client.get("/api/settings/repositories").json()}

    assert set(own) == {"ada/x", "ada/y"} and own["ada/y"]["visibility"] == "private"
    assert own["ada/x"]["storage"] - own["ada/y"]["storage"] == 2000
    # What both have is stored once, so the shares are more than the whole.
    assert 1 < own["ada/x"]["storagePercent"] + own["ada/y"]["storagePercent"] < 2


def test_pages_follow_each_other(client: Client) -> None:
    for name in "abc":
        make_repository(client, name)

    first = client.get("/api/settings/repositories?limit=2")
    link = first.headers["Link"].partition(">")[0].removeprefix(f"<{client.app.hub.base_url}")
    second = client.get(link)

    assert [each["id"] for each in first.json() + second.json()] == ["ada/a", "ada/b", "ada/c"]
    assert "Link" not in second.headers
