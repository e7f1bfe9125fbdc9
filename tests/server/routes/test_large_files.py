"""Large files are listed over the whole history, and taken out of all of it."""

from tests.server.hub_app import Client, commit, inline, large, make_repository, upload


def test_a_large_file_is_listed_until_it_is_taken_out_for_good(client: Client) -> None:
    make_repository(client)
    for content, name in ((b"secret", "s.bin"), (b"kept", "k.bin")):
        upload(client, "ada/x", content)
        commit(client, "ada/x", large(name, content))
    commit(client, "ada/x", ("deletedFile", {"path": "s.bin"}), inline("a", b"1"))

    listed = {each["filename"]: each for each in client.get("/api/models/ada/x/lfs-files").json()}
    assert set(listed) == {"s.bin", "k.bin"}
    body = {"deletions": {"sha": [listed["s.bin"]["fileOid"]], "rewriteHistory": True}}
    assert client.post("/api/models/ada/x/lfs-files/batch", json=body, token="hf_ben").status_code == 403
    assert client.post("/api/models/ada/x/lfs-files/batch", json=body).status_code == 200

    assert [each["filename"] for each in client.get("/api/models/ada/x/lfs-files").json()] == ["k.bin"]
    for each in client.get("/api/models/ada/x/commits/main").json():
        assert client.get(f"/ada/x/resolve/{each['id']}/s.bin").status_code == 404
    assert client.get("/ada/x/resolve/main/k.bin").content == b"kept"
    assert commit(client, "ada/x", large("s.bin", b"secret")).status_code == 400


def test_a_content_is_shared_with_another_repository_by_who_may_read_it(client: Client) -> None:
    content = b"w" * 5000
    for name in ("x", "y"):
        make_repository(client, name, private=name == "y")
    upload(client, "ada/x", content)
    commit(client, "ada/x", large("w.bin", content))
    _, line = large("w.bin", content)
    asked = {
        "target": {"type": "model", "name": "ada/y"},
        "files": [
            {"sha256": line["oid"], "xetHash": "0", "filename": "w.bin"},
            {"sha256": "0" * 64, "xetHash": "0", "filename": "none"},
        ],
    }
    assert commit(client, "ada/y", large("w.bin", b"v" * 5000)).status_code == 400

    said = client.post("/api/models/ada/x/lfs-files/duplicate", json=asked)

    assert said.json()["success"] == [line["oid"]]
    assert [each["sha256"] for each in said.json()["failed"]] == ["0" * 64]
    assert commit(client, "ada/y", large("w.bin", content)).status_code == 200
    assert client.post("/api/models/ada/x/lfs-files/duplicate", json=asked, token="hf_ben").status_code == 404
