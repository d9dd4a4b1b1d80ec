"""The half of the fake ``tensorrt`` that makes plans; see ``fakes.tensorrt``."""

from __future__ import annotations

import json

from fakes.tensorrt_runtime import MAGIC, Template, session_of


class IHostMemory(Template):
    def __init__(self, data):
        self._data = data

    def __bytes__(self):
        return self._data

    nbytes = property(lambda self: len(self._data))


class ITimingCache(Template):
    def __init__(self, data):
        self._data = data

    def serialize(self):
        return self._fake.module.IHostMemory(self._data)


class IOptimizationProfile(Template):
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):  # noqa: A002
        if not all(0 <= a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError("inconsistent shapes")
        self._shapes[input] = [list(min), list(opt), list(max)]


class IBuilderConfig(Template):
    def __init__(self):
        module = self._fake.module
        self._flags, self._profiles, self._pools, self._timing = {module.BuilderFlag.TF32}, [], {}, None
        self.progress_monitor = None
        self.profiling_verbosity = module.ProfilingVerbosity.LAYER_NAMES_ONLY

    def set_memory_pool_limit(self, pool, pool_size):
        assert isinstance(pool, self._fake.module.MemoryPoolType)
        self._pools[pool.name] = int(pool_size)

    def set_flag(self, flag):
        assert isinstance(flag, self._fake.module.BuilderFlag)
        self._flags.add(flag)

    def clear_flag(self, flag):
        assert isinstance(flag, self._fake.module.BuilderFlag)
        self._flags.discard(flag)

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        return self._fake.module.ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._data.startswith(b"foreign") and not ignore_mismatch:
            return False
        self._timing = cache
        return True

    def get_timing_cache(self):
        return self._timing


class ITensor(Template):
    def __init__(self, tensor):
        self._tensor = tensor

    name = property(lambda self: self._tensor.name)


class INetworkDefinition(Template):
    def __init__(self, strong):
        self._strong, self._onnx, self._inputs, self._outputs = strong, b"", [], []

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index):
        return self._fake.module.ITensor(self._inputs[index])

    def get_output(self, index):
        return self._fake.module.ITensor(self._outputs[index])


class OnnxParser(Template):
    def __init__(self, network, logger):
        assert logger._initialised, "pybind11: the logger's base was not initialised"
        self._network, self._errors = network, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        if len(model) < 8:  # as the real one does with rubbish: parsed, no error, an empty network
            return True
        self._errors = list(self._fake.parser_errors)
        try:
            session = session_of(bytes(model))
        except Exception:  # noqa: BLE001
            self._errors.append("In node -1 (parse): INVALID_GRAPH: no model")
        if self._errors:
            return False
        self._network._onnx = bytes(model)
        self._network._inputs, self._network._outputs = session.get_inputs(), session.get_outputs()
        return True


class Builder(Template):
    def __init__(self, logger):
        assert logger._initialised, "pybind11: the logger's base was not initialised"
        self._logger = logger

    def create_network(self, flags=0):
        strong = bool(flags & 1 << int(self._fake.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        return self._fake.module.INetworkDefinition(strong or self._fake.major_minor >= (11, 0))

    def create_builder_config(self):
        return self._fake.module.IBuilderConfig()

    def create_optimization_profile(self):
        return self._fake.module.IOptimizationProfile()

    def build_serialized_network(self, network, config):
        fake, flags = self._fake, {flag.name for flag in config._flags}
        if network._strong and "FP16" in flags:
            return fake.fail(self._logger, "Error Code 3: API Usage Error (FP16 in a strongly typed network)")
        if not network._outputs:
            return fake.fail(self._logger, "Error Code 4: API Usage Error (Network must have at least one output.)")
        if len(config._profiles) != 1:
            return fake.fail(self._logger, "Error Code 4: Internal Error (Network has dynamic inputs, but no profile.)")
        if not run_phases(config.progress_monitor):
            return fake.fail(self._logger, "Error Code 7: BuildCanceled (Build canceled by user)")
        if fake.build_error:
            return fake.fail(self._logger, fake.build_error)
        settings = {
            "version": fake.version,
            "strong": network._strong,
            "half": "FP16" in flags,
            "tf32": "TF32" in flags,
            "shapes": config._profiles[0]._shapes,
            "workspace": config._pools["WORKSPACE"],
            "timings": config._timing._data.decode(),
            "verbosity": config.profiling_verbosity.name,
        }
        fake.builds.append(settings)
        config._timing._data += b"timed "
        header = json.dumps(settings).encode()
        return fake.module.IHostMemory(MAGIC + len(header).to_bytes(4, "little") + header + network._onnx)


def run_phases(monitor):
    """Two nested phases, the inner one begun anew in every step of the outer."""
    assert monitor._initialised, "pybind11: the monitor's base was not initialised"
    monitor.phase_start("Building engine", None, 4)
    for outer in range(4):
        monitor.phase_start("Timing tactics", "Building engine", 5)
        for inner in range(5):
            if not call(monitor.step_complete, "Timing tactics", inner):
                monitor.phase_finish("Timing tactics")
                monitor.phase_finish("Building engine")
                return False
        monitor.phase_finish("Timing tactics")
        monitor.step_complete("Building engine", outer)
    monitor.phase_finish("Building engine")
    return True


def call(callback, *arguments):
    """As the bindings call back: what is raised is printed, and forgotten."""
    try:
        return callback(*arguments)
    except BaseException:  # noqa: BLE001
        return False


CLASSES = (
    IHostMemory,
    ITimingCache,
    IOptimizationProfile,
    IBuilderConfig,
    ITensor,
    INetworkDefinition,
    OnnxParser,
    Builder,
)
