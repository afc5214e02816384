"""Worker processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time


def test_ctrl_c_may_end_workers_in_the_middle_of_a_task() -> None:
    """As a terminal sends it, to the process and its workers."""
    code = """
        import time
        from hdemucs.workers import worker_pool
        if __name__ == "__main__":
            with worker_pool(1, finish_tasks=False) as pool:
                pool.submit(time.sleep, 0).result()
                task = pool.submit(time.sleep, 60)
                print("started", flush=True)
                task.result()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
    assert time.monotonic() - began < 20
    assert complaint.splitlines()[-1] == "KeyboardInterrupt"
    assert "SpawnProcess" not in complaint
