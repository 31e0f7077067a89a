"""Generates contracts/rpc from contracts/proto: `./just gen` writes it, `./just gen --check` compares it.

The compiler is in grpcio-tools and the plug-in in betterproto2-compiler, both development dependencies.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "contracts" / "proto"
OUTPUT = ROOT / "contracts" / "rpc"
OPTIONS = "server_generation=async,client_generation=async,google_protobuf_descriptors"


def generate(into: Path) -> None:
    """Compiles every .proto file into the folder, which is emptied first."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    plugin = Path(sys.executable).with_name("protoc-gen-python_betterproto2")
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    subprocess.run(  # noqa: S603 - our own compiler on our own files
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{PROTO}",
            f"--plugin=protoc-gen-python_betterproto2={plugin}",
            f"--python_betterproto2_out={into}",
            f"--python_betterproto2_opt={OPTIONS}",
            *sources,
        ],
        check=True,
        stderr=subprocess.DEVNULL,
        # The plug-in formats its output. It runs elsewhere, so that this project's style settings do not apply.
        cwd=into.anchor,
        env={"PATH": f"{plugin.parent}:/usr/bin:/bin"},
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")}


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / "rpc"
            generate(fresh)
            if _files(fresh) != _files(OUTPUT):
                print("contracts/rpc is not what contracts/proto says: run ./just gen", file=sys.stderr)  # noqa: T201
                return 1
        return 0
    generate(OUTPUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
