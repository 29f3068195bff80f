"""`coreselect select`, `methods` and the exit codes, as a user sees them."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect.io.index_file import read_indices

run = CliRunner()


@pytest.fixture
def arrays(tmp_path):
    """Gradients of 60 examples in 12 groups, a validation gradient and labels, as .npy files."""
    draws = np.random.default_rng(0)
    np.save(tmp_path / "g.npy", draws.normal(size=(60, 7)).astype(np.float32))
    np.save(tmp_path / "m.npy", draws.normal(size=(12, 7)).astype(np.float32))
    np.save(tmp_path / "groups.npy", np.arange(60) % 12)
    np.save(tmp_path / "v.npy", draws.normal(size=7).astype(np.float32))
    np.save(tmp_path / "f.npy", draws.normal(size=(60, 3)).astype(np.float32))
    np.save(tmp_path / "y.npy", np.arange(60) % 3)
    return tmp_path


def command(*words: object):
    """Run the application in this process."""
    return run.invoke(build(), [str(w) for w in words])


def test_gradients_alone_choose_the_groups_of_largest_inner_product(arrays):
    """With gradients per group and a validation gradient, the groups come in the order of ⟨row, query⟩."""
    out = arrays / "c.npz"
    got = command("select", "--gradients", arrays / "m.npy", "--groups", arrays / "groups.npy", "--validation-gradient",
                  arrays / "v.npy", "--count", 20, "--out", out)  # fmt: skip
    assert got.exit_code == 0, got.output
    want = np.argsort(
        -(np.load(arrays / "m.npy").astype(float) @ np.load(arrays / "v.npy").astype(float)), kind="stable"
    )[:4]
    assert list(dict.fromkeys(Selection.load(out).groups.tolist())) == want.tolist()


@pytest.mark.parametrize("ending", ["npz", "json", "npy", "txt", "csv"])
def test_every_format_holds_the_same_indices(arrays, ending):
    """Neither the indices in a file nor the exact budget depend on its format."""
    out = arrays / f"c.{ending}"
    assert (
        command(
            "select", "--features", arrays / "f.npy", "--selector", "redraw", "--fraction", 0.25, "--out", out
        ).exit_code
        == 0
    )
    reference = arrays / "reference.npz"
    command("select", "--features", arrays / "f.npy", "--selector", "redraw", "--fraction", 0.25, "--out", reference)
    assert read_indices(out).tolist() == Selection.load(reference).indices.tolist()
    assert len(read_indices(out)) == 15


def test_json_is_alone_on_stdout(arrays):
    """`--json` prints one JSON value on stdout, talk goes to stderr."""
    got = command("select", "--features", arrays / "f.npy", "--labels", arrays / "y.npy", "--selector", "random", "--per-class",
                  "--count", 6, "--out", arrays / "c.npz", "--json")  # fmt: skip
    value = json.loads(got.stdout)
    assert sorted(np.asarray(value["indices"]) % 3) == [0, 0, 1, 1, 2, 2]
    assert "wrote" in got.stderr


def test_windows_and_searches_by_their_words(arrays):
    """`--window 5x4` chooses in windows of 20 with groups of 4; `--search candidates=3x2` is recorded, and its loss is shown."""
    given = ("--gradients", arrays / "g.npy", "--validation-gradient", arrays / "v.npy", "--count", 12)
    out = arrays / "c.npz"
    got = command("select", *given, "--window", "5x4", "--search", "candidates=3x2", "--out", out)
    assert got.exit_code == 0, got.output
    made = Selection.load(out)
    assert made.provenance.selector == "windowed"
    assert made.provenance.settings["window"] == 20
    assert made.provenance.settings["selector"]["group_size"] == 4
    assert made.provenance.settings["selector"]["search"]["every"] == 2
    assert len(made) == 12
    assert made.certificate is not None
    assert "the search was approximate (3 candidates, a pass every 2 picks)" in " ".join(got.stdout.split())
    for wrong, said in (
        (("--window", "5x"), "a window is a number of examples"),
        (("--window", "5x4", "--group-size", 3), "contradict each other"),
        (("--search", "candidates=3"), "candidates=4096x64"),
        (("--search", "annoy"), "no search is called 'annoy'"),
    ):
        refused = command("select", *given, *wrong, "--out", out)
        assert isinstance(refused.exception, CoreselectError)
        assert said in str(refused.exception)


def test_a_missing_requirement_is_said(arrays):
    """rcs over features alone is refused, and the message names what it needs."""
    got = command("select", "--features", arrays / "f.npy", "--fraction", 0.1, "--out", arrays / "c.npz")
    assert isinstance(got.exception, RequirementError)
    assert "needs gradients" in str(got.exception)


@pytest.mark.parametrize("words", [["--fraction", "0.1", "--count", "3"], [], ["--fraction", "1.5"]])
def test_wrong_usage_is_exit_code_2(arrays, words):
    """Both or neither of --fraction and --count, or a fraction beyond 1, is wrong usage."""
    got = command("select", "--features", arrays / "f.npy", "--selector", "random", *words, "--out", arrays / "c.npz")
    assert got.exit_code == 2


def test_an_unknown_ending_is_refused_before_any_work(arrays):
    """A file format that cannot be written is refused although the data does not even exist."""
    got = command("select", "--data", arrays / "nowhere", "--fraction", 0.1, "--out", arrays / "c.pt")
    assert "c.pt" in str(got.exception)


def test_a_refusal_is_one_line_and_exit_code_1(tmp_path):
    """Outside the process: the refusal is a single line on stderr, stdout is empty, the exit code 1."""
    words = [
        sys.executable,
        "-m",
        "coreselect.cli",
        "select",
        "--data",
        str(tmp_path / "no[where]"),
        "--fraction",
        "0.1",
    ]
    done = subprocess.run([*words, "--out", str(tmp_path / "c.npz")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("refused: ")
    assert "no[where]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_methods_lists_every_selector():
    """`methods` names every selector that `get_selector` knows, in words and in JSON."""
    from coreselect import list_selectors

    assert [m["name"] for m in json.loads(command("methods", "--json").stdout)] == list_selectors()
    assert "rs2" in command("methods").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--checkpoint", "w.pt"],
        ["--model", "a:b", "--features", "f.npy"],
        ["--validation", "1.5"],
    ],
)
def test_options_that_would_be_ignored_are_wrong_usage(tmp_path, words):
    """A checkpoint without a model, a model beside arrays, or 1.5 validation images are refused with exit code 2."""
    got = command("select", "--fraction", 0.1, *words, "--out", tmp_path / "a.npz")
    assert got.exit_code == 2


@pytest.mark.parametrize("option", ["--features", "--gradients", "--labels"])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.npy", b"", r"empty\.npy is not a readable \.npy array"),
        ("text.npy", b"1,2,3", r"text\.npy is not a readable \.npy array"),
        ("bundle.npz", {"a": np.eye(3)}, r"bundle\.npz is an \.npz archive by content; one array per \.npy file"),
        ("bundle.npy", {"a": np.eye(3)}, r"bundle\.npy is an \.npz archive by content"),
        ("words.npy", np.array(["a", "b"]), r"words\.npy: (features|gradients|labels) must be .*<U1 \[2\]"),
        ("cube.npy", np.zeros((2, 2, 2)), r"cube\.npy: .* must be"),
        ("none.npy", None, r"lacks none\.npy"),
    ],
)
def test_files_that_are_no_arrays_are_one_sentence_with_their_name(tmp_path, option, name, content, said):
    """Empty, cut, an archive under either ending, texts, another shape, or missing: the file's name is in the refusal."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        with path.open("wb") as file:
            np.savez(file, **content)
    elif content is not None:
        np.save(path, content)
    got = command("select", option, path, "--count", 1, "--out", tmp_path / "c.npz")
    assert isinstance(got.exception, CoreselectError), got.output
    assert re.search(said, str(got.exception))
    assert "\n" not in str(got.exception)


def test_a_folder_without_data_names_the_factory_as_the_way_out(tmp_path):
    """The refusal of another format says that package.module:factory can read it."""
    (tmp_path / "notes.txt").write_text("x")
    got = command("select", "--data", tmp_path, "--count", 1, "--out", tmp_path / "c.npz")
    assert isinstance(got.exception, DataError)
    assert "give package.module:factory" in str(got.exception)
