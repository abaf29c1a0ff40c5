"""One patchsim answers many questions: a path goes in, an object with the matches comes out."""

import json
import subprocess

COMMAND = ["patchsim", "scan", "-", "--kernel", "folder.png", "--threshold", "0.95"]


def ask(finder, image):
    """Return what `patchsim scan` says of a picture."""
    finder.stdin.write(json.dumps({"image": image}) + "\n")
    finder.stdin.flush()
    return json.loads(finder.stdout.readline())


with subprocess.Popen(
    [*COMMAND, "--top=1", "--format=jsonl"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
) as finder:
    for image in ("desktop.png", "retina.png", "desktop.png"):
        answer = ask(finder, image)
        if "error" in answer:
            raise SystemExit(answer["error"])
        for match in answer["matches"]:
            print(f"{image}: click {match['click_x']} {match['click_y']}")
        if not answer["matches"]:
            print(f"{image}: not there")
    finder.stdin.close()
