"""Loads a handler and runs it."""

import importlib.util
import inspect
import logging
import os
import stat
import sys
from typing import Any, Optional, Tuple

import skynet
from RuoteAMQP.host import FINAL, Host
from RuoteAMQP.workitem import Workitem
from skynet import faults
from skynet.item import Channel, speak_by
from skynet.participant import DESCRIPTOR

from . import layers
from .ExoParticipant import ExoParticipant

faults.hide(os.path.dirname(os.path.abspath(__file__)))

#: What the code was called where nothing else was said.
USUAL_CODE = "participant_logic.py"

# Modules whose names tell that a file was written for Python 2.
_OF_PYTHON_2 = (
    "ConfigParser", "Cookie", "HTMLParser", "Queue", "StringIO", "cPickle", "cStringIO", "commands",
    "cookielib", "httplib", "urllib2", "urlparse", "xmlrpclib",
)


class ParticipantConfigError(RuntimeError):
    """What is configured cannot be used."""


class ParticipantHandlerNotDefined(RuntimeError):
    """The code has no class ParticipantHandler."""


class InvalidParticipantHandlerSignature(RuntimeError):
    """It has one, but that cannot be made without arguments."""


class _Trial(Channel):
    """Where nothing runs this process: says what would be sent."""

    def forward(self, queue: str, item: bytes) -> Optional[int]:
        faults.say(f"not sent to {queue}, since this is a trial: {item.decode()}")
        return None


class Exo:
    """A participant, by its configuration file (as SkyNET had them) or by its code."""

    def __init__(
        self,
        local_config_file: Optional[str] = None,
        code: Optional[str] = None,
        site: str = layers.SITE,
        fault: int = FINAL,
    ) -> None:
        own = layers.parser()
        if local_config_file is not None and not layers.read(own, local_config_file):
            raise ParticipantConfigError(f"unable to read {local_config_file}")
        given = own.get("participant", "code", fallback=None)
        self.code = os.path.abspath(code or given or USUAL_CODE)
        if not self.code.endswith(".py"):
            raise ParticipantConfigError(f"{self.code}: the code is a file *.py")
        stem = os.path.basename(self.code)[: -len(".py")]
        named = own.get("participant", "name", fallback=None)
        #: What the participant is called.
        self.name: str = os.environ.get("SKYNET_PARTICIPANT") or named or stem
        self.log = logging.getLogger(self.name)
        self._own = local_config_file
        self._site = site
        self._fault = fault

    def run(self) -> None:
        """Runs it until no more items come. Ends the program."""
        if _is_by_hand():
            speak_by(_Trial())
        layers.environment(self.name, self._site)
        skynet.run(Host(ExoParticipant(self._begin), self._fault))

    def _begin(self, told: Any, send_to_engine: Any) -> Tuple[Any, Any]:
        config = layers.merged(self.name, self.code, self._site, self._own, told)
        level = config.get("skynet", "log_level", fallback=None)
        if level is not None:
            try:
                self.log.setLevel(int(level) if level.isdigit() else level.upper())
            except ValueError:
                self.log.warning("log_level: there is no level %s", level)
        handler = _made(_loaded(self.code))
        handler.log = self.log

        def send(workitem: Workitem) -> None:
            send_to_engine(workitem)

        handler.send_to_engine = send
        return handler, config


def _is_by_hand() -> bool:
    try:
        is_socket = stat.S_ISSOCK(os.fstat(DESCRIPTOR).st_mode)
    except OSError:
        is_socket = False
    return not is_socket and not os.environ.get("SKYNET_PARTICIPANT")


def _loaded(file: str) -> Any:
    """Returns the module that a file is, whatever else is called as it is."""
    name = os.path.basename(file)[: -len(".py")]
    # Folders that the site's environment names: it was set when Python had begun.
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    for folder in [*reversed(paths), os.path.dirname(file)]:
        if folder not in sys.path[:1]:
            sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ParticipantConfigError(f"unable to load {file}")
    module = importlib.util.module_from_spec(spec)
    # For classes that are pickled. One that is there is not ours to replace.
    sys.modules.setdefault(name, module)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        if "print" not in str(error) and "except" not in str(error):
            raise
        raise ParticipantConfigError(_old(error.filename or file, str(error))) from error
    except ModuleNotFoundError as error:
        if error.name not in _OF_PYTHON_2:
            raise
        raise ParticipantConfigError(_old(file, str(error))) from error
    return module


def _old(file: str, why: str) -> str:
    return f"{file} is written for Python 2 ({why}); convert it to Python 3, for example by 2to3"


def _made(module: Any) -> Any:
    kind = getattr(module, "ParticipantHandler", None)
    if kind is None:
        raise ParticipantHandlerNotDefined(f"{module.__file__} has no class ParticipantHandler")
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise InvalidParticipantHandlerSignature(f"ParticipantHandler: {error}") from None
    except ValueError:
        # What has no signature can be tried.
        pass
    handler = kind()
    if not callable(getattr(handler, "handle_wi", None)):
        raise ParticipantHandlerNotDefined("ParticipantHandler has no method handle_wi")
    return handler
