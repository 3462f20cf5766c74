"""Configuration and environment of a participant: several files and exo.yaml, the later the nearer.

Configuration:

    SITE/skynet.conf            the site's
    FILE                        the participant's own: one that is named, or NAME.conf beside the code
    *.conf of include_dir       as the section [skynet] says
    SITE/NAME.conf              the site's for this participant
    config of exo.yaml          objects are sections

Environment:

    environment of exo.yaml     what exo sets
    SITE/skynet.env             the site's, who has the last word: passwords stand there
    SITE/NAME.env               the site's for this participant
"""

import configparser
import glob
import os
import time
from typing import Any, Dict, List, Optional

from skynet import exact
from skynet.faults import say

#: The site's folder, unless another one is named.
SITE = "/etc/skynet"

# For handlers that make a Launcher of them. It uses none.
_BROKER = {"amqp_host": "localhost", "amqp_user": "boss", "amqp_pwd": "boss", "amqp_vhost": "boss"}


class _Patient(configparser.BasicInterpolation):
    """Takes a % that means nothing for itself, as in a password."""

    def before_get(self, parser: Any, section: Any, option: Any, value: Any, defaults: Any) -> Any:
        try:
            return super().before_get(parser, section, option, value, defaults)
        except configparser.InterpolationSyntaxError:
            return value

    def before_set(self, parser: Any, section: Any, option: Any, value: Any) -> Any:
        return value


def parser() -> configparser.ConfigParser:
    """Returns one with nothing in it."""
    return configparser.ConfigParser(interpolation=_Patient(), strict=False)


def read(config: configparser.ConfigParser, file: str) -> bool:
    """Reads a file, if it is there. What cannot be read is told and passed over."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as lines:
            config.read_file(lines, file)
        return True
    except FileNotFoundError:
        return False
    except (OSError, configparser.Error) as error:
        why = str(error).replace("\n", " ")
        say(f"warning: unable to read {file}: {why}; passed over")
        return False


def merged(
    name: str, code: str, site: str, own: Optional[str], told: Dict[str, Any]
) -> configparser.ConfigParser:
    """Returns all that is configured for a participant; `code` is the path of its code."""
    config = parser()
    config.read_dict({"boss": _BROKER})
    read(config, os.path.join(site, "skynet.conf"))
    if own is not None and not read(config, own):
        raise ValueError(f"unable to read {own}")
    if own is None:
        read(config, os.path.join(os.path.dirname(code), f"{name}.conf"))
    # What is told may name the folder.
    _add(config, told)
    folder = config.get("skynet", "include_dir", fallback=None)
    for file in sorted(glob.glob(os.path.join(glob.escape(folder), "*.conf"))) if folder else []:
        read(config, file)
    read(config, os.path.join(site, f"{name}.conf"))
    _add(config, told)
    if not config.has_section("participant"):
        config.add_section("participant")
    usual = {"name": name, "queue": name, "regexp": name, "code": os.path.basename(code)}
    for key, value in usual.items():
        if not config.has_option("participant", key):
            config.set("participant", key, value)
    return config


def _add(config: configparser.ConfigParser, told: Dict[str, Any]) -> None:
    """Adds what exo.yaml has; what is in no section is the default of all."""
    sections: Dict[str, Dict[str, str]] = {config.default_section: {}}
    for name, value in told.items():
        if isinstance(value, dict):
            section = sections.setdefault(name, {})
            section.update({key: _text(entry) for key, entry in value.items()})
        else:
            sections[config.default_section][name] = _text(value)
    config.read_dict(sections)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else exact.dumps(value).decode()


def environment(name: str, site: str) -> None:
    """Sets what the site's files have for all participants and for this one, `NAME=VALUE` a line."""
    zone = os.environ.get("TZ")
    for file in ("skynet.env", f"{name}.env"):
        path = os.path.join(site, file)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as lines:
                for number, line in enumerate(lines, 1):
                    _set(path, number, line.strip())
        except FileNotFoundError:
            pass
        except OSError as error:
            say(f"warning: unable to read {path}: {error}; passed over")
    if os.environ.get("TZ") != zone:
        # Python looked at it when it began.
        time.tzset()


def _set(file: str, number: int, line: str) -> None:
    if not line or line.startswith("#"):
        return
    words: List[str] = line.split(None, 1)
    if words[0] == "export" and len(words) == 2:
        line = words[1]
    name, found, value = line.partition("=")
    name, value = name.strip(), value.strip()
    if not found or not name or "\0" in line or name.startswith("SKYNET_"):
        say(f"warning: {file}:{number}: not a variable of the participant's; passed over")
        return
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    os.environ[name] = value
