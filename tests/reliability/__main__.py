"""Print the tally of a long run as a table: ``python -m tests.reliability TALLY.jsonl``."""

import json
import sys
from pathlib import Path


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    print("| what was tried | tried | survived | lost |\n|---|---|---|---|")
    for line in lines:
        lost = len(line["lost"])
        print(f"| {line['what']} | {line['tried']:,} | {line['tried'] - lost:,} | {lost} |")
    sys.exit(any(line["lost"] for line in lines))


if __name__ == "__main__":
    main()
