"""The two-stage paper's data sets and its protocols of one class against the rest."""

from __future__ import annotations

from edge_occ.common.errors import InputError
from trainer.protocols.cat_vs_dog import CAT_VS_DOG
from trainer.protocols.celeba import CELEBA
from trainer.protocols.cifar import CIFAR10, CIFAR100
from trainer.protocols.data_set import DataSet, OneClass
from trainer.protocols.fashion_mnist import FASHION_MNIST

__all__ = ["PROTOCOLS", "DataSet", "OneClass", "find_protocol"]

PROTOCOLS: dict[str, DataSet] = {each.name: each for each in (CIFAR10, CIFAR100, FASHION_MNIST, CAT_VS_DOG, CELEBA)}
"""The data sets by the names of their tables."""


def find_protocol(name: str) -> DataSet:
    """Return a data set with its protocol, for ``find_protocol(name).load(folder, category)``.

    Raises:
        InputError: the name is unknown; the message lists the known ones.
    """
    if name not in PROTOCOLS:
        raise InputError(f"a data set of {', '.join(PROTOCOLS)}", repr(name), "choose one of them")
    return PROTOCOLS[name]
