"""Install the course from this folder, without a network. README.md, README.ko.md.

    python3 install.py                  into the folder kotune-course of your home
    python3 install.py FOLDER           somewhere else

Nothing but Python is needed. Run again, it goes on where it was stopped; a file that you have changed stays yours.
"""

import argparse
import hashlib
import json
import locale
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = ".kotune-bundle"  # in a folder that this program has begun
SAID = {  # in English and in Korean
    "error": ("error: {}", "오류: {}"),
    "no_bundle": (
        "{here} holds no whole bundle (bundle.json); copy the folder again.",
        "{here}에 온전한 설치 묶음이 없습니다(bundle.json). 폴더를 다시 복사하세요.",
    ),
    "other_machine": (
        "This bundle is for {made_for}, and this machine is {here}; ask for one that was made on such a machine.",
        "이 설치 묶음은 {made_for}용인데 이 컴퓨터는 {here}입니다. 같은 종류의 컴퓨터에서 만든 묶음을 받으세요.",
    ),
    "other_python": (
        "This bundle is for Python {made_for}, and this is Python {here}; run it with Python {made_for}.",
        "이 설치 묶음은 Python {made_for}용인데 지금은 Python {here}입니다. Python {made_for} 버전으로 실행하세요.",
    ),
    "not_whole": (
        "{name} is missing or not as it was made; copy the bundle again.",
        "{name} 파일이 없거나 만들 때와 다릅니다. 설치 묶음을 다시 복사하세요.",
    ),
    "not_empty": (
        "{target} holds other files; name an empty folder, as in: python3 install.py FOLDER.",
        "{target}에 다른 파일이 있습니다. python3 install.py 폴더처럼 빈 폴더를 지정하세요.",
    ),
    "no_environment": (
        "No virtual environment could be made; on Debian and Ubuntu the package python3-venv is needed for it.",
        "가상 환경을 만들지 못했습니다. Debian과 Ubuntu에서는 python3-venv 패키지가 필요합니다.",
    ),
    "step_failed": (
        "The last step failed, for the reason that stands above; run this program again to go on from there.",
        "마지막 단계가 위에 적힌 이유로 실패했습니다. 이 프로그램을 다시 실행하면 거기서 이어 갑니다.",
    ),
    "comparing": (
        "1. The {files} files of this folder are compared with their sums ...",
        "1. 이 폴더의 파일 {files}개가 온전한지 확인합니다 ...",
    ),
    "copying": ("2. The course is copied to {target} ...", "2. 강의 파일을 {target} 폴더로 복사합니다 ..."),
    "kept": (
        "   {kept} files were there already, and stay as they are.",
        "   이미 있던 파일 {kept}개는 그대로 두었습니다.",
    ),
    "installing": (
        "3. The packages are installed into its folder .venv ...",
        "3. 그 안의 .venv 폴더에 패키지를 설치합니다 ...",
    ),
    "preparing": (
        "4. The model is made ready, once (half a minute) ...",
        "4. 모델을 한 번 준비합니다(30초쯤 걸립니다) ...",
    ),
    "installed": (
        "Installed in {minutes:.1f} minutes. Open {target} in VS Code or Jupyter, with .venv as the environment.\n"
        "In a terminal: cd {target}, then {activate}",
        "{minutes:.1f}분 만에 설치했습니다. VS Code나 Jupyter에서 {target} 폴더를 열고 환경으로 .venv를 고르세요.\n"
        "터미널에서는 cd {target}, 그다음 {activate}",
    ),
}


class InstallError(Exception):
    """It cannot be installed; one sentence."""


def said(key: str, *values: object, **named: object) -> str:
    """Return a sentence in the language that KOTUNE_LANG or the system asks for."""
    asked = os.environ.get("KOTUNE_LANG") or locale.getlocale()[0] or ""
    return SAID[key][asked.lower().startswith("ko")].format(*values, **named)


