#!/bin/bash
# One patchsim answers many questions: a path goes in, an object with the matches comes out.
set -eu

coproc FINDER { patchsim scan - --kernel folder.png --threshold 0.95 --top 1 --format jsonl; }

click() { # prints where the folder is in a picture
    echo "$1" >&"${FINDER[1]}"
    read -r answer <&"${FINDER[0]}"
    if [[ $answer =~ '"click_x": '([0-9]+)', "click_y": '([0-9]+) ]]; then
        echo "$1: click ${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
    elif [[ $answer =~ '"error": '(.*) ]]; then
        echo "$1: ${BASH_REMATCH[1]}" >&2
    else
        echo "$1: not there"
    fi
}

click desktop.png
click retina.png
click desktop.png

exec {FINDER[1]}>&- # the end of the list ends patchsim
wait
