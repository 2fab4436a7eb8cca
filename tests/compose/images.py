"""The images of the compose test: a base that is given or made here by debootstrap, and the product on top of it.

`BASE_IMAGE` names a base to use, as it does for docker-compose.yml (with a registry at hand: python:3.11-slim). Without
it a Debian with Python is made and stays in the engine for the next run. This machine's CA certificates and apt's ways
of fetching go into that base, so that the build reaches package indexes as this machine does; it is never published.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.compose.engine import Engine, NoEngine

ROOT: Final = Path(__file__).parents[2]
SUITE: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,ca-certificates"
MIRROR: Final = "http://deb.debian.org/debian"
CERTIFICATES: Final = Path("etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS: Final = ("index-url", "trusted-host", "proxy", "default-timeout")
APT_SETTINGS: Final = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy")


def build_product(engine: Engine) -> str:
    """Build deploy/Dockerfile and return the image's tag."""
    tag = "upstash-global:test"
    engine.docker(
        *("build", "--network=host", "--tag", tag, "--file", str(ROOT / "deploy" / "Dockerfile")),
        *("--build-arg", f"BASE_IMAGE={os.environ.get('BASE_IMAGE') or made_base(engine)}"),
        *(f"--build-arg={name}" for name in PROXIES if name in os.environ),  # docker takes the values from here
        str(ROOT),
        timeout=900,
    )
    return tag


def made_base(engine: Engine) -> str:
    """Tag of the Debian with Python, made once per recipe. Raises NoEngine when it cannot be made."""
    recipe = "\n".join((SUITE, PACKAGES, MIRROR, pip_configuration(), apt_configuration()))
    certificates = (Path("/") / CERTIFICATES).read_bytes()
    tag = "upstash-global-test-base:" + hashlib.sha256(recipe.encode() + certificates).hexdigest()[:16]
    if not engine.has_image(tag):
        make_base(engine, tag)
    return tag


def make_base(engine: Engine, tag: str) -> None:
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise NoEngine("no BASE_IMAGE is given, and making one needs debootstrap and root")
    with tempfile.TemporaryDirectory(prefix="upstash-global-base-") as directory:
        root = Path(directory) / "root"
        debootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), MIRROR]
        made = subprocess.run(debootstrap, capture_output=True, text=True, timeout=600)
        if made.returncode != 0:
            raise NoEngine("debootstrap failed: " + made.stdout[-2000:] + made.stderr[-500:])
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        shutil.copyfile(Path("/") / CERTIFICATES, root / CERTIFICATES)
        (root / "etc/pip.conf").write_text(pip_configuration())
        (root / "etc/apt/apt.conf.d/90host").write_text(apt_configuration())
        archive = Path(directory) / "root.tar"
        subprocess.run(["tar", "--create", "--file", str(archive), "--directory", str(root), "."], check=True)
        engine.docker("import", str(archive), tag, timeout=300)


def pip_configuration() -> str:
    """A pip.conf that reaches the index this machine uses; settings that name files of this machine stay out."""
    listed = output_of([sys.executable, "-m", "pip", "config", "list"])
    settings = dict(line.split("=", 1) for line in listed if "=" in line)
    chosen = {key.rpartition(".")[2]: text.strip("'") for key, text in settings.items()}
    lines = [f"{name} = {chosen[name]}" for name in PIP_SETTINGS if name in chosen]
    return "\n".join(("[global]", f"cert = /{CERTIFICATES}", *lines, ""))


def apt_configuration() -> str:
    """How this machine's apt fetches, without the rest of its settings."""
    return "".join(f"{line}\n" for line in output_of(["apt-config", "dump", "--no-empty", *APT_SETTINGS]))


def output_of(argv: list[str]) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
