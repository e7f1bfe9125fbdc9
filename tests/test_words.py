"""The words are kept too: exports, settings, documents and both READMEs say what is true."""

import ast
import importlib
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ayni
from ayni.jobs.document import parse_document
from ayni.jobs.loading import check_spec
from ayni.settings import VARIABLES, read_settings

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "ayni"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "templates" not in path.parts)
commands = runpy.run_path(str(ROOT / "dev" / "readme_commands.py"))["commands"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def declares_all(path: Path) -> bool:
    """Whether a module says what it exports."""
    return any(
        isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


def pages() -> list[Path]:
    """Every document that a reader may open."""
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]


def test_every_exported_name_exists_and_is_documented() -> None:
    for name in ayni.__all__:
        exported = getattr(ayni, name)
        assert name == "__version__" or exported.__doc__, name


def test_the_exports_are_all_that_the_package_offers() -> None:
    offered = {*ayni._HOME_OF_NAME, "__version__"}

    assert sorted(ayni.__all__) == sorted(offered) == dir(ayni)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if declares_all(path)], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_all_lists_only_names_that_the_module_has(path: Path) -> None:
    dotted = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(dotted)

    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_importing_ayni_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'dask', 'distributed', 'pandas', 'sqlalchemy', 'pydantic', 'rich', 'yaml'}"
    code = f"import sys, ayni, ayni.cli.main; print(sorted({heavy} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_every_setting_is_documented_and_no_other() -> None:
    in_docstring = re.findall(r"^\| (AYNI_\w+) \|", importlib.import_module("ayni.settings").__doc__, re.M)
    on_page = re.findall(r"^\| `(AYNI_\w+)` \|", read("docs/settings.md"), re.MULTILINE)

    assert list(VARIABLES) == in_docstring == on_page


def test_no_document_names_a_setting_that_is_not_read() -> None:
    # The tests' own variables are no settings.
    named = {name for page in pages() for name in re.findall(r"\bAYNI_[A-Z_]+\b", page.read_text("utf-8"))}

    assert {name for name in named if not name.startswith("AYNI_TEST_")} <= set(VARIABLES)


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
    for name in ("demo", "tour", "init", "compress", "ci"):
        assert commands(chinese, name) == commands(english, name)
    for language in ("python", "yaml"):
        blocks = rf"```{language}\n(.*?)```"
        assert re.findall(blocks, chinese, re.DOTALL) == re.findall(blocks, english, re.DOTALL)


@pytest.mark.parametrize("name", ["demo", "tour", "init", "compress", "ci"])
def test_the_readme_has_commands_that_a_machine_can_run(name: str) -> None:
    assert commands(read("README.md"), name)
    # The words after `ayni` are held to the command line by tests/docs/test_cli_page.py.
    assert {command.split()[0] for command in commands(read("README.md"), name)} <= {"make", "ayni"}


def test_every_target_of_make_that_a_document_names_is_there_and_says_what_it_does() -> None:
    targets = re.findall(r"^([a-z-]+):.*## \S", read("Makefile"), re.MULTILINE)
    named = {
        target
        for page in pages()
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)\b", page.read_text("utf-8"), re.MULTILINE)
    }

    assert {"demo", "test", "check", "install"} <= named <= set(targets)


def test_the_job_in_the_readme_is_a_job() -> None:
    (job,) = re.findall(r"```yaml\n(.*?)```", read("README.md"), re.DOTALL)

    assert check_spec(parse_document(job, name="README.md")).name == "digits"


def test_the_python_in_the_readme_uses_what_is_exported() -> None:
    blocks = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    used = {
        node.attr
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "ayni"
    }

    assert used and used <= set(ayni.__all__)


def test_every_extra_that_is_named_can_be_installed() -> None:
    extras = set(tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"])
    texts = [path.read_text("utf-8") for path in [*MODULES, *pages()]]
    named = {
        extra.strip()
        for text in texts
        for group in re.findall(r"""ayni\[([a-z, ]+)\]|MissingExtraError\(extra="([a-z]+)\"""", text)
        for extra in "".join(group).split(",")
    }

    assert {"train", "compress", "explain"} <= named <= extras


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


def test_code_is_ascii_and_leaves_nothing_undone_without_an_issue() -> None:
    texts = {path.relative_to(SOURCE): path.read_text(encoding="utf-8") for path in MODULES}

    assert [str(path) for path, text in texts.items() if not text.isascii()] == []
    assert [
        str(path) for path, text in texts.items() if re.search(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))", text)
    ] == []


def test_every_changelog_fragment_has_one_to_three_lines() -> None:
    fragments = [path for path in (ROOT / "changelog").glob("*.md") if path.name != "README.md"]

    assert [path.name for path in fragments if not 1 <= len(path.read_text("utf-8").splitlines()) <= 3] == []


def test_local_links_in_the_documents_lead_somewhere() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in pages()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []


def test_links_to_a_heading_lead_to_one() -> None:
    def anchors(page: Path) -> set[str]:
        headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    broken = [
        f"{page.name}: {target}#{anchor}"
        for page in pages()
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
        if anchor not in anchors(page.parent / target if target else page)
    ]

    assert broken == []
