"""Brings the libraries of the pages into the repository: of each package that `npm pack` gives, the files named."""

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "src" / "headrace" / "pages" / "vendor"


def bring(package: dict, work: str) -> None:
    wanted = f"{package['name']}@{package['version']}"
    packed = subprocess.run(
        ["npm", "pack", "--silent", wanted], cwd=work, check=True, capture_output=True, text=True, timeout=120
    )
    with tarfile.open(Path(work) / packed.stdout.strip().splitlines()[-1]) as archive:
        for file in package["files"]:
            held = archive.extractfile(f"package/{file['source']}")
            assert held is not None, f"{wanted} has no file {file['source']}"
            body = held.read()
            target = FOLDER / file["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
            file["sha256"] = hashlib.sha256(body).hexdigest()
    print(f"{wanted}: {', '.join(file['file'] for file in package['files'])}")


def main() -> None:
    listing = FOLDER / "vendor.json"
    packages = json.loads(listing.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as work:
        for package in packages:
            bring(package, work)
    listing.write_text(json.dumps(packages, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
