"""`seer batch` as a child process: a request at a time, as JSON Lines over pipes."""

import json
import os
import shutil
import subprocess
import tempfile


class SeerError(RuntimeError):
    """The program could not be started, has ended, or refused a request."""


def find_program(program=None):
    """The path of the program: `program`, else $SEER_PROGRAM, else `seer` on the PATH."""
    wanted = program or os.environ.get("SEER_PROGRAM") or "seer"
    found = shutil.which(os.path.expanduser(wanted))
    if found is None:
        raise SeerError(f"no program '{wanted}': build seer, and name it by the model argument "
                        "program=, by SEER_PROGRAM, or put it on the PATH")
    return found


class SeerProgram:
    """Starts `seer batch` with `flags` and waits until the model is loaded; `info` is what it says of it.

    Raises SeerError. Not for several threads at once.
    """

    def __init__(self, flags, program=None):
        self._process = None
        # Not a pipe, which would have to be emptied all the time.
        self._errors = tempfile.TemporaryFile()
        command = [find_program(program), "batch", *flags]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=self._errors)
            self.info = self.ask({"kind": "info"})
        except OSError as error:
            self.close()
            raise SeerError(f"{command[0]}: cannot be started: {error}") from error
        except BaseException:
            self.close()
            raise

    def ask(self, request):
        """The answer to a request (without its id), as a dictionary."""
        if self._process is None:
            raise SeerError("seer batch was closed")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        except BaseException:
            # Ctrl-C, say: what comes next would be the answer to this.
            self.close()
            raise
        if not line.endswith(b"\n"):
            raise SeerError(self._epitaph())
        answer = json.loads(line)
        if "error" in answer:
            raise SeerError(f"seer batch refused a request of kind {request.get('kind')!r}: {answer['error']}")
        return answer

    def _epitaph(self):
        """Why the program has ended; it is waited for."""
        process, self._process = self._process, None
        process.stdin.close()
        code = process.wait()
        process.stdout.close()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip()[-2000:]
        self._errors.close()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"seer batch {how}" + (f":\n{last}" if last else "")

    def close(self):
        """Ends the program; further requests are refused."""
        process, self._process = self._process, None
        if process is not None:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.terminate()  # in the middle of a long request
                process.wait()
            process.stdout.close()
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_errors", None) is not None:
            self.close()
