import pytest

from ayni.hub.names import FilePathError, RepositoryNameError, check_file_paths, check_repository_name


@pytest.mark.parametrize("name", ["me/digits", "A_b/c.d-e", "x/0", "_a/b_"])
def test_names_of_the_hugging_face_hub_are_accepted(name: str) -> None:
    check_repository_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "digits", "/digits", "me/", "../x", "me/..", "me/../x", "/etc/x", "me/a/b", "me/a--b", "me/a..b",
        "me/.a", "me/a.", "-me/a", "me/a-", "me/a b", "me/a\n", "me/\u00e9", "me/a.git", "me/a.GIT",
        "me/" + "a" * 97, "me\\a/b", "me/a\0", "~/x", "C:/x",
    ],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RepositoryNameError, match="namespace/name"):
        check_repository_name(name)


@pytest.mark.parametrize(
    "path", ["README.md", "a/b/c.txt", ".gitignore", "\u6570\u5b57/x y.json", "a..b/...c"]
)
def test_relative_paths_are_accepted(path: str) -> None:
    check_file_paths([path])


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a/.", "a\\..\\b", "a\0b", "a\nb",
        ".git/config", "a/.GIT/hooks", ".git./x", "git~1/x", "C:x", "x" * 256, "a/" * 600 + "b", "\ud800",
        "a\u202etxt.exe",
    ],
)  # fmt: skip
def test_paths_that_could_leave_the_folder_are_refused(path: str) -> None:
    with pytest.raises(FilePathError, match="relative path"):
        check_file_paths([path])


@pytest.mark.parametrize("paths", [["a", "A"], ["\u00e9", "e\u0301"], ["a", "a/b"], ["A/b", "a"]])
def test_paths_that_some_file_system_takes_for_one_are_refused(paths: list[str]) -> None:
    with pytest.raises(FilePathError):
        check_file_paths(paths)
