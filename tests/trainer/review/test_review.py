"""The page of a review, and folders that lack its images."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from discs import part

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.errors import InputError
from trainer.config import TrainConfig
from trainer.job import Job
from trainer.review.review import review
from trainer.review.stored_features import features_path, read_features
from trainer.train import train


def policy(page):
    return next(m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy")


def test_the_page_shows_the_oddest_images_and_loads_nothing(spoilt_bundle, tmp_path, open_page):
    done = review(spoilt_bundle, None, tmp_path / "r.html", 5, load_engine)
    bundle = read_bundle(spoilt_bundle)
    stored = read_features(spoilt_bundle, bundle.manifest)
    page = open_page(tmp_path / "r.html")
    articles = [a["data-name"] for a in page.named("article")]
    order = np.argsort(-stored.scores)
    assert articles == [stored.images.names[i] for i in order[: len(articles)]]
    assert set(articles[:2]) == {"train/good/005.png", "train/good/011.png"}
    assert len(articles) == max(5, done.odd) == len(done.images)
    assert page.text.count("This image sets the threshold.") == 1
    first = f"Rank 1 of 24; held-out score {stored.scores[order[0]]:.4g}"
    assert first in page.text
    assert f"p-value {1 / 24:.2g}; looks odd." in page.text
    assert page.text.count("heatmap by heads that had not seen this image") == len(articles)
    assert f"edge-occ refit {spoilt_bundle} --exclude review.json" in page.text
    assert page.references() == []
    assert len(page.pictures) == 4 * len(articles)
    for jpeg in page.pictures:
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
    assert policy(page).startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy(page)


def test_all_odd_images_are_shown_and_no_more_than_there_are(spoilt_bundle, tmp_path):
    fewest = review(spoilt_bundle, None, tmp_path / "r.html", 1, load_engine)
    assert len(fewest.images) == fewest.odd >= 2
    assert len(review(spoilt_bundle, None, tmp_path / "r.html", 200, load_engine).images) == 24


def test_odd_images_beyond_the_page_limit_are_only_counted(spoilt_bundle, tmp_path, monkeypatch, open_page):
    monkeypatch.setattr("trainer.review.review.MAX_IMAGES", 1)
    done = review(spoilt_bundle, None, tmp_path / "r.html", 1, load_engine)
    assert len(done.images) == 1
    assert f"{done.odd} of 24 good images look odd" in open_page(tmp_path / "r.html").text


def test_a_moved_folder_is_named_with_data(own_bundle, spoilt_data, tmp_path):
    stored = features_path(own_bundle).read_bytes()
    before, after = (json.dumps(str(path))[1:-1].encode() for path in (spoilt_data, tmp_path / "moved-away"))
    after = after.ljust(len(before), b"-")[: len(before)]
    features_path(own_bundle).write_bytes(stored.replace(before, after))
    with pytest.raises(InputError, match="no such folder"):
        review(own_bundle, None, tmp_path / "r.html", 4, load_engine)
    assert review(own_bundle, spoilt_data, tmp_path / "r.html", 4, load_engine).odd >= 2


def test_a_folder_that_lacks_the_images_is_refused(own_bundle, spoilt_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(spoilt_data, data)
    (data / "train" / "good" / "005.png").unlink()
    out = tmp_path / "r.html"
    with pytest.raises(InputError) as error:
        review(own_bundle, data, out, 4, load_engine)
    for word in ("1 missing", "train/good/005.png", "--data"):
        assert word in str(error.value)
    with pytest.raises(InputError, match="missing, such as train/good/"):
        review(own_bundle, data / "train" / "good", out, 4, load_engine)
    assert not out.exists()


def test_other_pictures_of_the_same_names_are_refused(own_bundle, tiny_data, spoilt_data, tmp_path):
    """000.png is in every folder of MVTec."""
    data = tmp_path / "data"
    shutil.copytree(spoilt_data, data)
    assert cv2.imwrite(str(data / "train" / "good" / "005.png"), part(900))
    with pytest.raises(InputError, match="another picture"):
        review(own_bundle, data, tmp_path / "r.html", 4, load_engine)


def test_a_picture_saved_in_another_format_is_the_same_picture(own_bundle, spoilt_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(spoilt_data, data)
    path = data / "train" / "good" / "005.png"
    image = cv2.imread(str(path))
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    review(own_bundle, data, tmp_path / "r.html", 4, load_engine)


def test_the_page_replaces_no_file_of_another_program_and_is_no_data(own_bundle, spoilt_data, tmp_path):
    (tmp_path / "r.html").write_text("<html>mine</html>")
    with pytest.raises(InputError, match="did not write"):
        review(own_bundle, None, tmp_path / "r.html", 4, load_engine)
    with pytest.raises(InputError, match="outside of the data folder"):
        review(own_bundle, None, spoilt_data / "r.html", 4, load_engine)
    for _ in range(2):
        review(own_bundle, None, tmp_path / "s.html", 4, load_engine)


def test_an_image_level_model_shows_the_bundles_own_heatmap(whole_image_bundle, tmp_path, open_page):
    review(whole_image_bundle, None, tmp_path / "r.html", 3, lambda bundle: load_engine(bundle, "cpu"))
    page = open_page(tmp_path / "r.html")
    assert page.text.count("heatmap by the bundle's heads, which were fitted on this image too") >= 3
    assert "had not seen" not in page.text


def test_a_pattern_and_names_that_are_no_utf8_are_found_again(tmp_path, open_page):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(12):
        picture = cv2.imencode(".png", part(i))[1].tobytes()
        (folder / f"m\udce4rz {i:02}.png").write_bytes(picture)
    settings = {
        "input": {"size": 96},
        "encoder": {"width": 4, "dim": 16},
        "optimiser": {"steps": 1, "batch": 2},
        "head": {"dim": 8, "floor": 0.05},
        "export": {"fp16": False, "int8": False},
    }
    out = tmp_path / "x.occ"
    train(Job(folder / "*.png", out, TrainConfig.model_validate(settings), "small", 0, "cpu", "edge-occ train"))
    review(out, None, tmp_path / "r.html", 3, load_engine)
    articles = [a["data-name"] for a in open_page(tmp_path / "r.html").named("article")]
    assert all(name.startswith(r"m\xe4rz ") for name in articles)


def test_a_review_needs_no_torch(spoilt_bundle, tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edge_occ.bundle.loading import load_engine\n"
        "from trainer.review.review import review\n"
        "review(Path(sys.argv[1]), None, Path(sys.argv[2]), 4, load_engine)\n"
        "found = {'torch', 'sklearn', 'onnx', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, spoilt_bundle, tmp_path / "r.html"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
