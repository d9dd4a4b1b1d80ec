"""Files of a review that do not fit: each is refused with what is wrong."""

import json

import pytest

from edge_occ.bundle.bundle import read_bundle
from edge_occ.common.errors import InputError
from trainer.review.judgements import defective_images, read_judgements

NAMES = tuple(f"train/good/{i:03}.png" for i in range(24))


@pytest.fixture(scope="module")
def manifest(tiny_bundle):
    return read_bundle(tiny_bundle).manifest


def judge(path, bundle, manifest):
    return defective_images(path, bundle, manifest, NAMES)


def refused(path, bundle, manifest, *words):
    with pytest.raises(InputError) as error:
        judge(path, bundle, manifest)
    for word in words:
        assert word in str(error.value)


def test_defective_images_are_returned_in_the_order_of_the_images(judged, tiny_bundle, manifest):
    path = judged(tiny_bundle, [NAMES[9], NAMES[2]], **{NAMES[3]: "good", NAMES[4]: "unsure"})
    assert judge(path, tiny_bundle, manifest) == (NAMES[2], NAMES[9])


def test_an_unknown_image_is_refused(judged, tiny_bundle, manifest):
    path = judged(tiny_bundle, [NAMES[2], "train/good/900.png"])
    refused(path, tiny_bundle, manifest, "1 unknown", "train/good/900.png", "edge-occ review")


def test_more_than_a_tenth_is_refused(judged, tiny_bundle, manifest):
    assert len(judge(judged(tiny_bundle, NAMES[:2]), tiny_bundle, manifest)) == 2
    refused(judged(tiny_bundle, NAMES[:3]), tiny_bundle, manifest, "at most a tenth of the 24", "3 in", "train again")


def test_a_review_of_another_bundle_is_refused(judged, tiny_bundle, manifest):
    path = judged(tiny_bundle, NAMES[:1])
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "bundle": "0123456789abcdef"}))
    refused(path, tiny_bundle, manifest, manifest.identity, "0123456789abcdef")


def test_a_review_that_calls_nothing_defective_changes_nothing(judged, tiny_bundle, manifest):
    path = judged(tiny_bundle, [], **{NAMES[3]: "good", NAMES[4]: "unsure"})
    refused(path, tiny_bundle, manifest, "at least one image called defective", "2 labels")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"schema": "edge-occ/review/2", "bundle": "0", "labels": {}}',
        b'{"schema": "edge-occ/score/1", "score": 3.5}',
        b'{"schema": "edge-occ/review/1", "bundle": "0", "labels": {"a.png": "broken"}}',
        b'{"schema": "edge-occ/review/1", "bundle": "0", "labels": ["a.png"]}',
        b'{"schema": "edge-occ/review/1", "bundle": 7, "labels": {}}',
        b'{"schema": "edge-occ/review/1", "bundle": "0", "labels": {}, "more": 1}',
        b"[" * 100_000,
        b" " * (5 << 20),
    ],
)
def test_malformed_and_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "review.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a review \(edge-occ/review/1\) in .*review.json") as error:
        read_judgements(path)
    assert len(str(error.value)) < 600


def test_a_missing_file_is_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="edge-occ/review/1"):
            read_judgements(path)
