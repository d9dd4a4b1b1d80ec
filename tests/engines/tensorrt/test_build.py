"""The builder's configuration: against the strict fake of several versions, and NVIDIA's own parser and builder."""

import pytest
from fakes.install import installed
from fakes.tensorrt import FakeTensorRT
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.bundle import ENCODER_GRAPH, read_bundle
from engines.cuda.pycuda import open_driver
from engines.errors import EngineUnavailable
from engines.tensorrt.api import with_logger
from engines.tensorrt.build import BuildRequest, Phases, build_plan

VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106")


@pytest.fixture(scope="session")
def onnx(tiny_bundle):
    return read_bundle(tiny_bundle).graph().onnx


@pytest.fixture
def context():
    """A CUDA context, as the engine opens it."""
    with installed():
        driver = open_driver("auto", spin=False)
        yield
        driver.close()


def request_of(onnx, **changes):
    return BuildRequest(**{"onnx": onnx, "frame": (96, 96), "max_frame": (240, 320), "workspace": 99, **changes})


def ignore(done):
    pass


@pytest.mark.parametrize("version", VERSIONS)
def test_a_strongly_typed_plan(context, onnx, version):
    fake = FakeTensorRT(version)
    reported = []
    built = build_plan(with_logger(fake.module), request_of(onnx, timings=b"earlier "), reported.append)
    assert onnx in built.plan
    (build,) = fake.builds
    assert build == {
        "version": version,
        "strong": True,
        "half": False,
        "tf32": False,
        "shapes": {"frame": [[2, 2, 3], [96, 96, 3], [240, 320, 3]]},
        "workspace": 99,
        "timings": "earlier ",
        "verbosity": "DETAILED",
    }
    assert built.timings == b"earlier timed "
    assert reported == sorted(reported)
    assert len(reported) >= 20
    assert reported[-1] == 1.0
    assert not fake.alive


def test_a_timing_cache_of_another_gpu_is_not_used(context, onnx):
    fake = FakeTensorRT("10.16.1.11")
    built = build_plan(with_logger(fake.module), request_of(onnx, timings=b"foreign "), ignore)
    assert built.timings == b"timed "


@pytest.mark.parametrize("rubbish", [b"xx", b"this is no model either"])
def test_rubbish_is_not_built(context, rubbish):
    fake = FakeTensorRT("10.3.0")
    with pytest.raises(EngineUnavailable, match="can parse"):
        build_plan(with_logger(fake.module), request_of(rubbish), ignore)
    assert not fake.builds
    assert not fake.alive


def test_a_graph_of_other_tensors_is_not_built(context, tiny_bundle, onnx):
    encoder = read_bundle(tiny_bundle).members[ENCODER_GRAPH]
    for other, found in (
        (encoder, r"inputs \['images'\], outputs \['features'\]"),
        (onnx.replace(b"whitening", b"blackness"), "blackness"),
    ):
        with pytest.raises(EngineUnavailable, match=found):
            build_plan(with_logger(FakeTensorRT("10.3.0").module), request_of(other), ignore)


def test_the_parsers_words_are_reported(context, onnx):
    fake = FakeTensorRT("11.4.0.106", parser_errors=["In node 4 (parseNode): UNSUPPORTED_NODE: no importer"])
    with pytest.raises(EngineUnavailable, match=r"TensorRT 11\.4\.0\.106: In node 4 .*UNSUPPORTED_NODE"):
        build_plan(with_logger(fake.module), request_of(onnx), ignore)


@pytest.mark.parametrize(
    ("said", "advice"),
    [("Error Code 10: Internal Error (no implementation)", "report this"), ("Error Code 2: OutOfMemory", "max_frame")],
)
def test_a_build_that_gives_nothing_is_reported_in_tensorrts_words(context, onnx, said, advice):
    fake = FakeTensorRT("10.16.1.11", build_error=said)
    with pytest.raises(EngineUnavailable, match=advice) as caught:
        build_plan(with_logger(fake.module), request_of(onnx), ignore)
    assert said in caught.value.found
    assert not fake.alive, "the error must not keep the builder"


def test_words_of_an_earlier_failure_are_not_reported_again(context, onnx):
    fake = FakeTensorRT("10.16.1.11", build_error="first")
    api = with_logger(fake.module)
    api.errors.append("older")
    with pytest.raises(EngineUnavailable, match="first") as caught:
        build_plan(api, request_of(onnx), ignore)
    assert "older" not in caught.value.found


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_stops_the_progress_stops_the_build(context, onnx, error):
    fake = FakeTensorRT("10.3.0")

    def stop(done):
        raise error

    with pytest.raises(error):
        build_plan(with_logger(fake.module), request_of(onnx), stop)
    assert not fake.builds
    assert not fake.alive


@given(st.lists(st.tuples(st.sampled_from("sef"), st.sampled_from("abc"), st.integers(0, 9)), max_size=60))
def test_progress_grows_within_bounds_whatever_the_order_of_phases(calls):
    reported = []
    phases = Phases(reported.append)
    parents = {"a": None, "b": "a", "c": "b"}
    for what, name, number in calls:
        if what == "s":
            phases.start(name, parents[name], number)
        elif what == "e":
            phases.step(name, number)
        else:
            phases.finish(name)
    assert reported == sorted(reported)
    assert all(0 < done <= 1 for done in reported)


def test_progress_counts_phases_within_phases():
    reported = []
    phases = Phases(reported.append)
    phases.start("build", None, 2)
    phases.step("build", 0)
    phases.start("tactics", "build", 4)
    for step in range(4):
        phases.step("tactics", step)
    phases.finish("tactics")
    phases.step("build", 1)
    assert reported == [0.5, 0.625, 0.75, 0.875, 1.0]


# -- NVIDIA's own parser and builder: TensorRT-RTX, which builds without a GPU ----------------------------------------


def for_sm86(config, rtx):
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM86, 0)


# TensorRT-RTX has the timing cache in name only, and says so.
@pytest.mark.filterwarnings("ignore:.*[Tt]iming cache.*:DeprecationWarning")
class TestRealBuilder:
    @pytest.fixture
    def rtx(self):
        return pytest.importorskip("tensorrt_rtx_bindings")

    def test_the_graph_is_compiled_for_frames_of_any_size(self, rtx, onnx):
        reported = []
        built = build_plan(
            with_logger(rtx), request_of(onnx, workspace=1 << 30), reported.append, lambda config: for_sm86(config, rtx)
        )
        assert len(built.plan) > 10_000
        assert reported == sorted(reported)
        assert reported[-1] > 0.5

    def test_rubbish_is_not_built(self, rtx):
        with pytest.raises(EngineUnavailable, match=r"inputs \[\]"):
            build_plan(with_logger(rtx), request_of(b"xx"), ignore)

    def test_ctrl_c_stops_the_build(self, rtx, onnx):
        def stop(done):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_plan(
                with_logger(rtx), request_of(onnx, workspace=1 << 30), stop, lambda config: for_sm86(config, rtx)
            )

    def test_a_profile_it_does_not_accept_is_reported(self, rtx, onnx):
        with pytest.raises(EngineUnavailable, match="addOptimizationProfile"):
            build_plan(
                with_logger(rtx), request_of(onnx, frame=(400, 96)), ignore, lambda config: for_sm86(config, rtx)
            )
