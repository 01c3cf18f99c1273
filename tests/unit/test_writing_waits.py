"""What the writer waits for is known while it waits, and by lane."""

import threading

from seawall.repository.writing.crew import Crew, Lane


def test_the_lane_is_named_while_its_job_is_waited_for() -> None:
    crew, go, seen = Crew(lambda: None), threading.Event(), []

    def job() -> None:
        go.wait(10)

    def look() -> None:
        while crew.waiting_for is None:
            pass
        seen.append(crew.waiting_for)
        go.set()

    observer = threading.Thread(target=look)
    observer.start()
    crew.result(crew.submit(Lane.UPLOAD, job))
    observer.join()
    assert seen == [Lane.UPLOAD] and crew.waiting_for is None
    crew.close()
