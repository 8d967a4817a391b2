"""The pages hold to the facts: links lead somewhere, commands and files exist, the README stays short."""

import argparse
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import stress

from digit_recognizer import recipes
from digit_recognizer.cli import main
from digit_recognizer.recipes import page_reader

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CARDS = "src/digit_recognizer/pretrained/README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / CARDS).parent.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMANDS = ROOT / "docs/commands.md"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


@functools.cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> list[str]:
    """The paragraphs of a page as plain text, without headings, tables, code blocks and pictures."""
    text = re.sub(r"(?ms)^```.*?^```$|<!--.*?-->", "", text_of(page))
    lines = [re.sub(r"^(#|\||!\[).*", "", line) for line in text.splitlines()]
    text = re.sub(r"(?m)^\s*(?:[-*]|\d+\.) ", "\n\n", "\n".join(lines))  # each item is a paragraph
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    return [" ".join(each.split()) for each in text.split("\n\n") if each.strip()]


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", text_of(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"", text_of(page))
    for link in (one or other for one, other in links):
        file, _, anchor = link.partition("#")
        if not link.startswith("https://"):
            target = (page.parent / file).resolve() if file else page
            assert target.exists() and target.is_relative_to(ROOT), link
            assert not anchor or anchor in anchors(target), link


def code_of(page: Path) -> list[str]:
    """The code in a page: spans, and the lines of blocks, the latter without their comments."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```$", text_of(page))
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", text_of(page)))
    return [*spans, *(line.split("#")[0] for block in blocks for line in block.splitlines())]


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "CHANGELOG"], ids=lambda page: page.stem)
def test_commands_that_are_named_exist(page):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for code in code_of(page):
        for pattern, known in (
            (r"^(?:digits|python -m digit_recognizer) ([a-z]+)", main.COMMANDS),
            (r"^make ([a-z]+)", targets),
            (r"--recipe ([a-z]\w+)", [*recipes.RECIPES, page_reader.NAME]),
        ):
            assert set(re.findall(pattern, code)) <= set(known), code


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")} - {"--help"}


def section(name: str) -> str:
    """The part of docs/commands.md under the heading that begins with that name."""
    [found] = re.findall(rf"(?ms)^#+ `{re.escape(name)}(?: [^`\n]*)?`\n(.*?)(?=^#|\Z)", text_of(COMMANDS))
    return found


def test_the_page_of_commands_names_every_command_and_flag():
    _, parsers = main._parsers()
    assert set(re.findall(r"(?m)^### `digits (\w+)", text_of(COMMANDS))) == set(parsers)
    for name, parser in parsers.items():
        assert set(re.findall(r"--[a-z][a-z-]+", section(f"digits {name}"))) - {"--help"} == flags_of(parser), name


def test_the_page_of_commands_names_every_benchmark_and_target():
    shown = subprocess.check_output([sys.executable, "-m", "benchmarks", "--help"], text=True, cwd=ROOT)
    assert set(re.findall(r"--[a-z][a-z-]+", section("python -m benchmarks"))) == set(
        re.findall(r"--[a-z][a-z-]+", shown)
    ) - {"--help"}
    shown = subprocess.check_output([sys.executable, "-m", "benchmarks.reading", "--help"], text=True, cwd=ROOT)
    flags = set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help"}
    assert set(re.findall(r"--[a-z][a-z-]+", section("python -m benchmarks.reading"))) == flags
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"`make ([a-z]+)", section("make"))) == set(targets) - {"help"}


def test_the_readme_is_short():
    assert len(text_of(README).splitlines()) <= 130
    assert len(text_of(README).split()) <= 1000
    sentences = [sentence for each in prose_of(README) for sentence in re.split(r"(?<=[.?!]) ", each)]
    assert len(sentences) > 20
    assert [sentence for sentence in sentences if len(sentence.split()) > 30] == []


def test_the_readme_names_files_and_names_that_exist():
    named = re.findall(r"`([\w./]+(?:\.py|\.ipynb|\.txt|\.json|/))`", text_of(README))
    assert len(named) > 10
    roots = (ROOT, ROOT / "src/digit_recognizer")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_the_page_on_testing_quotes_the_last_long_run():
    assert stress.table() in text_of(ROOT / "docs/testing.md")


def test_the_page_on_testing_names_tests_that_there_are():
    named = re.findall(r"`([\w/]*test_\w+\.py)`", text_of(ROOT / "docs/testing.md"))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / "tests" / name).exists()} == set()
