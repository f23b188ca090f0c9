"""The SDK in somebody's program: it never recurses, deadlocks, hangs an exit or drops unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sdk.conftest import read_records
from tests.sdk.test_endings import numbers, run, slots

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = """
import concurrent.futures, logging, logging.config
logging.basicConfig(level=logging.DEBUG, handlers=[outrider.Handler()])
"""


def test_a_handler_that_cannot_write_does_not_log_about_it(tmp_path: Path, inbox: Path) -> None:
    """On the root logger, with an inbox that is none: one complaint and each record once, on
    standard error; nothing is logged about it, which would come back to the handler.
    """
    inbox.write_text("a file is in the way")

    ended = run(
        tmp_path,
        """
        outrider.init('s')
        for i in range(50):
            logging.getLogger('lib').debug('m %d', i)
        """,
        HANDLER,
        code=0,
    )

    told = ended.stderr.decode().splitlines()
    assert sum(line.startswith("outrider: the inbox cannot be used") for line in told) == 1
    assert sum('"message":"m ' in line for line in told) == 50
    assert "Traceback" not in ended.stderr.decode()


def test_a_value_that_logs_as_it_is_shown_is_two_records(tmp_path: Path, inbox: Path) -> None:
    """A field whose repr logs through the same handler re-enters it once, and both are stored."""
    run(
        tmp_path,
        """
        outrider.init('s')
        class Chatty:
            def __repr__(self):
                logging.getLogger('lib').info('inner')
                return 'chatty'
        logging.getLogger('lib').info('outer', extra={'value': Chatty()})
        """,
        HANDLER,
        code=0,
    )

    said = [r["message"] for r in read_records(inbox) if r.get("logger") == "lib"]
    assert said == ["inner", "outer"]


def test_a_thread_that_holds_loggings_lock_holds_up_nobody(tmp_path: Path, inbox: Path) -> None:
    """While another thread holds the lock of `logging` for ever, as one does in the middle of
    dictConfig, records go through both ways and the process ends.
    """
    run(
        tmp_path,
        """
        outrider.init('s')
        mine, held = logging.getLogger('lib'), threading.Event()
        # Whether a level is enabled is cached; the first look needs the lock of `logging` itself.
        assert mine.isEnabledFor(logging.INFO)
        def hold():
            logging._acquireLock() if hasattr(logging, '_acquireLock') else logging._lock.acquire()
            held.set()
            threading.Event().wait()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        write('a', 20)
        for i in range(20):
            mine.info('b %d', i)
        os._exit(0)
        """,
        HANDLER,
        code=0,
    )

    assert numbers(inbox, "a") == numbers(inbox, "b") == list(range(20))


def test_logging_is_configured_anew_while_threads_log(tmp_path: Path, inbox: Path) -> None:
    """A new configuration puts a new handler in place of the old one again and again: no deadlock,
    and no record of a thread that logs meanwhile is torn or there twice.
    """
    run(
        tmp_path,
        """
        outrider.init('s')
        def log(name):
            for i in range(300):
                logging.getLogger('lib').info('%s %d', name, i)
        threads = [threading.Thread(target=log, args=(n,)) for n in 'ab']
        for t in threads: t.start()
        for _ in range(50):
            logging.config.dictConfig({
                'version': 1, 'disable_existing_loggers': False,
                'handlers': {'o': {'class': 'outrider.Handler'}},
                'root': {'level': 'DEBUG', 'handlers': ['o']},
            })
        for t in threads: t.join()
        """,
        HANDLER,
        code=0,
    )

    for name in "ab":
        # Between its removal and the next there is no handler: that is logging's, not ours.
        assert numbers(inbox, name) == sorted(set(numbers(inbox, name)))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes(tmp_path: Path, inbox: Path, method: str) -> None:
    """Tasks of a ProcessPoolExecutor log through `logging` and the SDK; all of it is stored once,
    whichever way its processes are started.
    """
    run(
        tmp_path,
        f"""
        outrider.init('s')
        context = multiprocessing.get_context('{method}')
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            list(pool.map(task, range(20)))
        """,
        f"""{HANDLER}
def task(number):
    outrider.init('s')
    outrider.get_logger('t').info('own %d', number)
    logging.getLogger('lib').info('std %d', number)
""",
        code=0,
    )

    for name in ("own", "std"):
        assert sorted(numbers(inbox, name)) == list(range(20))


@pytest.mark.parametrize("inbox_is", ["missing", "a file", "a pipe", "locked"])
def test_no_agent_and_no_inbox_holds_an_exit_up(tmp_path: Path, inbox: Path, inbox_is: str) -> None:
    """With nobody at the other end, whatever is in the inbox's place, a program ends by itself."""
    functions = HANDLER
    if inbox_is == "a file":
        inbox.write_text("in the way")
    elif inbox_is == "a pipe":
        functions += "\nos.mkfifo(os.environ['OUTRIDER_INBOX'])\n"
    elif inbox_is == "locked":
        functions += """
import fcntl
os.makedirs(os.environ['OUTRIDER_INBOX'], exist_ok=True)
held = os.open(os.environ['OUTRIDER_INBOX'], os.O_RDONLY)
fcntl.flock(held, fcntl.LOCK_EX)
"""

    ended = run(tmp_path, "outrider.init('s')\nwrite('a', 20)\nprint('end')", functions, code=0)

    assert ended.stdout == b"end\n"
    if inbox_is in {"missing", "locked"}:
        assert numbers(inbox, "a") == list(range(20))


def test_without_an_agent_nothing_is_dropped_to_make_room(tmp_path: Path, inbox: Path) -> None:
    """Twenty thousand records that nobody reads are all there, the oldest too; none was counted."""
    run(tmp_path, "outrider.init('s')\nwrite('a', 20_000)", code=0)

    assert numbers(inbox, "a") == list(range(20_000))
    assert [s.dropped for s in slots(inbox)] == [0]
