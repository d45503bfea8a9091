"""Logs in to switches with netmiko, as an operator's script would, and says what it saw.

Reads from standard input a JSON list of {"device": arguments of ConnectHandler, "lines": configuration lines, "wrong": a line that
the switch must refuse, "show": a command}. Writes a list of {"prompt", "config", "wrong", "saved", "shown"} or {"error"}.
"""

import json
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from netmiko import ConnectHandler


def visit(work):
    try:
        begun = time.monotonic()
        with ConnectHandler(**work["device"]) as switch:
            if not switch.check_enable_mode():
                switch.enable()
            seen = {"prompt": switch.find_prompt()}
            # netmiko itself commits where the driver of that switch has a commit.
            seen["config"] = switch.send_config_set(work["lines"], exit_config_mode=not work.get("commit"))
            if work.get("commit"):
                seen["config"] += switch.commit()
                if switch.check_config_mode():
                    switch.exit_config_mode()
            if work.get("wrong"):
                seen["wrong"] = switch.send_config_set([work["wrong"]])
            if work.get("save", True):
                seen["saved"] = switch.save_config()
            seen["shown"] = switch.send_command(work["show"], read_timeout=20)
            seen["seconds"] = time.monotonic() - begun
            return seen
    except Exception as error:  # noqa: BLE001: whatever it is, the test prints it
        return {"error": f"{error!r}\n{traceback.format_exc()}"}


def main():
    works = json.load(sys.stdin)
    with ThreadPoolExecutor(len(works)) as pool:
        json.dump(list(pool.map(visit, works)), sys.stdout)


main()
