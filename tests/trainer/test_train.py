"""Whole trainings on tiny images."""

import os
import shutil

import cv2
import numpy as np
import pytest
from discs import part
from small_training import PLAIN

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.pre_stage import PreStageEngine
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images, read_image
from edge_occ.common.settings import load_settings, preset
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import require_parity
from trainer.config import TrainConfig
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.pretrain import processes
from trainer.pretrain.encoders import pretrain_encoders
from trainer.train import train


def job(data, out, seed=0, **changes):
    config = {**PLAIN, **changes}
    return Job(data, out, TrainConfig.model_validate(config), "tiny", seed, "cpu", "edge-occ train")


@pytest.fixture(scope="module")
def repeated(tiny_data, tmp_path_factory):
    """The same again, while somebody puts a file next to the checkpoints."""
    out = tmp_path_factory.mktemp("repeated") / "x.occ"

    def learn(*arguments):
        learned = pretrain_encoders(*arguments)
        (out.with_suffix(".train") / "notes.txt").write_text("mine")
        return learned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.train.pretrain_encoders", learn)
        train(job(tiny_data, out))
    return out


@pytest.fixture(scope="module")
def replacing(plain, tiny_data, tmp_path_factory):
    """Manifest and place of a bundle of another seed, scored by the mean of the top, where the plain one lay before."""
    folder = tmp_path_factory.mktemp("replacing")
    for name in ("x.occ", "x.html", "x.features.safetensors"):
        shutil.copy(plain.with_name(name), folder)
    out = folder / "x.occ"
    return train(job(tiny_data, out, seed=1, map={"image_score": "top", "top_fraction": 0.02})).manifest, out


@pytest.fixture(scope="module")
def of_shots(tmp_path_factory):
    """A bundle of nine parts, of which several have more than one picture, its report beside it."""
    folder = tmp_path_factory.mktemp("of_shots")
    generator = np.random.default_rng(0)
    (folder / "shots").mkdir()
    for i in range(9):
        image = part(i)
        cv2.circle(image, (30 + 6 * i, 40 + 5 * i), 12, (90, 60, 30), -1)
        for shot in range(1 + i % 3):
            noisy = (image + generator.normal(0, 2, image.shape)).round().clip(0, 255).astype(np.uint8)
            assert cv2.imwrite(str(folder / "shots" / f"{i}_{shot}.png"), noisy)
    train(job(folder / "shots", folder / "x.occ"))
    return folder / "x.occ"


class Fitted(Exception):
    """Ends a training before the export: what the manifest would hold, the calibration, the heads as a member."""


def fitted(job):
    """Facts, calibration and heads of a training that ends where nothing is left but the export."""

    def keep(graph, fitted, *rest):
        return fitted

    def stop(facts, calibration, fitted):
        raise Fitted(facts, calibration, fitted.member)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.train.assemble", keep)
        patch.setattr("trainer.train.manifest_fields", stop)
        with pytest.raises(Fitted) as end:
            train(job)
    return end.value.args


def test_a_seed_gives_one_bundle(plain, repeated):
    first, second = (read_bundle(path).manifest for path in (plain, repeated))
    for member in ("head.safetensors", "golden.safetensors", "graph.fp32.onnx"):
        assert first.members[member].sha256 == second.members[member].sha256, member
    assert first.calibration == second.calibration


def test_copies_change_nothing_but_the_report(plain, tiny_data, tmp_path):
    """If copies counted, three of each picture would guarantee a third of the false alarms."""
    copied = tmp_path / "copied"
    copied.mkdir()
    for path in find_images(tiny_data / "train" / "good"):
        for i in range(3):
            shutil.copy(path, copied / f"{path.stem}_{i}.png")
    alone = read_bundle(plain).manifest
    trained = train(job(copied, tmp_path / "b.occ"))
    found = trained.manifest
    assert found.calibration == alone.calibration
    assert found.calibration.n == 16
    for member in ("head.safetensors", "golden.safetensors", "graph.fp32.onnx"):
        assert found.members[member].sha256 == alone.members[member].sha256, member
    assert (found.training.images, found.training.parts, len(found.training.copies)) == (16, 16, 32)
    card = read_bundle(tmp_path / "b.occ").members["MODEL_CARD.md"].decode()
    for text in (card, trained.report.read_text()):
        assert "trained on 16 images of 16 different good parts; left out: 32 copies, 0 unusable" in text
        assert "32 images have the same pixels as another" in text


