"""Settings of the optimiser."""

from __future__ import annotations

from pydantic import Field

from trainer.config.section import Section


class OptimiserConfig(Section):
    """Pretraining: SGD with momentum 0.9, a linear warm-up and one cosine cycle (CutPaste, A.1)."""

    steps: int = Field(420, ge=1, description="Number of updates, at least 1 (CutPaste's patch model: 65,536).")
    batch: int = Field(16, ge=2, description="Number of images in an update, of all processes together, at least 2.")
    shards: int = Field(
        1,
        ge=1,
        description="Number of parts of a batch with randomness of their own, which processes share, at least 1; for "
        "training with torchrun.",
    )
    learning_rate: float = Field(0.05, gt=0, description="Peak learning rate, above 0 (CutPaste: 0.03 with batch 96).")
    weight_decay: float = Field(3e-5, ge=0, description="Weight decay (L2 penalty), at least 0 (CutPaste A.1: 3e-5).")
    warmup: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps over which the learning rate rises, 0 to below 1."
    )
    nesterov: bool = Field(True, description="Whether to use Nesterov's momentum; CutPaste uses plain momentum.")
    compile: bool = Field(
        False,
        description="Whether to compile the network with torch.compile, which takes minutes at the start and makes "
        "updates faster; needs a C++ compiler (CPU) or Triton (GPU).",
    )
    checkpoint_seconds: float = Field(30, gt=0, description="Interval between checkpoints in seconds, above 0.")
