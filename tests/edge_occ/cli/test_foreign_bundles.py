"""Commands on bundles from elsewhere: digest, texts and faults."""

import hashlib
import json

import pytest
from mutations import BASE, of_later_onnx, pack, unpack, with_manifest
from typer.testing import CliRunner

from edge_occ.cli import app

MEMBERS = unpack(BASE)


def edge_occ(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result, code, *words):
    """Three lines, and nothing that a terminal would act on."""
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ["expected", "found", "next"], result.stderr
    assert not set(result.output) & set("\x1b\x9b\u202e")
    for word in words:
        assert word in result.stderr


def arguments(command, bundle, tiny_data):
    good = tiny_data / "test" / "good"
    more = {
        "score": [good],
        "evaluate": ["--data", tiny_data],
        "run": ["--source", good, "--no-mqtt", "--max-frames", 1],
        "bench": ["--frames", 10],
    }
    return [command, *(["--bundle"] if command == "run" else []), bundle, *more.get(command, [])]


@pytest.mark.parametrize(
    "command", ["run", "verify", "compile", "score", "bench", pytest.param("evaluate", marks=pytest.mark.train)]
)
def test_a_bundle_of_another_digest_is_refused_by_every_command(command, tiny_data, tmp_path):
    line = arguments(command, BASE, tiny_data)
    digest = hashlib.sha256(BASE.read_bytes()).hexdigest()
    refused(edge_occ(*line, "--sha256", "0" * 64), 3, digest)
    refused(edge_occ(*line, "--sha256", "12ab"), 2, "64 hexadecimal digits")
    right = edge_occ(*line, "--sha256", digest)
    # The pictures are larger than those that this bundle was trained on, which is for evaluate to refuse.
    assert right.exit_code == (2 if command == "evaluate" else 0), right.output
    assert digest not in right.stderr


def test_words_of_a_bundle_are_shown_not_obeyed(tmp_path):
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    members = {**MEMBERS, "MODEL_CARD.md": f"# Card {evil}\n\nend".encode()}
    result = edge_occ("inspect", pack(members, tmp_path / "x.occ"))
    assert result.exit_code == 0
    assert "# Card \\x1b]0;owned\\x07\\u009b31m\\u202e\n\nend\n" in result.stdout
    named = pack({**MEMBERS, f"{evil}\n.onnx": b""}, tmp_path / "y.occ")
    refused(edge_occ("verify", named), 3, "\\x1b")
    refused(edge_occ("verify", pack(with_manifest(MEMBERS, metrics={evil: "x"}), tmp_path / "z.occ")), 3, "metrics")
    refused(edge_occ("verify", tmp_path / f"no{evil}.occ"), 2, "\\x1b")


def test_names_of_pictures_are_shown_not_obeyed(tiny_data, tmp_path):
    name = "a\x1b[2J\nb.png"
    (tmp_path / name).write_bytes((tiny_data / "test" / "good" / "000.png").read_bytes())
    scored = edge_occ("score", BASE, tmp_path)
    assert scored.exit_code == 0
    assert "a\\x1b[2J\\nb.png" in scored.stdout
    assert len(scored.stdout.splitlines()) == 1
    ran = edge_occ("score", BASE, tmp_path, "--json")
    assert json.loads(ran.stdout)["path"].endswith(name)


def test_a_model_card_that_is_not_utf8(tmp_path):
    bundle = pack({**MEMBERS, "MODEL_CARD.md": "für".encode("latin-1")}, tmp_path / "x.occ")
    refused(edge_occ("inspect", bundle), 3, "MODEL_CARD.md in UTF-8")


@pytest.mark.parametrize(("part", "other"), [(b"Relu", b"Rely"), (b"strides", b"stridez"), (b"div_", b"xiv_")])
def test_a_graph_that_nothing_could_run_is_the_bundles_fault(tmp_path, part, other):
    graph = MEMBERS["graph.fp32.onnx"]
    changed = graph.replace(part, other, 1)
    assert changed != graph
    refused(edge_occ("verify", pack({**MEMBERS, "graph.fp32.onnx": changed}, tmp_path / "x.occ")), 3)


def test_a_graph_of_a_later_onnx_needs_a_later_engine(tmp_path):
    members = {**MEMBERS, "graph.fp32.onnx": of_later_onnx(MEMBERS["graph.fp32.onnx"])}
    refused(edge_occ("verify", pack(members, tmp_path / "x.occ"), "--engine", "cpu"), 4, "pip install -U onnxruntime")
