"""Puts @headrace/client together and packs it.

What the chat page is served (`src/headrace/pages/client`, and the parser among `vendor`) is copied as it is, beside
the files that only programs use (`clients/javascript`). The TypeScript compiler writes the types, from the comments.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HERE = ROOT / "clients" / "javascript"
PAGES = ROOT / "src" / "headrace" / "pages"
# The files of the page → where they lie in the package. What they import of each other is relative, and stays so.
OF_THE_PAGE = {"client": "transport", "vendor/eventsource-parser": "vendor/eventsource-parser"}
LICENCE_OF_THE_PARSER = "vendor/licences/eventsource-parser.txt"


def npm(*arguments: str, folder: Path) -> str:
    ran = subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    if ran.returncode:
        sys.exit(f"npm {' '.join(arguments)} failed:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def install() -> None:
    """The compiler, as the lock has it."""
    stamp = HERE / "node_modules" / ".package-lock.json"
    if not stamp.exists() or stamp.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        npm("ci", "--no-audit", "--no-fund", folder=HERE)
        stamp.touch()


def assemble(work: Path) -> None:
    """Writes the package's files, without types."""
    for file in HERE.glob("*.js"):
        shutil.copy(file, work)
    for source, target in OF_THE_PAGE.items():
        (work / target).mkdir(parents=True)
        for file in (PAGES / source).glob("*.js"):
            shutil.copy(file, work / target)
    (work / LICENCE_OF_THE_PARSER).parent.mkdir(parents=True)
    shutil.copy(PAGES / LICENCE_OF_THE_PARSER, work / LICENCE_OF_THE_PARSER)
    shutil.copy(HERE / "README.md", work)
    shutil.copy(ROOT / "LICENSE", work)
    package = json.loads((HERE / "package.json").read_text(encoding="utf-8"))
    del package["devDependencies"]
    (work / "package.json").write_text(json.dumps(package, indent=2) + "\n", encoding="utf-8")


def add_types(work: Path) -> None:
    """Writes a `.d.ts` beside each file, and checks what the comments say."""
    stub = work / "vendor" / "eventsource-parser" / "index.d.ts"
    shutil.copy(HERE / "eventsource-parser.d.ts", stub)
    shutil.copy(HERE / "tsconfig.json", work)
    (work / "node_modules").symlink_to(HERE / "node_modules")
    compiler = HERE / "node_modules" / "typescript" / "bin" / "tsc"
    ran = subprocess.run(["node", str(compiler), "-p", str(work)], capture_output=True, text=True, timeout=120)
    if ran.returncode:
        sys.exit(f"the types do not hold:\n{ran.stdout}{ran.stderr}")
    (work / "node_modules").unlink()
    (work / "tsconfig.json").unlink()
    stub.unlink()


def main(target: Path) -> None:
    install()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        assemble(work)
        add_types(work)
        packed = json.loads(npm("pack", "--json", "--pack-destination", str(target.resolve()), folder=work))
    for one in packed.values() if isinstance(packed, dict) else packed:
        print(target / one["filename"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
