"""Settings of the updates of stage 1."""

from __future__ import annotations

from pydantic import Field

from trainer.config.section import Section


class OptimiserConfig(Section):
    """Stage 1: SGD with momentum 0.9 and one cosine cycle (CutPaste, A.1), after a linear warm-up."""

    steps: int = Field(420, ge=1, description="updates (the paper's patch model: 65,536)")
    batch: int = Field(16, ge=2, description="images a step, of all processes together")
    shards: int = Field(
        1, ge=1, description="parts of a batch with a randomness of their own, which processes share out; see torchrun"
    )
    learning_rate: float = Field(0.05, gt=0, description="peak learning rate (the paper: 0.03 with batch 96)")
    weight_decay: float = Field(3e-5, ge=0, description="L2 penalty (CutPaste, A.1)")
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the steps over which the rate rises")
    nesterov: bool = Field(True, description="Nesterov's momentum; the paper's is plain")
    compile: bool = Field(
        False, description="torch.compile the network: some minutes first, then faster; needs a C++ compiler or Triton"
    )
    checkpoint_seconds: float = Field(30, gt=0, description="a checkpoint is written this often")