def tell(key: str, **named: object) -> None:
    """Print a sentence."""
    print(said(key, **named), flush=True)


# --- what is checked before ------------------------------------------------------------------


def read_card() -> dict:
    """Return what the bundle holds."""
    try:
        card = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        card = {}
    if "sha256" not in card:
        raise InstallError(said("no_bundle", here=HERE))
    return card


def require_machine(card: dict) -> None:
    """Stop on another kind of machine or another Python than the wheels are made for."""
    kind, python = f"{platform.system()} {platform.machine()}", ".".join(platform.python_version_tuple()[:2])
    if card["platform"] != kind:
        raise InstallError(said("other_machine", made_for=card["platform"], here=kind))
    if card["python"] != python:
        raise InstallError(said("other_python", made_for=card["python"], here=python))


def require_whole(card: dict) -> None:
    """Compare every file with its sum: a stick that was pulled out too early leaves files that are cut."""
    for name, due in card["sha256"].items():
        if sum_of(HERE / name) != due:
            raise InstallError(said("not_whole", name=name))


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file, or nothing for one that cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
    except OSError:
        return ""
    return digest.hexdigest()


# --- the steps -------------------------------------------------------------------------------


def copy_course(card: dict, target: Path) -> int:
    """Copy the course, and return how many files were there already; those stay as they are."""
    if target.exists() and any(target.iterdir()) and not (target / MARK).exists():
        raise InstallError(said("not_empty", target=target))
    target.mkdir(parents=True, exist_ok=True)
    (target / MARK).write_text("", encoding="utf-8")
    kept = 0
    for name in card["sha256"]:
        if not name.startswith("course/"):
            continue
        file = target / name[len("course/") :]
        if file.exists():
            kept += 1
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.unfinished")
        shutil.copyfile(HERE / name, unfinished)
        os.replace(unfinished, file)
    return kept


def make_environment(target: Path) -> Path:
    """Make .venv in the course, and return its Python."""
    folder = target / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() and subprocess.call([sys.executable, "-m", "venv", str(folder)]):
        shutil.rmtree(folder, ignore_errors=True)
        raise InstallError(said("no_environment"))
    return python


def run(python: Path, *arguments: object, where: Path) -> None:
    """Run a program of the environment; no setting of this machine sends pip to an index."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") and name != "PYTHONPATH"}
    own.update(PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1", HF_HUB_OFFLINE="1")
    if subprocess.call([str(python), *map(str, arguments)], cwd=str(where), env=own):
        raise InstallError(said("step_failed"))


def install(card: dict, target: Path) -> None:
    """Do the steps, and say each before it is done."""
    tell("comparing", files=len(card["sha256"]))
    require_whole(card)
    tell("copying", target=target)
    kept = copy_course(card, target)
    if kept:
        tell("kept", kept=kept)
    tell("installing")
    python = make_environment(target)
    constraints = ["-c", target / "constraints.txt"] if (target / "constraints.txt").exists() else []
    extras = f"[{','.join(card['extras'])}]" if card["extras"] else ""
    wheels = ("--no-index", "--find-links", HERE / "wheels")
    run(python, "-m", "pip", "install", *wheels, *constraints, "-e", f"{target}{extras}", *card["also"], where=target)
    if card["prepare"]:
        tell("preparing")
        run(python, "-c", card["prepare"], where=target)


def main() -> int:
    """Install, and say how to go on; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path.home() / "kotune-course")
    target = parser.parse_args().folder.expanduser().resolve()
    started = time.monotonic()
    try:
        card = read_card()
        require_machine(card)
        install(card, target)
    except InstallError as error:
        print(said("error", error), file=sys.stderr)
        return 1
    except OSError as error:
        print(said("error", f"{error.filename or target}: {error.strerror}"), file=sys.stderr)
        return 1
    activate = r".venv\Scripts\activate" if os.name == "nt" else "source .venv/bin/activate"
    tell("installed", minutes=(time.monotonic() - started) / 60, target=target, activate=activate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
