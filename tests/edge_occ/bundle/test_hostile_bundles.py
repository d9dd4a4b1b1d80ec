"""Bundles from strangers: refused in three lines, or they do what the bundle does that they were made from."""

import math
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fuzz_bundles import outcome, verdicts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import BASE, MANIFEST, mutated, pack, unpack, with_manifest, with_tensors

from edge_occ.bundle.bundle import read_bundle, write_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.errors import BundleRefused, InputError

MEMBERS = unpack(BASE)
HEAD, GOLDEN, INT8 = "head.safetensors", "golden.safetensors", "golden.int8.safetensors"


def refuse(members, tmp_path, match):
    with pytest.raises(BundleRefused, match=match):
        read_bundle(pack(members, tmp_path / "x.occ"))


def test_a_bundle_of_an_earlier_commit_verifies_and_tells_good_from_bad(right_precisions):
    """It was made by commit a8c75b7, before bundles were checked beyond their hashes."""
    bundle = read_bundle(BASE)
    assert bundle.precisions == ("fp32", "fp16", "int8")
    assert verdicts_of(bundle) == [False, True]
    for precision in right_precisions:
        load_engine(bundle, "cpu", precision).engine.close()


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_change_anywhere_is_refused_or_changes_no_verdict(seed):
    """``python tests/fuzz_bundles.py 10000`` tries more, and finds hangs too."""
    with tempfile.TemporaryDirectory() as folder:
        path = mutated(MEMBERS, random.Random(seed), Path(folder) / "x.occ")
        # A later ONNX than this runtime's is the one thing for which another runtime may help.
        assert outcome(path, [False, True]) in ("refused", "harmless", "status 4")


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf, 1e30, 0, -1, 9.9])
def test_the_threshold_is_that_of_the_held_out_scores(tmp_path, threshold):
    members = with_manifest(MEMBERS, calibration={"threshold": threshold})
    if isinstance(threshold, float) and not math.isfinite(threshold):
        assert b"NaN" in members[MANIFEST] or b"Infinity" in members[MANIFEST]
    refuse(members, tmp_path, "threshold|manifest")


@pytest.mark.parametrize(
    "calibration",
    [
        *({"n": 15}, {"n": 10**30}, {"expected": 1e-6}, {"upper_95": 1e-6}, {"certified": True}, {"median": 1e30}),
        *({"false_alarm_rate": 0.2}, {"false_alarm_rate": 0}, {"false_alarm_rate": 1e-320}),
    ],
)
def test_the_guarantee_is_that_of_the_held_out_scores(tmp_path, calibration):
    refuse(with_manifest(MEMBERS, calibration=calibration), tmp_path, "held-out|manifest")


@pytest.mark.parametrize(
    "scores",
    [
        *(np.zeros(0), np.zeros((4, 4)), np.array(1.0), np.full(16, np.nan), np.arange(16.0, dtype=np.float32)),
        *(np.zeros(16), -np.arange(16.0), np.full(16, 1e30), np.arange(16)),
    ],
)
def test_held_out_scores_are_a_list_that_a_threshold_can_follow_from(tmp_path, scores):
    members = with_tensors(MEMBERS, HEAD, held_out_scores=scores)
    if scores.shape == (16,):  # agreeing on a threshold that means nothing is no better
        own = {"threshold": float(scores.max()), "median": float(np.median(scores))}
        members = with_manifest(members, calibration=own)
    refuse(members, tmp_path, "held|manifest|threshold")


@pytest.mark.parametrize("tolerance", [1e30, 0.0011, 0, -1, math.nan, math.inf])
def test_no_bundle_widens_the_parity_gate(tmp_path, tolerance):
    refuse(with_manifest(MEMBERS, parity_tolerance={"fp32": tolerance}), tmp_path, "manifest")


def test_a_gate_may_be_narrower(tmp_path):
    members = with_manifest(MEMBERS, parity_tolerance={"fp32": 1e-4})
    assert read_bundle(pack(members, tmp_path / "x.occ")).tolerance() == 1e-4


def head(name):
    import safetensors.numpy

    return safetensors.numpy.load(MEMBERS[HEAD])[name]


@pytest.mark.parametrize(
    "tensors",
    [
        {"whitening": np.zeros_like(head("whitening"))},
        {"whitening": head("whitening") * (np.arange(3) > 0)[:, None, None, None]},  # blind in one row
        {"whitening": np.full_like(head("whitening"), np.nan)},
        {"mean": np.full_like(head("mean"), np.inf)},
        {"mean": head("mean").astype(np.float64)},
        {"mean": head("mean")[:, :, :4]},
        {"mean": head("mean")[:0]},
        {"whitening": None},
        {"surprise": np.ones(3, np.float32)},
        {"map_weights": np.ones(1, np.float32), "score_weights": np.ones(1, np.float32)},
    ],
)
def test_a_head_that_cannot_tell_frames_apart_or_is_of_another_graph(tmp_path, tensors):
    tensors = {name: value if value is None else value.astype(value.dtype) for name, value in tensors.items()}
    if "whitening" in tensors and tensors["whitening"] is not None:
        tensors["whitening"] = tensors["whitening"].astype(np.float32)
    refuse(with_tensors(MEMBERS, HEAD, **tensors), tmp_path, "head|Gaussian|gaussian|operators")


