"""Projected features: of all scales alike, and those of each window."""

import pytest
import torch

from trainer.config import HeadConfig
from trainer.encoders.dense import DensePatchEncoder
from trainer.graph.features import FeatureExtractor, projection_matrix
from trainer.graph.preprocess import Preprocess, to_rgb


def make(**head):
    torch.manual_seed(0)
    return FeatureExtractor(DensePatchEncoder(8, 4, 16).eval(), HeadConfig(dim=12, **head))


def pictures(n=4, size=96):
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_the_projection_is_orthonormal_and_always_the_same():
    matrix = projection_matrix(40, 12)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(12), rtol=0, atol=1e-6)
    assert torch.equal(matrix, projection_matrix(40, 12))


def test_each_scale_is_projected_by_itself():
    extractor, images = make(), pictures().float()
    with torch.inference_mode():
        raw = extractor.encoder(extractor.normalise(images)).permute(0, 2, 3, 1)
        expected = torch.cat((raw[..., :16] @ projection_matrix(16, 4), raw[..., 16:] @ projection_matrix(8, 8)), 3)
        torch.testing.assert_close(extractor(images), expected)


def test_levelled_scales_vary_equally():
    extractor, images = make(), pictures()
    extractor.level(images)
    with torch.inference_mode():
        raw = extractor.encoder((images.float() - 127.5) / 63.75)
        window, centre = raw[:, :16].std(), raw[:, 16:].std()
    # The rows of the projection carry the scale: their norm is that of the orthonormal matrix over the deviation.
    torch.testing.assert_close(
        extractor.projection[:16] * window, torch.block_diag(projection_matrix(16, 4), projection_matrix(8, 8))[:16]
    )
    torch.testing.assert_close(
        extractor.projection[16:] * centre, torch.block_diag(projection_matrix(16, 4), projection_matrix(8, 8))[16:]
    )


def test_levelled_channels_vary_equally_where_they_differ_in_range():
    extractor, images = make(), pictures()
    extractor.by_channel = True
    before = extractor.projection.clone()
    extractor.level(images)
    with torch.inference_mode():
        raw = extractor.encoder(extractor.normalise(images.float()))
    # A channel that never changes carries nothing; its deviation is held above zero.
    deviation = torch.stack([raw[:, c].std() for c in range(24)]).clamp_min(1e-6)
    torch.testing.assert_close(extractor.projection * deviation.unsqueeze(1), before)


def test_levelling_a_few_images_at_a_time_is_levelling_all():
    """More than go through the encoder at once."""
    extractor, images = make(), pictures(20, 64)
    before = extractor.projection.clone()
    extractor.level(images)
    with torch.inference_mode():
        deviation = extractor.encoder(extractor.normalise(images.float()))[:, :16].std()
    torch.testing.assert_close(extractor.projection[:16] * deviation, before[:16])


def test_with_l2_the_length_of_the_encoders_features_does_not_count():
    extractor, images = make(l2=True), pictures().float()
    with torch.inference_mode():
        raw = extractor.map(images)
        torch.testing.assert_close(extractor.project(3 * raw), extractor.project(raw))
        unit = raw / raw.square().sum(1, keepdim=True).sqrt()
        torch.testing.assert_close(extractor(images), make().project(unit))


def test_a_head_that_wants_more_features_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"head\.dim=30 is more than the encoder's 16 \+ 8 features"):
        FeatureExtractor(DensePatchEncoder(8, 4, 16), HeadConfig(dim=30))


def test_a_window_has_the_features_of_its_place_in_the_frame():
    extractor = make()
    frame = torch.randint(0, 256, (1, 96, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        dense = extractor(Preprocess((96, 96))(frame))
        for row in range(5):
            for column in range(5):
                window = frame[:, 8 * row : 8 * row + 64, 8 * column : 8 * column + 64]
                alone = extractor(to_rgb(window.float().permute(0, 3, 1, 2)))
                torch.testing.assert_close(alone[0, 0, 0], dense[0, row, column], rtol=1e-5, atol=1e-6)
