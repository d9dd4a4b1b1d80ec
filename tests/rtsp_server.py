"""A network camera: GStreamer's RTSP server in a process of the system's Python, which has its bindings."""

from __future__ import annotations

import shutil
import subprocess
import sys

SCRIPT = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 ! "
                   "jpegenc ! rtpjpegpay name=pay0 pt=26 )")
factory.set_shared(True)
if len(sys.argv) > 2:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    basic = GstRtspServer.RTSPAuth.make_basic(sys.argv[2], sys.argv[3])
    auth.add_basic(basic, token)
    server.set_auth(auth)
    factory.add_role_from_structure(
        Gst.Structure.new_from_string("user, media.factory.access=true, media.factory.construct=true"))
server.get_mount_points().add_factory("/line", factory)
assert server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""

_PYTHON = "/usr/bin/python3"


def missing() -> str:
    """Return why there is no server here; empty if there is one."""
    if shutil.which(_PYTHON) is None:
        return f"no {_PYTHON} here"
    check = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer, Gst; "
        "Gst.init(None); assert Gst.ElementFactory.find('jpegenc') and Gst.ElementFactory.find('rtpjpegpay')"
    )
    result = subprocess.run([_PYTHON, "-c", check], capture_output=True, check=False, env={})
    return "" if result.returncode == 0 else "no GStreamer RTSP server here (gir1.2-gst-rtsp-server-1.0)"


class RtspServer:
    """A camera at ``rtsp://127.0.0.1:PORT/line`` with 25 frames a second of 160 x 120 pixels; a context manager.

    Args:
        port: free port.
        credentials: user name and password that it asks for.
    """

    def __init__(self, port: int, credentials: tuple[str, str] | None = None) -> None:
        self.url = f"rtsp://127.0.0.1:{port}/line"
        self._arguments = [_PYTHON, "-c", SCRIPT, str(port), *(credentials or ())]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> RtspServer:
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env={})
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, as when the camera loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