@pytest.mark.parametrize("deviation", [0, -1])
def test_no_score_is_divided_by_a_deviation_that_is_not_positive(tmp_path, deviation):
    scale = {name: np.ones(head("mean").shape[:2], np.float32) for name in ("log_mean", "log_deviation")}
    scale["log_deviation"][1, 2] = deviation
    refuse(with_tensors(MEMBERS, HEAD, **scale), tmp_path, "a head's log_deviation of finite numbers in their range")


GOOD = np.zeros((56, 56, 3), np.uint8)
SCORES, MAPS = np.arange(6, dtype=np.float32), np.ones((6, 48, 48), np.float32)


WRONG_FRAMES = [
    {"frame__0": GOOD.astype(np.float32)},
    {"frame__0": GOOD[0]},
    {"frame__0": GOOD[..., :1]},
    {"frame__0": GOOD[None]},
    {"frame__0": GOOD[:1]},
    {"frame__0": np.zeros((2, 5000, 3), np.uint8)},
    {"frame__0": None},
]
WRONG_RESULTS = [
    {"scores": np.array(1.0, np.float32)},
    {"scores": SCORES[:0]},
    {"scores": SCORES[:, None]},
    {"scores": SCORES.astype(np.float64)},
    {"scores": np.full(6, np.nan, np.float32)},
    {"scores": np.full(6, 3, np.float32)},
    {"scores": SCORES / np.float32(1e6)},  # far below the threshold: no frame could reach it
    {"scores": -SCORES},
    {"maps": MAPS[:5]},
    {"maps": MAPS[:, :47]},
    {"maps": MAPS[0]},
    {"maps": MAPS * np.float32(np.inf)},
    {"maps": MAPS.astype(np.float16)},
    {"maps": None},
]


@pytest.mark.parametrize(
    ("member", "tensors"),
    [*((GOLDEN, wrong) for wrong in (*WRONG_FRAMES, *WRONG_RESULTS)), *((INT8, wrong) for wrong in WRONG_RESULTS)],
)
def test_golden_frames_that_prove_nothing(tmp_path, member, tensors):
    refuse(with_tensors(MEMBERS, member, **tensors), tmp_path, "golden|score|map|tensors|threshold")


@pytest.mark.parametrize(
    "geometry",
    [
        *({"size": 10**9}, {"size": 0}, {"size": 56}, {"size": [64, 56]}, {"size": [64]}, {"size": True}),
        *({"grid": [3, 10**9]}, {"grid": [4, 3]}, {"window": -1}),
        *({"stride": 20}, {"branch": 7}, {"exact": False}, {"frame": [10**9, 56]}),
    ],
)
def test_geometry_is_that_of_the_graphs(tmp_path, geometry):
    refuse(with_manifest(MEMBERS, geometry=geometry), tmp_path, "manifest|maps|operators")


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 100_000,
        b'{"format": 1' + b"0" * 5000 + b"}",
        b'{"format": "\\ud800"}',
        b'{"format": 3, "metrics": {"a": NaN}}',
    ],
)
def test_json_that_no_reader_should_have_to_bear(tmp_path, manifest):
    members = {**MEMBERS, MANIFEST: manifest}
    with pytest.raises(BundleRefused):
        read_bundle(pack(members, tmp_path / "x.occ", agree=False))


@pytest.mark.parametrize("value", [1e999, -1e999, "\ud800"])
def test_what_json_cannot_print_is_refused_in_free_fields_too(tmp_path, value):
    members = with_manifest(MEMBERS, training={"config": {"anything": [value]}})
    members[MANIFEST] = members[MANIFEST].replace(b"Infinity", b"1e999")
    refuse(members, tmp_path, "manifest")


@pytest.mark.parametrize(("card", "words"), [("für".encode("latin-1"), "UTF-8"), (b"#" * 2_000_000, "at most")])
def test_a_model_card_that_cannot_be_shown(tmp_path, card, words):
    refuse({**MEMBERS, "MODEL_CARD.md": card}, tmp_path, words)


def test_a_safetensors_header_as_long_as_a_file(tmp_path):
    data = (2 << 20).to_bytes(8, "little") + b" " * (2 << 20)
    refuse({**MEMBERS, HEAD: data}, tmp_path, "header")


def test_a_bundle_that_would_be_refused_is_not_written(tmp_path):
    bundle = read_bundle(BASE)
    manifest = bundle.manifest.model_dump(exclude={"members"})
    manifest["calibration"]["threshold"] *= 2
    with pytest.raises(BundleRefused, match="threshold"):
        write_bundle(tmp_path / "x.occ", manifest, bundle.members)
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_digest_is_refused_unread(tmp_path):
    import hashlib

    digest = hashlib.sha256(BASE.read_bytes()).hexdigest()
    assert read_bundle(BASE, digest).manifest == read_bundle(BASE, digest.upper()).manifest
    other = tmp_path / "x.occ"
    other.write_bytes(b"no bundle at all")
    with pytest.raises(BundleRefused, match=f"sha256 {digest}"):
        read_bundle(other, digest)
    for wrong in ("", digest[1:], f"sha256:{digest}", "z" * 64):
        with pytest.raises(InputError, match="64 hexadecimal digits"):
            read_bundle(BASE, wrong)
