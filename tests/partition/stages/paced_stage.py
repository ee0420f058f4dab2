"""A stage that takes a given time for each frame: `python -m .. MODEL SECONDS`; prints its address.

It sleeps for what computing leaves of that time, so that several take turns on one processor.
"""

from __future__ import annotations

import sys
import threading
import time

from partition.model.folder import ModelFolder
from partition.stages import server
from partition.stages.stage_model import StageModel


class PacedStageModel(StageModel):
    def run(self, request):
        due_s = time.monotonic() + float(sys.argv[2])
        message = super().run(request)
        time.sleep(max(due_s - time.monotonic(), 0.0))
        return message


if __name__ == "__main__":
    server.StageModel = PacedStageModel
    with server.StageServer(ModelFolder.open(sys.argv[1]), "127.0.0.1:0") as stage:
        print(stage.address, flush=True)
        threading.Event().wait()