def test_shots_of_one_part_are_reported_and_count_as_one(of_shots):
    bundle = read_bundle(of_shots)
    training = bundle.manifest.training
    assert (training.images, training.parts) == (18, 9)
    assert bundle.manifest.calibration.n == len(bundle.held_out) == 9
    for text in (bundle.members["MODEL_CARD.md"].decode(), of_shots.with_suffix(".html").read_text()):
        assert "The 18 images show 9 different parts" in text


def test_changed_copies_widen_what_is_normal_and_change_nothing_else(plain, tiny_data, tmp_path):
    """Same parts, same encoder, same guarantee; a head that is fitted on noise and JPEG too, in each precision."""
    before = read_bundle(plain).manifest
    copied = job(tiny_data, tmp_path / "b.occ", camera_changes={"copies": 2}, export={"fp16": True, "int8": False})
    found = train(copied).manifest
    _, _, head = fitted(job(tiny_data, tmp_path / "c.occ", camera_changes={"copies": 2}))
    assert head == read_bundle(tmp_path / "b.occ").members["head.safetensors"]
    assert found.members["graph.fp32.onnx"].sha256 == before.members["graph.fp32.onnx"].sha256
    assert found.members["head.safetensors"].sha256 != before.members["head.safetensors"].sha256
    assert found.calibration.n == before.calibration.n == 16
    assert found.training.images == 16
    assert found.precisions["fp16"].images == 32, "16 good images, without their copies, and 16 pasted ones"
    noisy = [
        np.clip(part(500 + i) + np.random.default_rng(i).normal(0, 3, part(0).shape), 0, 255).astype(np.uint8)
        for i in range(8)
    ]
    above = []
    for path in (plain, tmp_path / "b.occ"):
        bundle = read_bundle(path)
        engine = OnnxRuntimeEngine(bundle.graph())
        scores = np.array([engine.infer(image).score for image in noisy])
        above.append(np.mean(scores / bundle.manifest.calibration.threshold))
    assert above[1] < above[0]


def test_copies_go_with_model_selection(tiny_data, tmp_path):
    """Candidates are compared on the images as they are; what is taken is fitted on the copies too."""
    choosing = {"selection": {"enabled": True, "images": 8, "scopes": ["shared"], "sigmas": [4], "shares": [0]}}
    plain, calibration, _ = fitted(job(tiny_data, tmp_path / "a.occ", **choosing))
    copied, wider, _ = fitted(job(tiny_data, tmp_path / "b.occ", **choosing, camera_changes={"copies": 1}))
    assert copied.selection == plain.selection is not None
    assert wider != calibration
    assert wider.n == calibration.n


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}


def refused(data, out, *words):
    before = contents(out.parent)
    for restart in (False, True):
        with pytest.raises(InputError) as error:
            train(Job(data, out, TrainConfig.model_validate(PLAIN), "tiny", 0, "cpu", "edge-occ train", restart))
        for word in words:
            assert word in str(error.value)
    assert contents(out.parent) == before


def test_a_data_folder_with_the_name_of_the_checkpoint_folder_is_not_changed(tiny_data, tmp_path):
    data = tmp_path / "bottle.train"
    shutil.copytree(tiny_data / "train" / "good", data)
    refused(data, tmp_path / "bottle.occ", "bottle.train", "--out")
    refused(tiny_data, tmp_path / "bottle.occ", str(data / "000.png"), "did not write")
    assert len(list(data.iterdir())) == 16


def test_a_file_put_next_to_the_checkpoints_stays(repeated):
    assert [path.name for path in repeated.with_suffix(".train").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["x.html", "x.occ"])
