from pathlib import Path

from ayni.reports.picking import absolute, picked, picked_all


def test_a_key_that_was_not_written_is_null_and_one_that_is_not_documented_is_left_out() -> None:
    assert picked({"a": 1, "secret": 2}, ("a", "b")) == {"a": 1, "b": None}
    assert picked_all([{"a": 1}, {"b": 2}], ("a",)) == [{"a": 1}, {"a": None}]


def test_what_did_not_run_is_null_and_a_list_that_was_not_written_is_empty() -> None:
    assert picked(None, ("a",)) is None
    assert picked_all(None, ("a",)) == []


def test_paths_are_relative_to_the_folder_unless_they_are_absolute() -> None:
    assert absolute("compress/int8.onnx", Path("/run")) == "/run/compress/int8.onnx"
    assert absolute("/elsewhere/model", Path("/run")) == "/elsewhere/model"
    assert absolute(None, Path("/run")) is None
