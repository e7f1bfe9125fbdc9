"""The words are kept too: exports, settings, documents and both READMEs say what is true."""

import ast
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import ayni
from ayni.settings import VARIABLES, read_settings

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "ayni"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "templates" not in path.parts)
commands = runpy.run_path(str(ROOT / "dev" / "readme_commands.py"))["commands"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_exported_name_exists_and_is_documented() -> None:
    for name in ayni.__all__:
        exported = getattr(ayni, name)
        assert name == "__version__" or exported.__doc__, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_all_lists_only_names_that_the_module_has(path: Path) -> None:
    declares_all = any(
        isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )
    if not declares_all:
        pytest.skip("no __all__ here")

    dotted = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(dotted)

    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_importing_ayni_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'dask', 'distributed', 'pandas', 'sqlalchemy', 'pydantic', 'rich', 'yaml'}"
    code = f"import sys, ayni, ayni.cli.main; print(sorted({heavy} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_every_setting_is_documented() -> None:
    for variable in VARIABLES:
        assert f"`{variable}`" in read("docs/settings.md")


def test_only_settings_reads_the_environment() -> None:
    offenders = [
        str(path.relative_to(SOURCE))
        for path in MODULES
        if path.name != "settings.py" and re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    ]

    assert offenders == []


def test_the_home_given_by_the_caller_wins_over_the_environment(tmp_path: Path) -> None:
    settings = read_settings({"AYNI_HOME": "/elsewhere"}, home=tmp_path)

    assert settings.home == tmp_path.resolve()
    assert settings.objects_url == (tmp_path.resolve() / "objects").as_uri()


def test_both_readmes_have_the_same_headings_and_commands() -> None:
    english, chinese = read("README.md"), read("README.zh.md")

    def levels(text: str) -> list[int]:
        outside_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        return [len(marks) for marks in re.findall(r"^(#+) ", outside_code, flags=re.MULTILINE)]

    assert levels(chinese) == levels(english)
    for name in ("demo", "tour", "init", "ci"):
        assert commands(chinese, name) == commands(english, name)
    for language in ("python", "yaml"):
        blocks = rf"```{language}\n(.*?)```"
        assert re.findall(blocks, chinese, re.DOTALL) == re.findall(blocks, english, re.DOTALL)


def test_the_readme_names_every_folder_of_the_package() -> None:
    folders = sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists())

    assert [name for name in folders if f"      {name}/" not in read("README.md")] == []


def test_every_term_of_the_glossary_has_one_row() -> None:
    terms = re.findall(r"^\| ([^|]+) \|", read("docs/glossary.md"), re.MULTILINE)[2:]

    assert sorted(set(terms)) == sorted(terms)


def test_every_error_class_ends_in_error_and_is_documented() -> None:
    classes = [
        node
        for path in MODULES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "").endswith("Error") for base in node.bases)
    ]

    assert classes
    assert [
        node.name for node in classes if not node.name.endswith("Error") or not ast.get_docstring(node)
    ] == []


def test_every_error_is_listed_in_the_documents() -> None:
    names = {
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "").endswith("Error") for base in node.bases)
    }

    assert sorted(name for name in names if f"`{name}`" not in read("docs/errors.md")) == []


def test_local_links_in_the_documents_lead_somewhere() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "README.zh.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
    ]

    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []
