"""The commands review and refit, and the end of train: what they print, and their exit status."""

import json

import cv2
import pytest
import typer
from discs import part, write
from typer.testing import CliRunner

from edge_occ.bundle.bundle import read_bundle
from edge_occ.cli import app as run_app
from edge_occ.cli.guarded import guarded
from edge_occ.output.evidence.label import mark
from trainer.cli.refit import next_name, refit
from trainer.cli.review import review
from trainer.cli.train import train
from trainer.review.stored_features import features_path

# Not edge_occ.cli.app, whose commands are those of the installed package.
app = typer.Typer()
for command in (review, refit, train):
    app.command()(guarded(command))


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_review_and_refit_name_each_other_and_what_they_wrote(own_bundle, judged):
    shown = invoke("review", own_bundle, "--images", "3", "--json")
    assert shown.exit_code == 0, shown.stderr
    content = json.loads(shown.stdout)
    page = own_bundle.with_suffix(".review.html")
    assert content["page"] == str(page)
    assert page.exists()
    assert content["good"] == 24
    assert content["odd"] == sum(image["odd"] for image in content["images"]) >= 2
    assert content["images"][0]["p_value"] == pytest.approx(1 / 24)
    assert f"edge-occ refit {own_bundle} --exclude review.json" in shown.stderr
    again = invoke("refit", own_bundle, "--exclude", judged(own_bundle), "--json")
    assert again.exit_code == 0, again.stderr
    target = own_bundle.with_name("discs-refit.occ")
    report = json.loads(again.stdout)
    assert report["bundle"] == str(target)
    assert report["excluded"] == ["train/good/005.png", "train/good/011.png"]
    assert (report["before"]["n"], report["after"]["n"]) == (24, 22)
    assert features_path(target).exists()
    lines = again.stderr.splitlines()
    assert "taken out: 2 images of 24" in lines
    assert "- train/good/005.png" in lines
    threshold = [read_bundle(path).manifest.calibration.threshold for path in (own_bundle, target)]
    assert f"threshold {threshold[0]:.4g} -> {threshold[1]:.4g}, from 24 -> 22 held-out parts" in lines
    assert any("false alarm in 23 good parts" in line and "parts like those that are left" in line for line in lines)
    assert any(line.startswith(f"{target} written in ") and f"{own_bundle} is unchanged" in line for line in lines)
    twice = invoke("refit", own_bundle, "--exclude", judged(own_bundle, ["train/good/005.png"]))
    assert f"{target} replaced in " in twice.stderr


def test_events_of_a_run_that_are_marked_as_good_are_added(own_bundle, tmp_path):
    """From a run with evidence, over the mark that the dashboard writes, to the new bundle."""
    odd = part(300)
    cv2.circle(odd, (56, 56), 30, (200, 120, 60), 3)
    write(tmp_path / "frames" / "odd.png", odd)
    evidence = tmp_path / "evidence"
    settings = (f"evidence.folder={evidence}", "mqtt.camera=left", "engine.name=cpu", "engine.precision=fp32")
    options = [option for setting in settings for option in ("--set", setting)]
    source = ("--source", str(tmp_path / "frames"), "--no-mqtt")
    ran = CliRunner().invoke(run_app, ["run", "--bundle", str(own_bundle), *source, *options])
    assert ran.exit_code == 0, ran.output
    frame = next(evidence.rglob("frame.png")).relative_to(evidence).as_posix()
    mark(evidence, frame, "good")
    result = invoke("refit", own_bundle, "--evidence", evidence, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["added"] == [f"evidence:{frame}"]
    assert (report["excluded"], report["known"], report["without_pose"]) == ([], 0, 0)
    assert (report["before"]["n"], report["after"]["n"]) == (24, 25)
    lines = result.stderr.splitlines()
    assert (
        "added: 1 frame of events marked as good; not added: 0 that are among the good images already, 0 without a pose"
        in lines
    )
    assert f"+ evidence:{frame}" in lines
    assert not any(line.startswith("taken out") for line in lines)
    assert any("no random good parts" in line for line in lines)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("pill", "pill-refit"),
        ("pill-refit", "pill-refit-2"),
        ("pill-refit-9", "pill-refit-10"),
        ("-refit", "-refit-refit"),
    ],
)
def test_a_refit_of_a_refit_gets_a_number(stem, expected):
    assert next_name(stem) == expected


def test_errors_are_three_lines_and_write_nothing(own_bundle, tmp_path):
    before = sorted(tmp_path.iterdir())
    for arguments in (
        ("review", own_bundle, "--data", tmp_path / "none"),
        ("review", tmp_path / "none.occ"),
        ("refit", own_bundle),
        ("refit", own_bundle, "--evidence", tmp_path / "none"),
        ("refit", own_bundle, "--exclude", tmp_path / "none.json"),
        ("refit", own_bundle, "--exclude", tmp_path / "none.json", "--out", tmp_path / "x.zip"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.stderr
        assert [line.split()[0] for line in result.stderr.splitlines()] == ["expected", "found", "next"]
    assert sorted(tmp_path.iterdir()) == before


SMALL = (
    *("encoder.width=4", "encoder.dim=16", "optimiser.steps=1", "optimiser.batch=2", "input.size=96"),
    *("head.dim=8", "head.floor=0.05", "export.fp16=false", "export.int8=false"),
)


@pytest.mark.parametrize("kept", [True, False])
def test_train_ends_by_naming_how_many_images_look_odd(spoilt_data, tmp_path, kept):
    out = tmp_path / "x.occ"
    settings = (*SMALL, f"export.features={str(kept).lower()}")
    options = [option for setting in settings for option in ("--set", setting)]
    result = invoke("train", "--data", spoilt_data, "--out", out, *options, "--json")
    assert result.exit_code == 0, result.stderr
    odd = json.loads(result.stdout)["odd_images"]
    assert odd >= 2
    assert f"{odd} of 24 good images look odd" in result.stderr
    assert (f"edge-occ review {out}" in result.stderr) == features_path(out).exists() == kept
    if not kept:
        assert "without export.features=false" in invoke("review", out).stderr
