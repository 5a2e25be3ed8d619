"""Runs PyTorch's attention when it is told to, and says how long it took."""
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(0)


def prepare(heads, rows, slots, dim, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    return (torch.rand(heads, rows, dim) / dim**0.5,
            torch.rand(heads, slots, dim).transpose(1, 2),
            torch.rand(heads, slots, dim))


def seconds(query, key, value):
    start = time.perf_counter()
    with torch.no_grad():
        torch.bmm(torch.softmax(torch.bmm(query, key), -1), value)
    return time.perf_counter() - start


problem = None
for line in sys.stdin:
    word, *numbers = line.split()
    if word == "version":
        print(torch.__version__, flush=True)
    elif word == "prepare":
        problem = None
        problem = prepare(*map(int, numbers))
        print("ready", flush=True)
    else:
        print(seconds(*problem), flush=True)
