"""Presets, files and overrides."""

import contextlib
from itertools import product
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from edge_occ.common.errors import InputError, UserError
from edge_occ.common.settings import configs, field_names, load_settings, preset
from edge_occ.runtime.config import RunConfig
from trainer.config import TrainConfig


def test_later_files_and_overrides_win(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("optimiser: {steps: 5, batch: 4}\nhead: {dim: 20}\n")
    second.write_text("optimiser: {steps: 6}\n")
    settings = load_settings(TrainConfig, [first, second], ["head.dim=30", "pretext.pastes=[2, 2]"])
    assert settings.optimiser.steps == 6
    assert settings.optimiser.batch == 4
    assert settings.head.dim == 30
    assert settings.pretext.pastes == (2, 2)


def test_every_preset_is_valid_and_sets_nothing_twice():
    names = [path.stem for path in (configs() / "presets").glob("*.yaml")]
    assert "quick" in names
    for name in names:
        load_settings(TrainConfig, [preset(name)], [])


def test_the_example_configuration_shows_every_setting_with_its_default():
    """configs/run.yaml is the reference that users copy."""
    path = configs() / "run.yaml"
    settings = load_settings(RunConfig, [path], [])
    assert settings.model_dump(exclude={"mqtt": {"device"}}) == RunConfig().model_dump(exclude={"mqtt": {"device"}})
    shown = {
        f"{section}.{name}" if name else section
        for section, fields in yaml.safe_load(path.read_text()).items()
        for name in (fields if isinstance(fields, dict) else [""])
    }
    assert shown | {"mqtt.device"} == set(field_names(RunConfig))
    assert "# device:" in path.read_text()


def test_every_setting_is_described():
    def check(model):
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                check(field.annotation)
            else:
                assert field.description, f"{model.__name__}.{name}"

    check(TrainConfig)
    check(RunConfig)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.stepz=3", "did you mean optimiser.steps"),
        ("optimiser.steps=0", "optimiser.steps"),
        ("optimiser.steps=many", "optimiser.steps"),
        ("optimiser", "section.field=value"),
        ("=3", "section.field=value"),
        ("head.dim=[1", "valid YAML"),
        ("head=3", "head"),
        ("head.neighbourhood=2", "odd"),
        ("head.kind=svm", "'gaussian', 'kde', 'ocsvm', 'ocsvm-linear', 'nearest' or 'knn'"),
        ("head.regulariser=shrunk", "'ledoit-wolf', 'oas', 'ridge', 'low-rank' or 'low-variance'"),
        ("head.further_kinds=gaussian", "must name other kinds than gaussian"),
        ("head.further_kinds=[knn, knn]", "each once"),
        ("head={further_kinds: [ocsvm-linear], l2: true}", "needs head.l2=false"),
        ("head.kind=kde", "needs head.scope=shared, not per-position"),
        ("head={kind: ocsvm-linear, scope: shared, l2: true}", "needs head.l2=false"),
        ("head={kind: kde, scope: shared, references: 50000}", "20000"),
        ("head.regulariser=low-rank", "head.components of 1 to 99, not None"),
        ("head={regulariser: low-variance, components: 100}", "head.components of 1 to 99, not 100"),
        ("head.components=5", "goes with head.regulariser=low-rank or low-variance, not ledoit-wolf"),
        ("nonsense=1", "known setting"),
    ],
)
def test_wrong_settings_are_reported(override, message):
    with pytest.raises(InputError, match=message):
        load_settings(TrainConfig, [], [override])


def test_heads_of_other_kinds_are_not_chosen_among():
    own = ["selection.enabled=true", "head.scope=shared"]
    load_settings(TrainConfig, [], own)
    with pytest.raises(InputError, match=r"needs head\.kind=gaussian"):
        load_settings(TrainConfig, [], [*own, "head.kind=nearest"])
    with pytest.raises(InputError, match=r"needs head\.kind=gaussian"):
        load_settings(TrainConfig, [], [*own, "head.further_kinds=knn"])