def test_a_users_file_is_not_overwritten(tiny_data, tmp_path, name):
    (tmp_path / name).write_text("<html>mine</html>")
    refused(tiny_data, tmp_path / "x.occ", str(tmp_path / name), "did not write")


def test_a_training_replaces_bundle_and_report_of_an_earlier_one(plain, replacing):
    again, out = replacing
    assert again.training.seed == 1
    assert read_bundle(out).manifest.identity == again.identity
    before, after = (path.with_name("x.html").read_text() for path in (plain, out))
    assert before != after


def test_nothing_is_written_into_the_data_folder(tiny_data, tmp_path):
    data = tmp_path / "parts"
    shutil.copytree(tiny_data / "train" / "good", data)
    refused(data, data / "x.occ", "outside of the data folder", "--out")


def test_training_accepts_file_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"Pr\xfcfteile")
    folder.mkdir()
    for i in range(99):
        picture = cv2.imencode(".png", part(i))[1].tobytes()
        (folder / os.fsdecode(b"m\xe4rz_%03d.png" % i)).write_bytes(picture)
    (folder / os.fsdecode(b"d\xe9faut.png")).write_bytes(b"no picture")
    out = tmp_path / os.fsdecode(b"st\xfcck.occ")
    config = TrainConfig.model_validate(PLAIN)
    trained = train(Job(folder, out, config, "tiny", 0, "cpu", f"edge-occ train --data {folder}"))
    bundle = read_bundle(out)
    assert bundle.manifest.members == trained.manifest.members
    assert bundle.manifest.training.command.endswith(r"Pr\xfcfteile")
    assert r"Pr\xfcfteile/d\xe9faut.png: " in bundle.manifest.training.skipped[0]
    assert r"Pr\xfcfteile" in bundle.members["MODEL_CARD.md"].decode()
    page = trained.report.read_text(encoding="utf-8")
    assert r"Pr\xfcfteile/d\xe9faut.png: " in page
    assert r"<h1>st\xfcck: trained" in page
    assert not out.with_suffix(".train").exists()


@pytest.mark.parametrize(("trained", "count"), [("of_shots", 9), ("plain", 16)])
def test_too_few_parts_for_the_declared_rate_are_reported(request, trained, count):
    path = request.getfixturevalue(trained)
    bundle = read_bundle(path)
    calibration = bundle.manifest.calibration
    assert not calibration.certified
    assert calibration.expected == pytest.approx(1 / (count + 1))
    sentence = f"{count} images cannot certify the declared rate of 1 in 100: that takes at least 99"
    assert sentence in path.with_suffix(".html").read_text()
    assert sentence in bundle.members["MODEL_CARD.md"].decode()


def test_of_several_processes_the_first_alone_writes(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "rank", lambda: 1)
    with pytest.raises(SystemExit) as left:
        train(job(tiny_data, tmp_path / "new" / "x.occ"))
    assert left.value.code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("scope", "stride"), [("shared", 16), ("per-position", 8), ("position-mean", 8)])
def test_every_scope_passes_the_parity_gate(plain, tiny_data, tmp_path, scope, stride):
    settings = {"encoder": {"width": 4, "dim": 16, "stride": stride}, "head": {"dim": 8, "scope": scope}}
    out = plain if scope == "per-position" else tmp_path / "x.occ"
    if out != plain:
        train(job(tiny_data, out, **settings))
    grid = 5 if stride == 8 else 3
    bundle = read_bundle(out)
    assert bundle.manifest.geometry.grid == (grid, grid)
    assert bundle.manifest.head["branches"][0]["scope"] == [scope]
    head = bundle.graph().head
    assert head["mean"].shape == ((1, 1, 8) if scope == "shared" else (grid, grid, 8))
    assert head["whitening"].shape == ((grid, grid, 3, 4, 4) if scope == "per-position" else (1, 1, 8, 8))


