"""A bundle's engine on this machine."""

from dataclasses import replace

import numpy as np
import pytest
from fakes.jetson import frame_of, machine

from edge_occ.bundle import pre_stage
from edge_occ.bundle.bundle import GOLDEN, Bundle, read_bundle
from edge_occ.bundle.downscale import downscale
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.tensors import golden_member
from engines import select
from engines.base import EngineOptions
from engines.errors import ParityFailure, UserError
from engines.onnxruntime import OnnxRuntimeEngine


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


def test_every_precision_runs_or_is_refused_by_the_gate(bundle, right_precisions):
    assert bundle.precisions == ("fp32", "fp16", "int8")
    for precision in bundle.precisions:
        try:
            loaded = load_engine(bundle, "cpu", precision)
        except ParityFailure:
            assert precision not in right_precisions
            continue
        assert loaded.engine.precision == precision
        assert loaded.summary.startswith(f"engine cpu {precision} (onnxruntime ")
        assert loaded.summary.endswith(f"{max(loaded.parity.score_error, loaded.parity.map_error):.1e}")
        loaded.engine.close()


def test_a_precision_that_is_not_there_is_reported(bundle):
    with pytest.raises(UserError, match="which are in the bundle"):
        load_engine(bundle, "cpu", "fp8")


@pytest.fixture(scope="module")
def before(bundle):
    """The same, as it was made before frames were downscaled."""
    return changed(bundle, downscaling=None)


def changed(bundle, members=None, **geometry):
    manifest = bundle.manifest.model_copy(update={"geometry": bundle.manifest.geometry.model_copy(update=geometry)})
    return Bundle(manifest, {**bundle.members, **(members or {})})


def enlarged(bundle, times):
    """With golden frames that downscaling makes what they were, so that their reference stays true."""
    golden = bundle.golden()
    frames = [frame.repeat(times, axis=0).repeat(times, axis=1) for frame in golden.frames]
    return changed(bundle, {GOLDEN: golden_member(replace(golden, frames=frames))})


def asked_of(bundle, monkeypatch, **options):
    """With what options a bundle's engine is opened."""
    asked = []

    def open_engine(name, candidates, precision, options, **_):
        asked.append(options)
        return real(name, candidates, precision, options)

    real = select.open_engine
    monkeypatch.setattr("edge_occ.bundle.loading.open_engine", open_engine)
    load_engine(bundle, "cpu", options=EngineOptions(**options)).engine.close()
    return asked[0]


def test_an_engine_is_built_for_the_frames_of_the_training_and_the_gate(before, monkeypatch):
    options = asked_of(before, monkeypatch, max_frame=(50, 4000))
    sizes = np.array([frame.shape[:2] for frame in before.golden().frames])
    assert options.frame == before.manifest.geometry.frame == (112, 112)
    assert options.max_frame == (max(sizes[:, 0]), 4000)


@pytest.mark.parametrize("name", ["cpu", "openvino", "opencv"])
def test_no_engine_takes_more_threads_than_there_are_processors(bundle, name):
    if name == "openvino":
        pytest.importorskip("openvino")
    with pytest.raises(UserError, match="threads, as this machine has"):
        load_engine(bundle, name, options=EngineOptions(threads=100_000))


@pytest.mark.parametrize(
    ("camera", "usual"), [((112, 112), (112, 112)), ((2160, 3840), (135, 120)), ((1081, 96), (135, 96)), (None, None)]
)
def test_where_frames_are_downscaled_it_is_built_for_what_is_left(bundle, monkeypatch, camera, usual):
    large = changed(enlarged(bundle, 4), frame=camera)
    options = asked_of(large, monkeypatch, max_frame=(50, 4000))
    assert options.frame == (usual or bundle.golden().frames[0].shape[:2])
    assert options.max_frame == (191, 191)


@pytest.mark.parametrize("size", [(96, 96), (191, 190), (192, 100), (1080, 1920), (401, 777)])
def test_large_frames_are_downscaled_before_the_graph(bundle, size):
    frame, graph = frame_of(*size), OnnxRuntimeEngine(bundle.graph())
    loaded = load_engine(bundle, "cpu")
    expected, found = graph.infer(downscale(frame, (96, 96))), loaded.engine.infer(frame)
    assert found.score == expected.score
    np.testing.assert_array_equal(found.map, expected.map)
    large = max(size) >= 2 * 96
    assert (found.score != graph.infer(frame).score) == large
    loaded.engine.close()


def test_a_bundle_made_before_gets_its_frames_as_they_are(before):
    frame = frame_of(500, 400)
    loaded = load_engine(before, "cpu")
    assert loaded.engine.infer(frame).score == OnnxRuntimeEngine(before.graph()).infer(frame).score
    loaded.engine.close()


def test_the_gate_is_passed_by_downscaled_frames_alone(bundle, monkeypatch):
    large = enlarged(bundle, 4)
    load_engine(large, "cpu").engine.close()
    with pytest.raises(ParityFailure):
        load_engine(changed(large, downscaling=None), "cpu")
    monkeypatch.setattr(pre_stage, "downscale", lambda frame, size: frame[: 2 * size[0] : 2, ::4])
    with pytest.raises(ParityFailure):
        load_engine(large, "cpu")


def test_an_engine_that_was_built_takes_frames_of_any_size(bundle, before, tmp_path):
    options = EngineOptions(cache=tmp_path, max_frame=(240, 320))
    frames = [frame_of(*size) for size in ((2160, 3840), (64, 64), (191, 191), (3000, 100))]
    expected = [load_engine(bundle, "cpu").engine.infer(frame).score for frame in frames]
    with machine() as (fake, _):
        engine = load_engine(bundle, "tensorrt", "fp32", options).engine
        assert [engine.infer(frame).score for frame in frames] == expected
        assert fake.builds[0]["shapes"]["frame"] == [[2, 2, 3], [112, 112, 3], [191, 191, 3]]
        engine.close()
        engine = load_engine(before, "tensorrt", "fp32", options).engine
        with pytest.raises(UserError, match=r"engine\.max_frame"):
            engine.infer(frames[0])
        engine.close()