def test_wrong_files_are_reported(tmp_path):
    with pytest.raises(InputError, match="configuration file at"):
        load_settings(TrainConfig, [tmp_path / "absent.yaml"], [])
    path = tmp_path / "x.yaml"
    for content, message in (
        (b"- 1\n", "sections and fields"),
        (b"a: [", "valid YAML"),
        (b"\xff\xfe", "configuration file"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_settings(TrainConfig, [path], [])
    path.write_bytes(b"#" * (1 << 17))
    for large in (path, Path("/dev/zero")):
        with pytest.raises(InputError, match="at most 64 KB"):
            load_settings(TrainConfig, [large], [])


def test_yaml_builds_no_objects(tmp_path):
    path = Path(tmp_path / "x.yaml")
    path.write_text("optimiser: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="valid YAML"):
        load_settings(TrainConfig, [path], [])


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(22))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 30_000, "more than 8 levels"),
        ("{a: " * 10_000, "more than 8 levels"),
        ("- " * 20_000 + "x", "more than 8 levels"),
        (BOMB, "anchors"),
        ("event: *k", "aliases"),
        ("event: {k: !!int three}", "tags"),
        ("event: {k: " + "9" * 5000 + "}", "more than 1000 characters"),
        ("event: {k: 2026-13-01}", "month must be in 1..12"),
        ("event: {k: 0b_}", "invalid literal"),
        ("event: {k: 1}\nengine: {spin: true}\nevent: {n: 2}", r"event a second time, line 3"),
        ("event: {release: 0x" + "f" * 990 + "}", r"event\.release"),
        ("1: 2", "known setting; found '1'"),
        ("event: {k: '" + "x" * 900 + "'}", r"event\.k"),
    ],
    ids=lambda value: value[:20],
)
def test_what_no_setting_needs_is_refused_and_hardly_quoted(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_settings(RunConfig, [path], [])
    assert len(str(caught.value)) < 1000


@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"\n ,?#%@`01._x~<=\t\x00\ud7ff", max_size=60), nested=st.booleans())
@example(text="0b_", nested=True)
@example(text="2026-13-01", nested=True)
@example(text="\ud7ff", nested=False)
def test_any_text_gives_settings_or_an_error_for_the_user(tmp_path_factory, text, nested):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(f"event: {{k: {text}}}" if nested else text, encoding="utf-8")
    for files, overrides in (([path], []), ([], [f"event.n={text}"]), ([], [text])):
        with contextlib.suppress(InputError):
            load_settings(RunConfig, files, overrides)


def test_a_path_of_many_levels_is_refused():
    with pytest.raises(InputError, match="at most 8 levels") as caught:
        load_settings(RunConfig, [], [".".join("a" * 5000) + "=1"] * 2)
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("optimizer.steps=3", "did you mean optimiser?"),
        ("steps=3", "did you mean optimiser.steps?"),
        ("optimiser.stepz=3", "did you mean optimiser.steps?"),
        ("encoder.size=3", "did you mean input.size"),
        ("further_branches=[{encoder: {nam: x}}]", "did you mean further_branches.0.encoder.name?"),
        ("further_branches=[{encodr: {}}]", "did you mean further_branches.0.encoder?"),
        ("xyzzy=1", "known are encoder, pretext, views, optimiser"),
        ("map.xyzzy=1", "known are map.sigma, map."),
    ],
)
def test_an_unknown_setting_is_reported_with_the_nearest_known_one(override, advice):
    with pytest.raises(InputError) as caught:
        load_settings(TrainConfig, [], [override])
    assert caught.value.advice.startswith(advice)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(InputError, match="quick"):
        preset("slow")


def test_more_threads_than_processors_are_reported(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert load_settings(RunConfig, [], ["engine.threads=8"]).engine.options().threads == 8
    with pytest.raises(UserError) as told:
        load_settings(RunConfig, [], ["engine.threads=100000"])
    assert (told.value.exit_code, told.value.found) == (2, "100000")
    assert "1 to 8 threads" in told.value.expected
    with pytest.raises(InputError, match=r"engine\.threads"):
        load_settings(RunConfig, [], ["engine.threads=0"])


class Inner(BaseModel):
    renamed: ClassVar[dict[str, str]] = {"earlier": "current"}
    current: int = 0
    other: int = 0


class Outer(BaseModel):
    renamed: ClassVar[dict[str, str]] = {"old": "one"}
    one: Inner = Inner()
    many: tuple[Inner, ...] = ()


@pytest.mark.parametrize(("first", "second"), list(product(["old.earlier", "one.earlier", "one.current"], repeat=2)))
def test_a_later_override_wins_by_either_name(first, second):
    settings = load_settings(Outer, [], ["one.other=5", f"{first}=1", f"{second}=2"])
    assert settings.one == Inner(current=2, other=5)


def test_an_earlier_name_is_logged_once(tmp_path, caplog):
    path = tmp_path / "x.yaml"
    path.write_text("many: [{current: 1}, {earlier: 2, other: 3}]\n")
    for _ in range(2):
        assert load_settings(Outer, [path], []).many == (Inner(current=1), Inner(current=2, other=3))
    assert [record.getMessage() for record in caplog.records] == [
        "the setting many.1.earlier is called many.1.current now; the earlier name is still accepted"
    ]