def test_the_mean_of_the_top_is_exported_too(replacing, tiny_data):
    _, out = replacing
    engine = OnnxRuntimeEngine(read_bundle(out).graph())
    scores = engine.infer(read_image(find_images(tiny_data / "test" / "spot")[0]))
    highest = np.sort(scores.map.ravel())[-round(0.02 * 96 * 96) :]
    assert scores.score == pytest.approx(float(highest.mean()), rel=1e-5)


def test_held_out_scores_are_those_of_the_exported_graph_but_for_the_fold(plain, tiny_data):
    """The final head has seen all images, so it scores them lower in the mean, by the same units."""
    bundle = read_bundle(plain)
    engine = OnnxRuntimeEngine(bundle.graph())
    seen = [engine.infer(read_image(path)).score for path in find_images(tiny_data / "train" / "good")]
    ratio = np.mean(seen) / np.mean(bundle.held_out)
    assert 0.2 < ratio < 1


REDUCED = (
    *("encoder.base_width=8", "pretext.hidden_width=16", "head.dim=16", "calibration.folds=3"),
    *("optimiser.steps=3", "optimiser.batch=4", "export.fp16=false"),
)


@pytest.mark.parametrize(("name", "size"), [("rotation", 32), ("contrastive-da", 96)])
def test_the_two_stage_papers_presets_make_bundles(tiny_data, tmp_path, name, size):
    settings = load_settings(TrainConfig, [preset(name)], [*REDUCED, f"input.size={size}"])
    out = tmp_path / "x.occ"
    train(Job(tiny_data, out, settings, name, 0, "cpu", "edge-occ train"))
    bundle = read_bundle(out)
    geometry = bundle.manifest.geometry
    assert (geometry.size, geometry.grid, geometry.exact) == ((size, size), (1, 1), False)
    assert bundle.manifest.training.config["views"]["enabled"]
    engine = PreStageEngine(OnnxRuntimeEngine(bundle.graph()), geometry.pre_stage)
    require_parity(engine, bundle.golden(), bundle.manifest.parity_tolerance["fp32"])
    evaluation = evaluate(out, tiny_data)
    assert 0 <= evaluation.image_auroc <= 1
    assert len(evaluation.records) == 13


@pytest.mark.long
@pytest.mark.data
@pytest.mark.parametrize("name", ["rotation", "contrastive-da"])
def test_the_two_stage_papers_presets_inspect_real_parts(shared_data, tmp_path, name):
    data = tmp_path / "bottle"
    for kind, count in (("train/good", 16), ("test/good", 6), ("test/broken_large", 6)):
        data.joinpath(kind).mkdir(parents=True)
        for path in find_images(shared_data / "mvtec_ad" / "bottle" / kind)[:count]:
            data.joinpath(kind, path.name).symlink_to(path)
    settings = load_settings(TrainConfig, [preset(name)], ["optimiser.steps=2", "export.fp16=false"])
    train(Job(data, tmp_path / "x.occ", settings, name, 0, "cpu", "edge-occ train"))
    assert evaluate(tmp_path / "x.occ", data).image_auroc > 0.8  # all but untrained, and large defects


_LITE = {"encoder": {"name": "lite0", "blocks": [0, 1]}, "pretext": {"name": "none"}, "head": {"dim": 8}}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": {"dim": 100}}, "more than the encoder's 16 \\+ 8 features"),
        ({"further_branches": [{**_LITE, "head": {"dim": 41}}]}, "more than the encoder's 40"),
        ({"further_branches": [_LITE], "input": {"size": 100}}, "must be a multiple of 8"),
        (
            {"further_branches": [{**_LITE, "encoder": {"name": "lite0"}}], "input": {"size": 72}},
            "must be a multiple of 16",
        ),
        ({"further_branches": [{**_LITE, "encoder": {"name": "lite0", "init": "none.pth"}}]}, "no such file"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_training(settings, words, tiny_data, tmp_path):
    with pytest.raises(InputError, match=words):
        train(job(tiny_data, tmp_path / "x.occ", **settings))
    assert not (tmp_path / "x.train").exists()
