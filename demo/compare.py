"""Compares two answers: fails unless both have the same bits."""
import json
import sys

calm, killed = (json.load(open(path)) for path in sys.argv[1:3])
print(f"   undisturbed  {calm['attempts']} attempt(s), {calm['elapsed_s']:5.1f} s   hash {calm['hash']}")
print(f"   killed       {killed['attempts']} attempt(s), {killed['elapsed_s']:5.1f} s   hash {killed['hash']}")
again = killed["attempts"] > 1 or killed["resumed_blocks"] > 0
if calm["hash"] != killed["hash"] or calm["answer"] != killed["answer"]:
    sys.exit("   DIFFERENT: this is a bug")
if not again:
    sys.exit("   the kill did not hit: run the demo again")
print("   the same answer, bit for bit")
