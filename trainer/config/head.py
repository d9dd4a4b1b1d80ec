"""Settings of the one-class heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from edge_occ.bundle.covariance import Regulariser
from edge_occ.bundle.sample_grid import Scope, pooled_side
from trainer.config.section import Section

HeadKind = Literal["gaussian", "kde", "ocsvm", "ocsvm-linear", "nearest", "knn"]
"""One-class classifiers."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, (str, bool)) else value


class HeadConfig(Section):
    """One-class heads: Gaussian density estimation on window features (CutPaste, sections 2.4 and A.5), or a one-class
    classifier of the two-stage paper.
    """

    renamed: ClassVar[Mapping[str, str]] = {"beside": "further_kinds"}

    kind: HeadKind = Field(
        "gaussian",
        description="One-class classifier: gaussian, kernel density (kde), support vectors with an RBF or a linear "
        "kernel (ocsvm, ocsvm-linear), the nearest normal feature by angle (nearest), or the nearest ones by distance "
        "(knn); all but gaussian need head.scope=shared.",
    )
    scope: Annotated[tuple[Scope, ...], BeforeValidator(_several)] = Field(
        ("per-position",),
        min_length=1,
        description="Positions that share a Gaussian: all (shared), none (per-position, for aligned parts), or all "
        "share the covariance but not the mean (position-mean); a list makes one head for each, fused.",
    )
    standardise: Annotated[tuple[bool, ...], BeforeValidator(_several)] = Field(
        (False,),
        min_length=1,
        description="Whether to measure each position by the mean and deviation of its own scores on held-out normal "
        "images; kind gaussian only; a list has a value for each of head.scope.",
    )
    in_region: Annotated[tuple[bool, ...], BeforeValidator(_several)] = Field(
        (True,),
        min_length=1,
        description="Whether to inspect only the positions of region.mode; a list has a value for each of head.scope.",
    )
    further_kinds: Annotated[tuple[HeadKind, ...], BeforeValidator(_several)] = Field(
        (),
        description="Kinds of further heads on the same features, each shared by all positions; fusion.score_weights "
        "and fusion.map_weights weigh them.",
    )
    dim: int = Field(
        100, ge=2, le=2048, description="Number of features after the fixed orthogonal projection, 2 to 2048."
    )
    l2: bool = Field(False, description="Whether to divide features by their length first, as the papers' code does.")
    regulariser: Regulariser = Field(
        "ledoit-wolf",
        description="Regularisation of the covariance: shrinkage (ledoit-wolf, oas), a constant on the diagonal "
        "(ridge), one variance for all but the head.components directions of largest variance (low-rank), or only the "
        "directions of smallest variance (low-variance; NPCA).",
    )
    components: int | None = Field(
        None,
        ge=1,
        description="Number of directions kept with regulariser=low-rank or low-variance, 1 to below head.dim.",
    )
    ridge: float = Field(
        1e-6,
        gt=0,
        description="Constant added to the diagonal with regulariser=ridge, above 0 (scikit-learn's reg_covar).",
    )
    floor: float = Field(
        0.01,
        ge=0,
        description="Variance added to every feature, as a share of its variance over all positions, at least 0; it "
        "keeps dust and fp16 rounding from raising scores where features hardly vary (CutPaste: 0).",
    )
    neighbourhood: int | Literal["auto"] = Field(
        "auto",
        description="Number of rows and columns of positions, odd, whose samples a per-position Gaussian pools; auto: "
        "the smallest of 1, 3 and 5 that gives two samples a dimension, else 5.",
    )
    trim: float = Field(
        0,
        ge=0,
        le=0.5,
        description="Share of the samples at each position that a Gaussian is fitted without, the farthest from a "
        "first fit, 0 to 0.5, for images that may show defects; 0: none. The threshold still counts every image.",
    )
    references: int = Field(
        2048,
        ge=1,
        le=20_000,
        description="Maximum number of features that a kind other than gaussian is fitted on, 1 to 20,000; time and "
        "size of the graph grow with it (two-stage paper's code: 20,000).",
    )

    neighbours: int = Field(
        3,
        ge=1,
        le=100,
        description="Number of nearest normal features whose mean squared distance is the score of kind knn, 1 to 100.",
    )

    @model_validator(mode="after")
    def _one_for_each_scope(self) -> HeadConfig:
        for name in ("standardise", "in_region"):
            values = getattr(self, name)
            if len(values) not in (1, len(self.scope)):
                raise ValueError(f"head.{name} needs one value, or one for each of {len(self.scope)} scopes")
        if any(self.standardise) and self.kind != "gaussian":
            raise ValueError(f"head.standardise=true goes with head.kind=gaussian, not {self.kind}")
        return self

    @model_validator(mode="after")
    def _once(self) -> HeadConfig:
        heads = [(own.kind, own.scope, own.standardise, own.in_region) for own in self.each[: len(self.scope)]]
        if len(set(heads)) < len(heads):
            raise ValueError(f"scope must name each kind of head once, not {', '.join(self.scope)}")
        if len({self.kind, *self.further_kinds}) <= len(self.further_kinds):
            raise ValueError(
                f"head.further_kinds must name other kinds than {self.kind}, each once, not "
                f"{', '.join(self.further_kinds)}"
            )
        return self

    @model_validator(mode="after")
    def _odd(self) -> HeadConfig:
        if self.neighbourhood != "auto" and (self.neighbourhood < 1 or self.neighbourhood % 2 == 0):
            raise ValueError(f"neighbourhood must be odd and positive, or auto, not {self.neighbourhood}")
        return self

    @model_validator(mode="after")
    def _of_its_kind(self) -> HeadConfig:
        if self.kind != "gaussian" and self.scope != ("shared",):
            # One head a position would compare a feature only with the few of its own position.
            raise ValueError(
                f"head.kind={self.kind} is one for all positions: it needs head.scope=shared, not "
                f"{' and '.join(self.scope)}"
            )
        if "ocsvm-linear" in self.kinds and self.l2:
            raise ValueError("head.kind=ocsvm-linear takes features of any length: it needs head.l2=false")
        return self

    @model_validator(mode="after")
    def _directions_are_counted(self) -> HeadConfig:
        by_direction = self.regulariser in ("low-rank", "low-variance")
        if by_direction and (self.components is None or self.components >= self.dim):
            raise ValueError(
                f"head.regulariser={self.regulariser} keeps fewer directions than there are: it needs head.components "
                f"of 1 to {self.dim - 1}, not {self.components}"
            )
        if self.components is not None and not by_direction:
            raise ValueError(
                f"head.components goes with head.regulariser=low-rank or low-variance, not {self.regulariser}"
            )
        return self

    @property
    def kinds(self) -> tuple[HeadKind, ...]:
        """The kind of each of its heads: one for each scope, and the further kinds."""
        return (self.kind,) * len(self.scope) + self.further_kinds

    @property
    def graph_kinds(self) -> tuple[str, ...]:
        """The kind of each of its heads as :data:`engines.base.HEADS` names it."""
        return tuple(f"{own.kind}-standardised" if own.standardise[0] else own.kind for own in self.each)

    @property
    def each(self) -> tuple[HeadConfig, ...]:
        """The settings of each of its heads, in the order of :attr:`kinds`: one kind and one scope."""
        scopes, further = len(self.scope), len(self.further_kinds)
        settings = zip(
            self.kinds,
            (*self.scope, *("shared",) * further),
            (*self._for_each(self.standardise, scopes), *(False,) * further),
            (*self._for_each(self.in_region, scopes), *(True,) * further),
            strict=True,
        )
        return tuple(
            self.model_copy(
                update={
                    "kind": kind,
                    "scope": (scope,),
                    "standardise": (standardise,),
                    "in_region": (in_region,),
                    "further_kinds": (),
                }
            )
            for kind, scope, standardise, in_region in settings
        )

    @staticmethod
    def _for_each(values: tuple[bool, ...], scopes: int) -> tuple[bool, ...]:
        return values * scopes if len(values) == 1 else values

    def shares(self, scales: Sequence[int]) -> tuple[int, ...]:
        """Return the number of dimensions for each scale of an encoder's features: as many as possible for the later
        ones, in total at most two thirds of ``dim``; the rest for the first.

        Raises:
            ValueError: the encoder has too few features.
        """
        first, *later = scales
        taken: list[int] = []
        for scale in later:
            taken.append(min(scale, 2 * self.dim // 3 - sum(taken)))
        rest = self.dim - sum(taken)
        if rest > first:
            raise ValueError(f"head.dim={self.dim} is more than the encoder's {first} + {sum(taken)} features")
        return (rest, *taken)

    def samples_side(self, images: int) -> int:
        """Return the number of rows and columns of positions to pool, for a head fitted on ``images`` images."""
        return pooled_side(self.neighbourhood, images, self.dim)
