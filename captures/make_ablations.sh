#!/bin/sh
# Makes the example ablations again: the bundled model at 8 times its training length, with the lag of different
# pairs clipped, two other interventions, and folded lags as a curve over the trained reach. A few minutes on two
# cores. Run from anywhere, ropediag on the path.
set -eu
cd "$(dirname "$0")"

ablate() {
    name=$1
    shift
    ropediag ablate --model demo --len 1024 --sequences 8 --force --out "example-ablation-$name.h5" "$@"
}

ablate clip-past --pairs past --limit 127 --random 3
ablate clip-before --pairs before --limit 127 --random 3
ablate clip-12-15 --pairs 12-15 --limit 127 --random 3
ablate clip-16-31 --pairs 16-31 --limit 127 --random 3
ablate clip-past-96 --pairs past --limit 96 --random 3
ablate freeze-past --pairs past --kind freeze --random 0
ablate log --kind log
ablate fold-curve --pairs past --kind fold --at 0.7,0.85,1,1.1,1.2,1.4 --random 0 --sequences 4
