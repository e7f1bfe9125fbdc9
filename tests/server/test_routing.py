"""Routes are found by the path as it was sent, before its parts are decoded."""

from ayni.server.routing import Route, Router


def answer(_call: object) -> None:
    return None


def router(*patterns: str) -> Router:
    return Router(Route(method="GET", pattern=each, action="public", handler=answer) for each in patterns)


def test_an_encoded_slash_does_not_end_a_part() -> None:
    found = router("/api/{kind}/{repo}/tree/{rev}/{path...}").match(
        "GET", b"/api/models/ada/x/tree/refs%2Fpr%2F1/sub%20dir%2Fx/y"
    )

    assert found is not None
    assert found.parts == {"kind": "models", "repo": "ada/x", "rev": "refs/pr/1", "path": "sub dir/x/y"}


def test_models_have_no_prefix_and_others_have() -> None:
    table = router("/{prefix}{repo}/resolve/{rev}/{path...}")

    model = table.match("GET", b"/ada/x/resolve/main/a")
    dataset = table.match("GET", b"/datasets/ada/x/resolve/main/a")

    assert model is not None and "prefix" not in model.parts
    assert dataset is not None and dataset.parts["prefix"] == "datasets" and dataset.parts["repo"] == "ada/x"


def test_a_suffix_is_not_part_of_the_name() -> None:
    found = router("/{prefix}{repo}.git/info/lfs/objects/batch").match(
        "GET", b"/ada/x.y.git/info/lfs/objects/batch"
    )

    assert found is not None and found.parts["repo"] == "ada/x.y"


def test_paths_that_are_no_text_or_hold_control_characters_fit_nothing() -> None:
    table = router("/{repo}/resolve/{rev}/{path...}")

    assert table.match("GET", b"/ada/x/resolve/main/%ff") is None
    assert table.match("GET", b"/ada/x/resolve/main/a%00b") is None
    assert table.match("GET", b"/ada/x/resolve/main/%C3%A9") is not None


def test_the_methods_of_an_address_are_known() -> None:
    table = router("/a", "/{x}")

    assert table.methods(b"/a") == ["GET"]
    assert table.methods(b"/a/b") == []
