"""Settings of stage 2: one-class heads, their maps, and how they are fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from edge_occ.bundle.covariance import Regulariser
from edge_occ.bundle.gaussian import Scope, pooled_side
from trainer.config.section import Section

HeadKind = Literal["gaussian", "kde", "ocsvm", "ocsvm-linear", "nearest", "knn"]
"""One-class classifiers."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class HeadConfig(Section):
    """Stage 2: Gaussian density estimation on window features (CutPaste, sections 2.4 and A.5), or a one-class
    classifier of the two-stage paper.
    """

    kind: HeadKind = Field(
        "gaussian",
        description="Gaussian; or, shared by all positions, kernel density (kde), support vectors with an RBF or a "
        "linear kernel (ocsvm, ocsvm-linear), the nearest good feature by angle (nearest), or the nearest ones by "
        "distance (knn)",
    )
    scope: Annotated[tuple[Scope, ...], BeforeValidator(_several)] = Field(
        ("per-position",),
        min_length=1,
        description="one Gaussian for all positions (shared), one a position (per-position: aligned parts), or means "
        "by position and one covariance (position-mean); a list of them makes one head each, fused",
    )
    beside: Annotated[tuple[HeadKind, ...], BeforeValidator(_several)] = Field(
        (),
        description="kinds of further heads on the same features, each shared by all positions and fused: fusion gives "
        "one the image score, say, and another the map",
    )
    dim: int = Field(100, ge=2, le=2048, description="features left after the fixed orthogonal projection")
    l2: bool = Field(False, description="divide features by their length first, as the papers' code does")
    regulariser: Regulariser = Field(
        "ledoit-wolf",
        description="what makes the covariance invertible: shrinkage, a ridge, one variance for all directions but "
        "those that vary most (low-rank), or only the directions that vary least (low-variance; NPCA)",
    )
    components: int | None = Field(
        None, ge=1, description="directions kept with regulariser=low-rank or low-variance, fewer than dim"
    )
    ridge: float = Field(
        1e-6, gt=0, description="added to the diagonal with regulariser=ridge (scikit-learn's reg_covar)"
    )
    floor: float = Field(
        0.01,
        ge=0,
        description="variance added to every feature, as a share of its variance over all positions: a change of less "
        "than a tenth of the usual spread is little evidence, so that neither dust on an even ground nor rounding to "
        "fp16 decides; 0 is the paper's",
    )
    neighbourhood: int | Literal["auto"] = Field(
        "auto",
        description="per-position Gaussians pool the samples of this many rows and columns of positions (odd); "
        "auto takes the fewest that give two samples a dimension, at most 5",
    )
    references: int = Field(
        2048,
        ge=1,
        le=20_000,
        description="most features that a kind other than gaussian is fitted on, drawn at random but always the same; "
        "the graph holds them, and its time and size grow with them (the two-stage paper's code: 20,000)",
    )

    neighbours: int = Field(
        3,
        ge=1,
        le=100,
        description="good features whose mean squared distance is the score of kind knn; one follows single odd ones",
    )

    @model_validator(mode="after")
    def _once(self) -> HeadConfig:
        if len(set(self.scope)) < len(self.scope):
            raise ValueError(f"scope must name each kind of head once, not {', '.join(self.scope)}")
        if len({self.kind, *self.beside}) <= len(self.beside):
            raise ValueError(
                f"head.beside must name other kinds than {self.kind}, each once, not {', '.join(self.beside)}"
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
            # One a position would keep all features of all images, and each could only be compared with the few that
            # its own position has.
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
        """The kind of each of its heads: one a scope, and those beside."""
        return (self.kind,) * len(self.scope) + self.beside

    @property
    def each(self) -> tuple[HeadConfig, ...]:
        """Its heads one by one, in the order of :attr:`kinds`."""
        scopes = *self.scope, *("shared" for _ in self.beside)
        return tuple(
            self.model_copy(update={"kind": kind, "scope": (scope,), "beside": ()})
            for kind, scope in zip(self.kinds, scopes, strict=True)
        )

    def shares(self, scales: Sequence[int]) -> tuple[int, ...]:
        """Dimensions for each scale of an encoder's features: all there are of the later ones, at most two thirds of
        the head's in all; the rest for the first.

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
        """Rows and columns of positions to pool, for a head fitted on ``images`` images."""
        return pooled_side(self.neighbourhood, images, self.dim)


class MapConfig(Section):
    """From window scores to the score map and the image score."""

    sigma: float = Field(
        4, gt=0, description="smoothing of the score map, Gaussian sigma in pixels of the resized frame"
    )
    upsampling: Literal["normalised", "paper"] = Field(
        "normalised",
        description="whether the map keeps its gain towards the border, or loses it as the paper's raw transposed "
        "Gaussian does (CutPaste, A.5)",
    )
    image_score: Literal["max", "top"] = Field("max", description="maximum of the map, or mean of its highest values")
    top_fraction: float = Field(
        0.01,
        gt=0,
        le=0.25,
        description="fraction of the map averaged with image_score=top; a small defect raises about one window of a "
        "dense encoder, 0.0625 of a map of 256 pixels",
    )


class FusionConfig(Section):
    """How several heads give one score and one map: each is measured by its spread on held-out normal images, then they
    are added.
    """

    score_weights: tuple[FiniteFloat, ...] | None = Field(
        None, description="weight of each head in the image score, in the order of branches and scopes; none: equal"
    )
    map_weights: tuple[FiniteFloat, ...] | None = Field(None, description="the same in the score map")

    @model_validator(mode="after")
    def _weigh(self) -> FusionConfig:
        for name in ("score_weights", "map_weights"):
            weights = getattr(self, name)
            if weights is not None and (min(weights, default=0) < 0 or sum(weights) <= 0):
                raise ValueError(f"{name} must be at least 0 and not all 0, not {weights}")
        return self
