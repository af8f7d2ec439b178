"""Every folder of modules is listed in pyproject.toml, the only list there is."""

import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
ROOMS = {folder: name for name, folder in SETUPTOOLS["package-dir"].items()}


def _found():
    for folder, name in ROOMS.items():
        for file in (ROOT / folder).rglob("__init__.py"):
            inner = file.parent.relative_to(ROOT / folder).parts
            yield ".".join([name, *inner])


def test_every_folder_is_listed():
    missing = sorted(set(_found()) - set(SETUPTOOLS["packages"]))
    assert not missing, "add to `packages` in pyproject.toml:\n" + "\n".join(f'  "{name}",' for name in missing)


def test_every_listed_package_exists():
    assert sorted(set(SETUPTOOLS["packages"]) - set(_found())) == []


def test_every_folder_of_modules_is_a_package():
    bare = [
        folder
        for room in ROOMS
        for folder in (ROOT / room).rglob("*/")
        if any(folder.glob("*.py")) and not (folder / "__init__.py").exists()
    ]
    assert not bare, f"no __init__.py in {[str(folder.relative_to(ROOT)) for folder in bare]}"


@pytest.mark.parametrize("folder", ROOMS)
def test_type_checkers_see_every_room(folder):
    link = ROOT / ".typing" / "fewstep" / folder
    assert link.resolve() == ROOT / folder, f"ln -s ../../{folder} .typing/fewstep/{folder}"
