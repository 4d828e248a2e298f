"""Every Python block of the README runs, in order, and prints what the README says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    names, outputs = {}, []
    with contextlib.chdir(folder):
        for code in blocks("python"):
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                exec(compile(code, "README.md", "exec"), names)
            outputs.append(text.getvalue())
        outputs.append(sorted(path.name for path in folder.iterdir()))
    return outputs


def test_first_block_prints_what_the_readme_shows(printed):
    shown = blocks("text")[0]
    assert words(printed[0]) == words(shown)
    assert numbers(printed[0]) == pytest.approx(numbers(shown), rel=0.05, abs=0.06)


def test_the_verdict_the_split_the_trace_and_the_error_are_printed(printed):
    assert "toward the input" in printed[2]
    assert printed[3].startswith("GradientSplit: RMS of ∂E/∂x at 50 units")
    assert re.search(r"\n\(\d, \d+\)\n$", printed[3])
    assert "5 steps, 12 layers" in printed[4]
    assert re.fullmatch(r"test error \d+\.\d% after 15 epochs\n", printed[5])


def test_the_pictures_films_and_pages_are_written(printed):
    assert printed[-1] == ["backward.gif", "depth.html", "flow.html", "flow.json", "flow.pdf", "flow.png"]


def test_the_house_names_every_module():
    house = blocks("text")[1]
    package = README.parent / "gradflow"
    for path in package.glob("*.py"):
        assert path.name in house or path.name in ("__main__.py",), path.name
    for folder in package.iterdir():
        if (folder / "__init__.py").exists():
            assert f"{folder.name}/" in house


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z_.]{3,}[A-Za-z0-9_.]*", text)


def numbers(text: str) -> list[float]:
    found = re.findall(r"[-+]?\d+\.?\d*(?:e[-+]\d+)?", text.replace("−", "-"))
    return [float(number) for number in found]
