"""A real worker process over image files: everything but libvirt is what production runs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from seawall.agent.worker.main import main
from support.agent_file_host import adapters

if __name__ == "__main__":
    sys.exit(main(adapters))
