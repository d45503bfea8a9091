"""Logs in to shells and to switches with candidates with netmiko, as an operator's script would, and says what it saw.

Reads from standard input a JSON list of {"device": arguments of ConnectHandler, "plain": whether lines are given as commands, "lines",
"wrong": a line that must be refused, "show": a command, "commit"}. Writes a list of {"config", "wrong", "shown"} or {"error"}.
"""

import json
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

from netmiko import ConnectHandler


def visit(work):
    try:
        with ConnectHandler(**work["device"]) as switch:
            if work["plain"]:
                seen = {"config": "".join(switch.send_command(it) for it in work["lines"])}
                seen["wrong"] = switch.send_command(work["wrong"])
            else:
                seen = {"config": switch.send_config_set(work["lines"], exit_config_mode=False)}
                if work["commit"]:
                    seen["config"] += switch.commit()
                seen["wrong"] = switch.send_config_set([work["wrong"]], exit_config_mode=False)
                switch.exit_config_mode()
            seen["shown"] = switch.send_command(work["show"], read_timeout=20)
            return seen
    except Exception as error:  # noqa: BLE001: whatever it is, the test prints it
        return {"error": f"{error!r}\n{traceback.format_exc()}"}


def main():
    works = json.load(sys.stdin)
    with ThreadPoolExecutor(len(works)) as pool:
        json.dump(list(pool.map(visit, works)), sys.stdout)


main()
