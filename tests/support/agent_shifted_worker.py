"""agent_file_worker on a host whose clock is wrong: the first argument says by how many seconds."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from seawall.agent.worker import main as worker
from support.agent_file_host import adapters
from support.shifted_clock import ShiftedClock

if __name__ == "__main__":
    vars(worker)["SystemClock"] = partial(ShiftedClock, int(sys.argv.pop(1)))
    sys.exit(worker.main(adapters))
