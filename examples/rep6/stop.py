"""SIGTERM, SIGINT and SIGHUP as something to wait for, and dying of them once the work is safe."""

import os
import signal

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopSignal:
    """Catches the stopping signals from now on: `number` is the first that came, `fd` turns readable with it.

    A handler that raised instead could interrupt anything, the writing of the report included.
    """

    def __init__(self):
        self.number = None
        self.fd, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and `sh -c 'job &'` leave them
                signal.signal(number, self._note)

    def _note(self, number, _frame):
        if self.number is None:
            self.number = number

    @property
    def name(self):
        return None if self.number is None else signal.Signals(self.number).name

    def die(self):
        """Ends this process by the signal that came, so that the parent sees that signal and no exit code."""
        signal.signal(self.number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [self.number])
        os.kill(os.getpid(), self.number)


class held:
    """Keeps the stopping signals pending inside a `with` block; a process started in it keeps them so for good."""

    def __enter__(self):
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    def __exit__(self, *_):
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
