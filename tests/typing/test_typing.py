"""Public names have types that users' checkers see: `user_code.py` passes under pyright and mypy, mistakes included."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

CODE = Path(__file__).with_name("user_code.py")
CHECKERS = {
    "pyright": ["--pythonpath", sys.executable],
    "mypy": ["--follow-imports", "silent", "--warn-unused-ignores", "--python-executable", sys.executable],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKERS)
def test_the_code_of_a_user_passes(name: str, tmp_path: Path) -> None:
    """Every `assert_type` holds, and every line that is marked as a mistake is one (mypy; pyright reports the unmarked)."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    code = tmp_path / "user_code.py"  # away from this project's settings, as a user's code is
    code.write_text(CODE.read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", name, *CHECKERS[name], str(code)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
