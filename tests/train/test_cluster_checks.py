import pytest

from ayni.train.cluster_checks import (
    VERSIONS_QUESTION,
    PackageMismatchError,
    check_versions,
    own_versions,
)


def test_the_question_for_versions_is_answered_by_python_alone() -> None:
    answer = eval(VERSIONS_QUESTION, {})

    assert answer == own_versions()


def test_equal_versions_and_other_builds_of_the_same_release_fit_together() -> None:
    here = own_versions()
    there = {**here, "torch": f"{str(here['torch']).split('+')[0]}+cu129"}

    check_versions("tcp://there:1", there=there, here=here)


@pytest.mark.parametrize("name", ["python", "ayni", "torch", "numpy", "distributed"])
def test_another_version_is_refused_with_both_sides_named(name: str) -> None:
    here = own_versions()

    with pytest.raises(PackageMismatchError) as caught:
        check_versions("tcp://there:1", there={**here, name: "1.0.3"}, here=here)

    message = str(caught.value)
    assert f"{name} 1.0.3 there and {here[name]} here" in message
    assert "tcp://there:1" in message
    assert "Install the same versions" in message
    assert caught.value.exit_code == 2


def test_a_worker_without_ayni_is_refused() -> None:
    here = own_versions()

    with pytest.raises(PackageMismatchError, match="ayni none there"):
        check_versions("tcp://there:1", there={**here, "ayni": None}, here=here)


def test_a_patch_release_of_torch_or_python_does_not_matter() -> None:
    here = {
        "python": "3.11.7",
        "ayni": "0.1.0",
        "torch": "2.13.0",
        "numpy": "2.4.6",
        "distributed": "2026.8.0",
    }
    there = {
        "python": "3.11.9",
        "ayni": "0.1.0",
        "torch": "2.13.1",
        "numpy": "2.0.1",
        "distributed": "2026.3.0",
    }

    check_versions("tcp://there:1", there=there, here=here)
