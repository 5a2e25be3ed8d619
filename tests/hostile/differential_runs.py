"""One kernel against the other, and numbers of threads against each other.

Every command that takes threads is run on random caches: what it prints, its
status and the files that it writes must be the same bytes. Each run that is
compared with the first one of its command is a comparison.
"""
import os
import random
import subprocess

import tally

FIRST = ("scalar", "1")
OTHERS = [("scalar", "2"), ("scalar", "8"), ("avx2", "1"), ("avx2", "2"),
          ("avx2", "8")]
COMMANDS = [
    ["replay", "a.h5", "-v", "--mode", "faithful"],
    ["replay", "a.h5", "--json", "--verify"],
    ["replay", "a.h5", "-q", "--write", "OUT"],
    ["replay", "a.h5", "-q", "--svg", "OUT"],
    ["diff", "a.h5", "b.h5", "-v"], ["diff", "a.h5", "b.h5", "--json", "-v"],
    ["diff", "a.h5", "b.h5", "--exact", "--dead", "--json"],
    ["diff", "a.h5", "b.h5", "-q", "--html", "OUT"],
    ["stats", "a.h5", "--by", "head", "--csv"], ["stats", "a.h5", "--json"],
    ["stats", "a.h5", "-q", "--hist", "--svg", "OUT"],
    ["convert", "a.h5", "OUT", "-q"],
    ["convert", "a.h5", "OUT", "-q", "--compress"],
    ["convert", "a.h5", "OUT", "-q", "--to-format", "json"],
    ["convert", "a.h5", "OUT", "--json", "--dtype", "bf16"],
    ["convert", "a.h5", "OUT", "-q", "--dtype", "f16", "--overflow",
     "infinity"],
    ["convert", "packed.h5", "OUT", "-q", "--axes",
     "head,batch,dim,position"],
    ["dump", "packed.h5"], ["dump", "a.h5", "--values", "all", "-o", "OUT"],
    ["dump", "packed.h5", "--values", "all", "--encoding", "base64"],
    ["dump", "b.h5", "--values", "all", "--format", "csv"],
    ["dump", "a.h5", "--format", "ndjson"],
    ["validate", "a.h5", "b.h5", "--values", "--json"],
    ["insert", "a.h5", "b.h5", "OUT", "-q", "--mode", "faithful"],
]
FLAWS = ["nan", "inf", "zero", "repeat", "stale", "head-swap", "scale",
         "rotary", "mask", "drift", "final", "shift"]


def options_of(rng):
    """How a random cache is made."""
    key_heads = rng.choice([1, 2, 3])
    large = rng.random() < 0.2
    slots = rng.choice([700, 1100]) if large else rng.choice([24, 33, 70])
    words = ["--layers", rng.randint(1, 3), "--batch-size", rng.randint(1, 3),
             "--key-heads", key_heads, "--query-heads",
             key_heads * rng.choice([1, 2, 4]), "--head-dim",
             rng.choice([8, 16, 24, 40, 64]), "--sequence-length", slots,
             "--prompt", rng.randint(1, 9), "--steps", rng.randint(0, 6),
             "--dtype", rng.choice(["f64", "f32", "f16", "bf16"]), "--seed",
             rng.randrange(10**6), "--padding",
             rng.choice(["none", "left", "right"])]
    more = rng.choice([[], [], ["--quantization", "8bit"],
                       ["--quantization", "nf4", "--block-size", "64"],
                       ["--window", "9"], ["--softcap", "5"],
                       ["--rotary", "half"], ["--rotary", "interleaved"],
                       ["--layout", "ring", "--window", "20"],
                       ["--layout", "growing"], ["--stacked"],
                       ["--axes", "batch,head,position,dim"],
                       ["--head-map", "tile"], ["--masked-rows", "nan"],
                       ["--visibility", "mask"]])
    return [str(word) for word in words + more]


def sample(program, folder, name, rng, like=None):
    """Makes a cache of random options, or of those of another one."""
    while True:
        words = like or options_of(rng)
        flaw = ["--flaw", rng.choice(FLAWS)] if rng.random() < 0.4 else []
        done = subprocess.run(
            [program, "sample", "-q", "--force", name, *words, *flaw],
            cwd=folder, capture_output=True, timeout=60, check=False)
        if done.returncode == 0:
            return words


def run(program, folder, words, kernel, threads):
    """Status, output, error and the file written."""
    out = os.path.join(folder, "out")
    if os.path.exists(out):
        os.unlink(out)
    line = [program, *("out" if word == "OUT" else word for word in words),
            "--threads", threads]
    done = subprocess.run(line, cwd=folder, capture_output=True, timeout=120,
                          env=os.environ | {"KVTAPE_KERNEL": kernel},
                          check=False)
    written = b""
    if os.path.exists(out):
        with open(out, "rb") as file:
            written = file.read()
    return done.returncode, done.stdout, done.stderr, written


def has_avx2(program):
    """Whether this CPU can run the other kernel."""
    done = subprocess.run([program, "--version"], capture_output=True,
                          env=os.environ | {"KVTAPE_KERNEL": "avx2"},
                          check=False)
    return b"kernel avx2" in done.stdout


def job(program, folder, seed):
    """The tally of all commands on one pair of caches."""
    rng = random.Random(seed)
    result = tally.Tally()
    like = sample(program, folder, "a.h5", rng)
    sample(program, folder, "b.h5", rng, like if rng.random() < 0.8 else None)
    sample(program, folder, "packed.h5", rng, [*like, "--compress"])
    others = [(kernel, threads) for kernel, threads in OTHERS
              if kernel == "scalar" or has_avx2(program)]
    for words in COMMANDS:
        first = run(program, folder, words, *FIRST)
        if first[0] not in (0, 1, 2):
            result.complain(f"runs {seed} {words}", f"crash: {first[:3]}")
        for kernel, threads in others:
            result.add("comparisons")
            if run(program, folder, words, kernel, threads) != first:
                result.complain(f"runs {seed} {' '.join(words)} of {like}",
                                f"silent change: {kernel}, {threads} threads")
    return result
