"""Likes over HTTP."""

from tests.server.hub_app import Client, make_repository


def test_likes_are_given_listed_and_taken_back(client: Client) -> None:
    make_repository(client)
    for token in ("hf_ada", "hf_ben", "hf_ben"):
        assert client.post("/api/models/ada/x/like", token=token).status_code == 200

    first = client.get("/api/models/ada/x/likers?limit=1")

    assert client.get("/api/models/ada/x").json()["likes"] == 2
    assert first.json() == [{"user": "ada", "fullname": "ada", "avatarUrl": "", "type": "user"}]
    second = client.get(first.links["next"]["url"].removeprefix(client.app.hub.base_url))
    assert [each["user"] for each in second.json()] == ["ben"] and "next" not in second.links
    client.send("DELETE", "/api/models/ada/x/like", token="hf_ben")
    assert client.get("/api/models/ada/x").json()["likes"] == 1


def test_what_somebody_likes_is_shown_as_far_as_one_may_see_it(client: Client) -> None:
    make_repository(client, "open")
    make_repository(client, "secret", private=True)
    for name in ("open", "secret"):
        client.post(f"/api/models/ada/{name}/like")

    def liked(token: str) -> list[str]:
        return [each["repo"]["name"] for each in client.get("/api/users/ada/likes", token=token).json()]

    assert liked("hf_ada") == ["ada/open", "ada/secret"] and liked("hf_ben") == ["ada/open"]
    assert client.get("/api/users/ada/likes?cursor=Imgi", token="hf_ada").status_code == 400
    assert client.get("/api/models/ada/open/likers?cursor=MQ", token="hf_ada").status_code == 400
