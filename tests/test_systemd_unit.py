"""The systemd unit."""

import subprocess

from deployment import INSTALLED, calls, fenced, options_of, text, tool, unit


def test_the_unit_is_well_formed():
    """Only keys of systemd 249, which Ubuntu 22.04 has."""
    known = {
        "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
        "Service": {
            *(
                "Type",
                "TimeoutStartSec",
                "WatchdogSec",
                "User",
                "SupplementaryGroups",
                "WorkingDirectory",
                "EnvironmentFile",
                "Environment",
                "ExecStart",
                "ExecReload",
            ),
            *(
                "CacheDirectory",
                "StateDirectory",
                "SuccessExitStatus",
                "RestartPreventExitStatus",
                "Restart",
                "RestartSec",
            ),
            *("TimeoutStopSec", "NoNewPrivileges", "CapabilityBoundingSet", "ProtectSystem", "ReadWritePaths"),
            *("ProtectHome", "ProtectKernelModules", "ProtectKernelTunables", "ProtectKernelLogs"),
            *("ProtectControlGroups", "ProtectHostname", "RestrictAddressFamilies", "RestrictNamespaces"),
            *("RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "SystemCallArchitectures"),
        },
        "Install": {"WantedBy"},
    }
    sections = unit()
    assert set(sections.sections()) == set(known)
    for section, keys in known.items():
        assert set(sections[section]) <= keys
    service = sections["Service"]
    assert service["User"] not in ("", "root")
    assert "video" in service["SupplementaryGroups"].split()
    (created,) = calls("useradd", fenced())
    assert created[-1] == service["User"]
    assert options_of(created)["--groups"].split(",") == service["SupplementaryGroups"].split()


def test_systemd_accepts_the_unit(tmp_path):
    program = tool("systemd-analyze")
    file = tmp_path / "edge-occ.service"
    # It looks for the program, too, which is not here.
    file.write_text(text("deploy/edge-occ.service").replace(INSTALLED, "/bin/true"))
    done = subprocess.run([program, "verify", "--man=no", str(file)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "edge-occ.service" in line]
    assert (done.returncode, complaints) == (0, [])
