"""Install: makes the peers' environments, or those named: `python -m benchmarks.peers.install`."""

import argparse
import subprocess
import sys
import venv

from benchmarks.peers.environments import PEERS, Peer

__all__ = ["install"]


def install(peer: Peer) -> None:
    """Make the peer's environment anew and mark it when it is complete."""
    venv.create(peer.environment, clear=True, with_pip=True)
    pip = [str(peer.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *peer.requirements], check=True)
    peer.complete.touch()


def main() -> None:
    """Install the peers that the command line names, or all."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(description="Makes the peers' environments.")
    parser.add_argument("peers", nargs="*", metavar="peer", help=f"of {', '.join(names)}")
    wanted = parser.parse_args().peers or names
    if unknown := sorted(set(wanted) - set(names)):
        sys.exit(f"Unknown: {', '.join(unknown)}. The peers are {', '.join(names)}.")
    for peer in PEERS:
        if peer.name in wanted:
            print(f"Installing {' '.join(peer.requirements)}")
            install(peer)


if __name__ == "__main__":
    main()
