#!/bin/sh
# Makes the example ablations again: the bundled model at 8 times its training length, with the lag of different
# pairs clipped, and two other interventions. About a minute on two cores. Run from anywhere, ropediag on the path.
set -eu
cd "$(dirname "$0")"

ablate() {
    name=$1
    shift
    ropediag ablate --model demo --len 1024 --sequences 8 --force --out "example-ablation-$name.h5" "$@"
}

ablate clip-past --pairs past --random 3
ablate clip-before --pairs before --random 3
ablate clip-12-15 --pairs 12-15 --random 3
ablate clip-16-31 --pairs 16-31 --random 3
ablate clip-past-96 --pairs past --limit 96 --random 3
ablate freeze-past --pairs past --kind freeze --random 0
ablate log --kind log
