"""Print the tally of a long run as a table: ``python -m tests.reliability TALLY.jsonl``."""

import json
import sys
from pathlib import Path


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    print("| what was tried | tried | survived | lost |\n|---|---|---|---|")
    trials = [line for line in lines if "what" in line]
    for line in trials:
        lost = len(line["lost"])
        print(f"| {line['what']} | {line['tried']:,} | {line['tried'] - lost:,} | {lost} |")
    print()
    for line in lines:
        if "measured" in line:
            print(f"- {line['measured']}")
    sys.exit(any(line["lost"] for line in trials))


if __name__ == "__main__":
    main()
