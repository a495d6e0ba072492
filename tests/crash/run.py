"""`make chaos`: kills, freezes and cuts everything while customers write, and says whether every promise was held.

    make chaos                       # 200 kills, a seed of its own, about ten minutes
    make chaos KILLS=25 SEED=7       # shorter, and repeatable
    make chaos MINUTES=30            # longer
    make chaos KILLS=25 SABOTAGE=no_fence                    # a build without one mechanism: promises should break
    python tests/crash/run.py --plan --seed 7 --kills 25     # only print what would be done

Ends with 1 when a promise was broken, with 130 after Ctrl-C; the folder with every process's log is kept then.
"""

import sys


def main() -> int:
    """Run; whoever stops it while it only loads reads a line, too."""
    try:
        from chaos import main as run
    except KeyboardInterrupt:
        sys.stderr.write("stopped before anything was started\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
