"""NVIDIA's ``tensorrt`` package as it is in one version, computing with ONNX Runtime on the memory of ``fakes.cuda``.

Strict: no class has, and no object takes, a name that is not in ``tests/data/trt_api_names.json`` for the version.  It
fails as the real one fails: with ``False``, ``None`` and words in the log, seldom with an exception.  What would end
the interpreter in reality is a fault of the fake GPU.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from fakes import cuda, tensorrt_builder, tensorrt_runtime

NAMES = json.loads((Path(__file__).parents[1] / "data" / "trt_api_names.json").read_text())["versions"]
ENUMERATIONS = (
    "BuilderFlag",
    "DataType",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "ProfilingVerbosity",
    "TensorIOMode",
)
ITEM_SIZES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "INT32": 4, "INT64": 8, "INT8": 1, "UINT8": 1, "BOOL": 1, "FP8": 1}
Severity = enum.Enum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})


@dataclass
class FakeTensorRT:
    """One version of the package, and the ways in which a test may make it fail.

    Attributes:
        module: what ``import tensorrt`` gives.
        parser_errors: what the parser is to complain of.
        build_error: makes the builder give nothing, and say this.
        null_engine, null_context, refuse_enqueue: make these calls fail, and say this.
        scale: factor on all results, for an engine that computes something else.
        builds: the settings of every build.
        dropped: kinds of TensorRT objects that are gone, in order.
        alive: TensorRT objects that exist.
        enqueued: number of accepted enqueues.
    """

    version: str
    parser_errors: list[str] = field(default_factory=list)
    build_error: str = ""
    null_engine: str = ""
    null_context: str = ""
    refuse_enqueue: str = ""
    scale: float = 1.0
    builds: list[dict] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    enqueued: int = 0

    def __post_init__(self):
        self.names = NAMES[self.version]
        self.module = ModuleType("tensorrt")
        vars(self.module).update(__version__=self.version)
        for name in ENUMERATIONS:
            self._export(self._enumeration(name), name)
        self.module.DataType.itemsize = property(lambda self: ITEM_SIZES[self.name])
        natives = [*tensorrt_builder.CLASSES, *tensorrt_runtime.CLASSES]
        for template in (ILogger, IProgressMonitor, *natives):
            name = template.__name__
            unknown = {key for key in vars(template) if not key.startswith("_")} - set(self.names["classes"][name])
            assert not unknown, f"{name} of TensorRT {self.version} has no {unknown}"
            bases = (template, Native) if template in natives else (template,)
            self._export(type(name, bases, {"_fake": self}), name)

    @property
    def major_minor(self):
        return tuple(int(part) for part in self.version.split(".")[:2])

    def fail(self, logger, text):
        """Fail as the real calls do: log the reason and return nothing."""
        logger.log(Severity.ERROR, text)

    def _enumeration(self, name):
        members = [member for member in self.names["classes"][name] if member not in {"name", "value", "itemsize"}]
        enumeration: Any = enum.Enum  # mypy wants the name of an enumeration as a literal
        made = enumeration(name, {member: number for number, member in enumerate(members)})
        made.__int__ = made.__index__ = lambda self: self.value
        return made

    def _export(self, value, name):
        assert name in self.names["top_level"], f"TensorRT {self.version} has no {name}"
        setattr(self.module, name, value)


class Native:
    """An object of the library: takes no foreign attributes, needs the context while it is made and dropped."""

    _fake: FakeTensorRT
    _gpu: cuda.Gpu

    def __new__(cls, *arguments):
        made = super().__new__(cls)
        made._gpu = cuda.gpu()
        if not made._gpu.stack:
            made._gpu.fault(f"{cls.__name__} made without a context")
        made._fake.alive.add(f"{cls.__name__} {id(made)}")
        return made

    def __setattr__(self, name, value):
        if not name.startswith("_") and name not in self._fake.names["classes"][type(self).__name__]:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        object.__setattr__(self, name, value)

    def __del__(self):
        kind = type(self).__name__
        self._fake.alive.discard(f"{kind} {id(self)}")
        self._fake.dropped.append(kind)
        if not self._gpu.stack:
            self._gpu.fault(f"{kind} dropped without a context")


class Overridable:
    """Made to be derived from; like pybind11, it wants its own ``__init__`` called."""

    _initialised = False

    def __init__(self):
        self._initialised = True


class ILogger(Overridable):
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def log(self, severity, msg):
        raise AssertionError("to be overridden, as the real one must be")


class IProgressMonitor(Overridable):
    def phase_start(self, phase_name, parent_phase, num_steps):
        raise AssertionError("to be overridden, as the real one must be")

    def step_complete(self, phase_name, step):
        raise AssertionError("to be overridden, as the real one must be")

    def phase_finish(self, phase_name):
        raise AssertionError("to be overridden, as the real one must be")
