"""The ready-made dashboards of docs/dashboards: Node-RED's in a real Node-RED, the keys that others read."""

import json
import re
import subprocess
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from mqtt_helpers import free_port, wait_until
from node import node_module
from webdriver import MISSING, Browser

from edge_occ.mqtt.schemas import json_schemas
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.station import Station

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "dashboards"
SETTINGS = """module.exports = {
  uiHost: '127.0.0.1', uiPort: %d, flowFile: 'flows.json', credentialSecret: false,
  telemetry: { enabled: false, updateNotification: false }, externalModules: { autoInstall: false },
  logging: { console: { level: 'info', metrics: false, audit: false } }
}
"""


def load(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


class NodeRed:
    """Node-RED with one flow, as a process."""

    def __init__(self, folder, flow):
        self.port = free_port()
        self.log = folder / "node-red.log"
        (folder / "settings.js").write_text(SETTINGS % self.port)
        (folder / "flows.json").write_text(json.dumps(flow))
        program = node_module("node-red") / "red.js"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["node", str(program), "--userDir", str(folder)], stdout=log, stderr=log, cwd=folder
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def wait_for(self, words, patience=90):
        for _ in range(patience * 2):
            if words in self.log.read_text(encoding="utf-8"):
                return
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            try:
                self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
        pytest.fail(f"Node-RED has not said {words!r}:\n{self.log.read_text(encoding='utf-8')}")


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_flow_of_node_red_shows_a_run(tmp_path, broker, tiny_bundle, tiny_data):
    node_module("@flowfuse/node-red-dashboard")
    prefix = f"line-{uuid4().hex[:8]}"
    flow = json.loads((FOLDER / "node-red.json").read_text(encoding="utf-8").replace("edge-occ/+", f"{prefix}/+"))
    (server,) = (node for node in flow if node["type"] == "mqtt-broker")
    server.update(broker="127.0.0.1", port=str(broker.port))
    mqtt = {"broker": broker.url, "prefix": prefix, "device": "press-1", "heatmap_hz": 50}
    config = RunConfig.model_validate({"engine": {"name": "cpu"}, "mqtt": mqtt})
    spot = f"{tiny_data / 'test' / 'spot'}?fps=4"
    (tmp_path / "node-red").mkdir()
    with ExitStack() as stack:
        red = stack.enter_context(NodeRed(tmp_path / "node-red", flow))
        red.wait_for("Connected to broker")
        browser = stack.enter_context(Browser(tmp_path / "browser", size=(1200, 1000)))
        browser.open(f"http://127.0.0.1:{red.port}/dashboard/inspection")
        wait_until(lambda: "Heatmaps" in browser.run("return document.body.innerText"), "the page")
        Station(config, tiny_bundle, {"left": spot, "right": spot}).run(lambda _: None)
        images = "return [...document.querySelectorAll('figure img')].map(i => [i.alt, i.naturalWidth])"
        wait_until(lambda: len(browser.run(images)) == 2, "two heatmaps")
        wait_until(lambda: all(width == 112 for _, width in browser.run(images)), "their pictures")
        assert {name for name, _ in browser.run(images)} == {f"{prefix}/press-1/left", f"{prefix}/press-1/right"}
        wait_until(lambda: "end" in browser.text("table"), "the end of an event")
        rows = browser.text("table")
        for word in ("press-1/left", "press-1/right", "start"):
            assert word in rows
        assert browser.run(
            "return document.querySelectorAll('canvas').length || document.querySelectorAll('svg').length"
        )
        (tmp_path / "page.png").write_bytes(browser.screenshot())  # for people
        with urllib.request.urlopen(
            f"http://127.0.0.1:{red.port}/dashboard/_debug/datastore/edge-occ-score-widget"
        ) as answer:
            points = [message["_datapoint"] for message in json.load(answer)]
    assert {point["category"] for point in points} == {"press-1/left", "press-1/right"}
    assert len(points) == 8
    assert all(point["x"] > 1.7e12 and isinstance(point["y"], float) for point in points)
    errors = [line for line in red.log.read_text(encoding="utf-8").splitlines() if "[error]" in line]
    assert errors == []


def keys(kind):
    """Keys of a kind's messages that hold one value."""
    return {name for name, field in json_schemas()[kind]["properties"].items() if field.get("type") != "array"}


def test_the_flow_of_node_red_reads_keys_that_exist():
    nodes = {node["id"]: node for node in load("node-red.json")}
    for kind in ("score", "event"):
        used = set(re.findall(r"\bp\.(\w+)", nodes[f"edge-occ-{kind}-function"]["func"]))
        made = set(re.findall(r"\bp\.(\w+) = ", nodes[f"edge-occ-{kind}-function"]["func"]))
        widget = nodes[f"edge-occ-{kind}-widget"]
        used |= {column["key"] for column in widget.get("columns", [])}
        used |= {widget[name] for name in ("category", "xAxisProperty", "yAxisProperty") if name in widget}
        assert used - made <= keys(kind)
        assert len(used) >= 4
    targets = {target for node in nodes.values() for wires in node.get("wires", []) for target in wires}
    assert targets == {
        f"edge-occ-{kind}-{part}" for kind in ("score", "heatmap", "event") for part in ("function", "widget")
    }


def test_the_live_dashboard_of_grafana_reads_keys_that_exist():
    for panel in load("grafana-mqtt.json")["panels"]:
        (kind,) = {target["topic"].rpartition("/")[2] for target in panel["targets"]}
        assert {target["topic"] for target in panel["targets"]} == {f"edge-occ/+/{kind}", f"edge-occ/+/+/{kind}"}
        for step in panel["transformations"]:
            options = step["options"]
            names = options.get("include", {}).get("names", [])
            names += [conversion["targetField"] for conversion in options.get("conversions", [])]
            names += options["fields"] if isinstance(options.get("fields"), list) else []
            assert names
            assert set(names) <= keys(kind), panel["title"]


def test_the_history_of_grafana_reads_what_telegraf_writes():
    telegraf = pytest.importorskip("tomllib").loads((FOLDER / "telegraf.conf").read_text(encoding="utf-8"))
    written = {}
    for source in telegraf["inputs"]["mqtt_consumer"]:
        kind = source["name_override"]
        assert source["topics"] == [f"edge-occ/+/{kind}", f"edge-occ/+/+/{kind}"]
        schema = json_schemas()[kind]
        fields, defined = schema["properties"], schema.get("$defs", {})
        strings = set(source["json_string_fields"])
        assert {*strings, *source["tag_keys"], source["json_time_key"]} <= keys(kind)
        # Telegraf writes numbers without being asked, strings and booleans where they are named.
        numbers = {name for name, field in fields.items() if field.get("type") in ("number", "integer")}
        written[kind] = strings | numbers
        objects = {name for name, part in defined.items() if "properties" in part}
        nested = {
            name
            for name, field in fields.items()
            if field.get("type") == "array" or field.get("$ref", "").rpartition("/")[2] in objects
        }
        assert {f"{name}_*" for name in nested} == set(source.get("fieldexclude", []))
    assert written.keys() == {"score", "event", "stats"}
    for panel in load("grafana-influxdb.json")["panels"]:
        for target in panel["targets"]:
            (measurement,) = re.findall(r'_measurement == "(\w+)"', target["query"])
            fields = set(re.findall(r'_field == "(\w+)"', target["query"]))
            assert fields
            assert fields <= written[measurement], panel["title"]


@pytest.mark.parametrize("name", ["grafana-mqtt.json", "grafana-influxdb.json"])
def test_panels_of_grafana_name_the_data_source_of_the_import(name):
    dashboard = load(name)
    (wanted,) = dashboard["__inputs"]
    source = {"type": wanted["pluginId"], "uid": f"${{{wanted['name']}}}"}
    for panel in dashboard["panels"]:
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize("name", ["grafana-mqtt.json", "grafana-influxdb.json"])
def test_dashboards_of_grafana_have_the_types_of_its_schema(tmp_path, name):
    """Checked by the TypeScript compiler against the types that Grafana publishes."""
    modules = node_module("@grafana/schema").parents[1]
    compiler = node_module("typescript") / "bin" / "tsc"
    imported = {key: value for key, value in load(name).items() if key not in ("__inputs", "__requires")}

    def complaints(dashboard):
        (tmp_path / "node_modules").unlink(missing_ok=True)
        (tmp_path / "node_modules").symlink_to(modules)
        source = tmp_path / "dashboard.ts"
        source.write_text(
            'import type { Dashboard } from "@grafana/schema";\n'
            f"export const dashboard: Dashboard = {json.dumps(dashboard)};\n"
        )
        options = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"]
        command = ["node", str(compiler), *options, "--target", "es2022", str(source)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False).stdout

    assert complaints(imported) == ""
    assert "is not assignable" in complaints({**imported, "schemaVersion": "39"})
