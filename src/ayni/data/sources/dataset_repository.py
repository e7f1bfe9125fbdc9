"""A data set repository in the manner of the Hugging Face Hub, from a hub or a folder, without `datasets`.

README.md may begin with YAML that says which files belong to which configuration and split:

    configs:
    - config_name: default
      data_files:
      - {split: train, path: data/train-*.parquet}
      - {split: test, path: data/test.parquet}

Without it, files are splits when their names say so, as the Hub has it. Files are Parquet, CSV, TSV, JSON
lines, or images in sub-folders of their classes. A column of images (a struct of `bytes` and `path`) is
decoded; names of classes are taken from `dataset_info` when the label is a ClassLabel.

Not covered: loading scripts (they are code), WebDataset archives, columns of sound.

Source: huggingface/hub-docs, "Data files Configuration" and "Dataset card metadata".
"""

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import FileTree
from ayni.data.sources.images import IMAGE_ENDINGS, SPLIT_FOLDERS, ImageFolderSource, decode, stacked
from ayni.data.sources.tables import Table, collection_of, decoded, read_table, split_of

_DATA_ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl", ".json", ".ndjson")


class DatasetRepositorySource:
    """Fulfils `ayni.data.sources.collection.DataSource`."""

    def read(self, files: FileTree, config: DataConfig) -> Collection:
        """All examples of one configuration, split by split."""
        card = card_of(files)
        chosen = _files_of_splits(files, card, config)
        if not chosen:
            if any(path.lower().endswith(IMAGE_ENDINGS) for path in files.paths()):
                return ImageFolderSource().read(files, config)
            raise SourceError(files.name, f"there are no data files in it ({', '.join(_DATA_ENDINGS)}).")
        tables, splits = [], []
        for split, path in chosen:
            tables.append(_read(files, path, config))
            splits.append(split)
        config = _with_found_columns(tables[0], config)
        names = _class_names(card, config)
        image_column = _image_column(tables[0], config)
        collection = (
            collection_of(tables, splits, config)
            if image_column is None
            else _images(tables, splits, image_column, config)
        )
        return _named(collection, names, tables, config)


def card_of(files: FileTree) -> Mapping[str, Any]:
    """The YAML at the top of README.md; empty without it.

    Raises:
        SourceError: it is there and no YAML.
    """
    if "README.md" not in files.paths():
        return {}
    text = files.read("README.md").decode("utf-8", errors="replace").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return {}
    try:
        found = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError as error:
        raise SourceError(
            f"{files.name}, README.md", f"the YAML at its top cannot be read ({error})."
        ) from error
    return found if isinstance(found, Mapping) else {}


def _files_of_splits(files: FileTree, card: Mapping[str, Any], config: DataConfig) -> list[tuple[str, str]]:
    """Pairs of a split and a file of the wanted configuration, in order."""
    configs = [each for each in card.get("configs") or [] if isinstance(each, Mapping)]
    paths = files.paths()
    if not configs:
        if config.subset is not None:
            raise SourceError(
                files.name, f"its README.md names no configurations, so there is no {config.subset!r}."
            )
        data = [path for path in paths if path.lower().endswith(_DATA_ENDINGS)]
        return sorted(
            ((_split_of_path(path), path) for path in data), key=lambda pair: (_rank(pair[0]), pair[1])
        )
    names = [str(each.get("config_name")) for each in configs]
    wanted = config.subset or next(
        (str(each["config_name"]) for each in configs if each.get("default")), None
    )
    wanted = wanted or ("default" if "default" in names else names[0])
    if wanted not in names:
        raise SourceError(files.name, f"there is no configuration {wanted!r}. It has: {', '.join(names)}.")
    found: list[tuple[str, str]] = []
    for entry in _entries(configs[names.index(wanted)].get("data_files")):
        patterns = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
        matching = [path for path in paths if any(fnmatch.fnmatchcase(path, str(each)) for each in patterns)]
        if not matching:
            raise SourceError(
                files.name, f"no file is called {entry['path']!r}, as the configuration {wanted!r} has it."
            )
        split = SPLIT_FOLDERS.get(str(entry["split"]).lower(), "")
        found += [(split, path) for path in matching if split or not entry["split"]]
    return found


def _entries(data_files: Any) -> list[dict[str, Any]]:
    """The forms that the Hub takes: a path, a list of paths, splits with paths, a list of them."""
    if isinstance(data_files, str):
        return [{"split": "train", "path": data_files}]
    if isinstance(data_files, Mapping):
        return [{"split": split, "path": path} for split, path in data_files.items()]
    entries: list[dict[str, Any]] = []
    for each in data_files or []:
        entries.append(
            {"split": each.get("split", "train"), "path": each.get("path", "")}
            if isinstance(each, Mapping)
            else {"split": "train", "path": each}
        )
    return entries


def _split_of_path(path: str) -> str:
    folders = (SPLIT_FOLDERS.get(part.lower(), "") for part in path.split("/")[:-1])
    return split_of(path) or next((found for found in folders if found), "")


