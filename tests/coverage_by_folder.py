"""Print the line coverage of each folder of the package, from the data file of pytest-cov."""

from collections import defaultdict
from pathlib import Path

from coverage import Coverage

PACKAGE = Path(__file__).resolve().parents[1] / "ray_pipeline"
TOP = "(top)"  # modules directly in the package


def folder_of(path: Path) -> str:
    """Return the folder of the package that a module belongs to."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else TOP


def main() -> None:
    """Print one line per folder, the least covered first, and the total."""
    coverage = Coverage()
    coverage.load()
    lines: defaultdict[str, int] = defaultdict(int)
    missing: defaultdict[str, int] = defaultdict(int)
    for path in sorted(PACKAGE.rglob("*.py")):
        _, statements, _, missed, _ = coverage.analysis2(str(path))
        for folder in (folder_of(path), "total"):
            lines[folder] += len(statements)
            missing[folder] += len(missed)
    shares = {folder: 1 - missing[folder] / lines[folder] for folder in lines if lines[folder]}
    print(f"{'folder':<12} {'lines':>7} {'missed':>7} {'covered':>8}")
    for folder in sorted(shares, key=lambda name: (name == "total", shares[name])):
        print(f"{folder:<12} {lines[folder]:>7} {missing[folder]:>7} {shares[folder]:>8.1%}")


if __name__ == "__main__":
    main()
