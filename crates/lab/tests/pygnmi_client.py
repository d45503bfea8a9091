"""Talks gNMI to a switch with pygnmi, as an operator's script would, and says what it saw.

Reads from standard input a JSON object {"port", "password", "interface", "vlan"}; writes one of what each step led to, or {"error"}.
"""

import json
import sys
import traceback

from pygnmi.client import gNMIclient


def visit(work):
    seen = {}
    switched = f"/interfaces/interface[name={work['interface']}]/ethernet/switched-vlan/config"
    vlan = f"/network-instances/network-instance[name=default]/vlans/vlan[vlan-id={work['vlan']}]"
    with gNMIclient(
        target=("127.0.0.1", work["port"]), username="admin", password=work["password"], insecure=True, gnmi_timeout=30
    ) as switch:
        seen["models"] = sorted(it["name"] for it in switch.capabilities()["supported_models"])

        def shown():
            got = switch.get(path=[switched + "/access-vlan"], encoding="json_ietf", datatype="config")
            return got["notification"][0]["update"][0]["val"]

        seen["at first"] = shown()
        answer = switch.set(
            update=[(vlan, {"config": {"vlan-id": work["vlan"], "name": "net"}})],
            replace=[(switched, {"interface-mode": "ACCESS", "access-vlan": work["vlan"]})],
            encoding="json_ietf",
        )
        seen["operations"] = sorted(it["op"] for it in answer["response"])
        seen["set"] = shown()
        try:
            switch.set(update=[(switched, {"access-vlan": 5000})], encoding="json_ietf")
            seen["refused"] = None
        except Exception as error:  # noqa: BLE001: pygnmi has its own kinds
            seen["refused"] = str(error)
        wanted = {"subscription": [{"path": switched, "mode": "on_change"}], "mode": "once", "encoding": "json_ietf"}
        leaves = {}
        for it in switch.subscribe2(subscribe=wanted):
            for one in it.get("update", {}).get("update", []):
                leaves[one["path"].rsplit("/", 1)[-1]] = one["val"]
            if it.get("sync_response"):
                break
        seen["told"] = leaves
        switch.set(delete=[switched])
        everything = switch.get(path=["/interfaces"], encoding="json_ietf", datatype="config")
        all_ports = everything["notification"][0]["update"][0]["val"]["openconfig-interfaces:interface"]
        seen["ports"] = len(all_ports)
    return seen


def main():
    try:
        seen = visit(json.load(sys.stdin))
    except Exception as error:  # noqa: BLE001: whatever it is, the test prints it
        seen = {"error": f"{error!r}\n{traceback.format_exc()}"}
    json.dump(seen, sys.stdout)


main()
