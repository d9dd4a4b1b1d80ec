"""The fakes in the places of pycuda, cuda-bindings and libcuda."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fakes import cuda, cuda_bindings, libcuda, pycuda

PACKAGES = {"pycuda": pycuda.modules, "cuda-bindings": cuda_bindings.modules}


@contextmanager
def installed(
    packages: Collection[str] = tuple(PACKAGES), *, driver: bool = True, missing: tuple[str, ...] = (), **options: Any
) -> Iterator[cuda.Gpu]:
    """A machine with these Python packages and a GPU; at the end, that nothing leaked and no rule was broken.

    Args:
        packages: of :data:`PACKAGES`; importing the others fails.
        driver: whether there is a ``libcuda.so.1`` at all.
        missing: functions that it is too old to have.
        options: fields of :class:`fakes.cuda.Gpu`, say ``integrated=True`` or ``memory=1 << 20``.
    """
    gpu = cuda.Gpu(**options)
    cuda._installed.append(gpu)
    with pytest.MonkeyPatch.context() as patch:
        for name, modules in PACKAGES.items():
            for module, fake in modules().items():
                patch.setitem(sys.modules, module, fake if name in packages else None)
        patch.setattr(
            "engines.cuda.libcuda.load_libcuda", lambda: libcuda.Library(missing) if driver else libcuda.no_library()
        )
        try:
            yield gpu
            gpu.check()
        finally:
            gpu.installed = False
            cuda._installed.pop()
