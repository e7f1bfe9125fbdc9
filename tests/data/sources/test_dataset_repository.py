"""Data set repositories as Hugging Face has them, with and without YAML."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import GivenFiles
from ayni.data.sources.reading import read_collection, rows_of_splits

LINES = '{"text": "good", "label": 1}\n{"text": "bad", "label": 0}\n'
STRANGE = LINES + '{"text": "x", "label": 7}'
CARD = """---
license: mit
configs:
- config_name: small
  default: true
  data_files:
  - {split: train, path: data/train-*.jsonl}
  - {split: test, path: data/test.jsonl}
- config_name: large
  data_files: large/*.jsonl
dataset_info:
  features:
  - {name: text, dtype: string}
  - name: label
    dtype:
      class_label:
        names: {'0': negative, '1': positive}
---
# Reviews
"""


def read(files: dict[str, str | bytes], **keys: object) -> Collection:
    given = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    config = DataConfig(source="x", **keys)  # type: ignore[arg-type]
    return read_collection(GivenFiles(name="set", files=given), config)


def test_yaml_says_which_files_are_which_split_and_what_classes_are_called() -> None:
    files = {
        "README.md": CARD,
        "data/train-0.jsonl": LINES,
        "data/train-1.jsonl": LINES,
        "data/test.jsonl": LINES,
        "large/a.jsonl": LINES * 5,
        "other.jsonl": "no JSON",
    }

    found, large = read(files), read(files, subset="large")

    assert found.classes == ("negative", "positive")
    assert found.inputs[:2] == ("good", "bad")
    rows = rows_of_splits(found, DataConfig(source="x", validation_share=0))
    assert (len(rows["train"]), len(rows["test"]), len(large)) == (4, 2, 10)


def test_files_are_splits_by_name_without_yaml() -> None:
    found = read({"train.jsonl": LINES, "validation.jsonl": LINES, "test-00000-of-00001.jsonl": LINES})

    assert set(found.splits) == {"train", "validation", "test"}


def test_images_in_parquet_are_decoded_and_a_damaged_one_is_named_by_its_row() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = io.BytesIO()
    Image.new("L", (4, 3), 51).save(out, "png")

    def table(second: bytes) -> bytes:
        images = [{"bytes": out.getvalue(), "path": "1.png"}, {"bytes": second, "path": None}]
        file = io.BytesIO()
        parquet.write_table(pyarrow.table({"image": images, "label": [0, 1]}), file)
        return file.getvalue()

    found = read({"README.md": "# no YAML", "train.parquet": table(out.getvalue())})

    assert found.kind == "images"
    assert np.asarray(found.inputs).shape == (2, 1, 3, 4)
    assert np.allclose(found.inputs[0], 0.2)
    with pytest.raises(SourceError, match=r"train\.parquet, row 2: the image cannot be read"):
        read({"README.md": "# no YAML", "train.parquet": table(b"torn")})


def test_a_column_of_texts_is_found_beside_others() -> None:
    rows = [{"id": str(number), "text": f"t{number}", "label": number % 2} for number in range(4)]

    found = read({"train.jsonl": "\n".join(map(json.dumps, rows))})

    assert found.inputs == ("t0", "t1", "t2", "t3")


@pytest.mark.parametrize(
    ("files", "keys", "message"),
    [
        ({"README.md": "---\nconfigs: [\n---\n", "a.csv": ""}, {}, "YAML at its top"),
        ({"README.md": CARD, "data/test.jsonl": LINES}, {}, r"no file is called 'data/train-\*\.jsonl'"),
        ({"README.md": CARD}, {"subset": "huge"}, "no configuration 'huge'. It has: small, large"),
        ({"train.jsonl": LINES}, {"subset": "huge"}, "names no configurations"),
        ({"train.jsonl": LINES + "{torn"}, {}, r"train\.jsonl: line 3 is no JSON"),
        ({"train.jsonl": "[1, 2]"}, {}, "expected an object"),
        ({"README.md": "# nothing"}, {}, "no data files"),
        (
            {"README.md": CARD, "data/train-0.jsonl": STRANGE, "data/test.jsonl": LINES},
            {},
            r"set, data/train-0\.jsonl, row 3: the label is 7, the card names the classes 0, 1",
        ),
    ],
)
def test_bad_repositories_are_refused(
    files: dict[str, str | bytes], keys: dict[str, str], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read(files, **keys)