def _rank(split: str) -> int:
    return ["train", "validation", "test", ""].index(split)


def _read(files: FileTree, path: str, config: DataConfig) -> Table:
    if path.lower().endswith((".jsonl", ".json", ".ndjson")):
        return _read_json_lines(files, path, config)
    return read_table(files, path, encoding=config.encoding)


def _read_json_lines(files: FileTree, path: str, config: DataConfig) -> Table:
    place = f"{files.name}, {path}"
    text = decoded(files.read(path), config.encoding, place)
    is_list = text.lstrip().startswith("[")
    rows: list[Any] = []
    number = 0
    try:
        if is_list:
            rows = json.loads(text)
        for line in [] if is_list else text.splitlines():
            number += 1
            rows += [json.loads(line)] if line.strip() else []
    except json.JSONDecodeError as error:
        where = error.lineno if is_list else number
        raise SourceError(place, f"line {where} is no JSON ({error.msg}).") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise SourceError(place, "expected an object of names and values in each line.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Table(place=place, columns={name: [row.get(name) for row in rows] for name in names})


def _with_found_columns(table: Table, config: DataConfig) -> DataConfig:
    """The config with the columns that data sets usually have, where the job names none."""
    label = config.label
    if label not in table.columns:
        label = next(
            (name for name in ("labels", "target", "class", "fine_label") if name in table.columns), label
        )
    columns = config.columns
    if not columns:
        usual = [name for name in ("image", "img", "text", "sentence", "content") if name in table.columns]
        columns = tuple(usual[:1])
    return replace(config, label=label, columns=columns)


def _image_column(table: Table, config: DataConfig) -> str | None:
    if len(config.columns) != 1 or config.columns[0] not in table.columns:
        return None
    values = table.columns[config.columns[0]]
    return config.columns[0] if values and isinstance(values[0], dict) and "bytes" in values[0] else None


def _images(tables: list[Table], splits: list[str], column: str, config: DataConfig) -> Collection:
    """Decoded images; labels and splits as a table has them."""
    numbered = [
        Table(
            place=table.place,
            columns={
                config.label: table.columns.get(config.label, []),
                column: [str(row) for row in range(len(table))],
            },
            first_row=table.first_row,
        )
        for table in tables
    ]
    rows = collection_of(numbered, splits, replace(config, columns=(column,)))
    images, places = [], []
    for table in tables:
        for row, value in enumerate(table.columns[column]):
            place = f"{table.place}, row {row + table.first_row}"
            if not isinstance(value, dict) or not value.get("bytes"):
                raise SourceError(place, f"the column {column!r} holds no image.")
            images.append(decode(value["bytes"], place=place))
            places.append(place)
    if rows.num_dropped:
        raise SourceError(tables[0].place, "rows of images without a label cannot be left out; remove them.")
    return replace(rows, kind="images", inputs=stacked(images, places, config), columns=())


def _class_names(card: Mapping[str, Any], config: DataConfig) -> dict[str, str]:
    """Names of class numbers from `dataset_info`; empty when it says none."""
    info = card.get("dataset_info") or {}
    of_config = info if isinstance(info, list) else [info]
    for each in of_config:
        if (
            config.subset is not None
            and isinstance(each, Mapping)
            and each.get("config_name") != config.subset
        ):
            continue
        for feature in (each.get("features") or []) if isinstance(each, Mapping) else []:
            if isinstance(feature, Mapping) and feature.get("name") == config.label:
                names = (
                    (feature.get("dtype") or {}) if isinstance(feature.get("dtype"), Mapping) else {}
                ).get("class_label", {})
                found = names.get("names", {}) if isinstance(names, Mapping) else {}
                if isinstance(found, list):
                    return {str(number): str(name) for number, name in enumerate(found)}
                return {str(number): str(name) for number, name in found.items()}
    return {}


def _place_of(label: str, tables: list[Table], config: DataConfig) -> str:
    """File and row where a label stands first."""
    for table in tables:
        for row, value in enumerate(table.columns[config.label]):
            if str(value) == label:
                return f"{table.place}, row {row + table.first_row}"
    return tables[0].place


def _named(
    collection: Collection, names: Mapping[str, str], tables: list[Table], config: DataConfig
) -> Collection:
    """The collection with the card's names of classes.

    Raises:
        SourceError: a label is none of them; file and row are named.
    """
    if not names or set(collection.classes) & set(names.values()):
        return collection
    strange = [label for label in collection.classes if label not in names]
    if strange:
        raise SourceError(
            _place_of(strange[0], tables, config),
            f"the label is {strange[0]}, the card names the classes {', '.join(names)}.",
        )
    numbers = np.array([list(names).index(label) for label in collection.classes], dtype=np.int64)
    present = sorted(set(numbers.tolist()))
    # Classes that the card names and nobody has are left out: a class without examples is an error elsewhere.
    renumbered = np.array([present.index(number) for number in numbers.tolist()], dtype=np.int64)
    kept = tuple(list(names.values())[number] for number in present)
    return replace(collection, labels=renumbered[collection.labels], classes=kept)
