"""Talks NETCONF to a switch with ncclient, as an operator's script would, and says what it saw.

Reads from standard input a JSON object {"port", "password", "interface", "vlan", "other"}; writes one of what each step led to, or
{"error"}.
"""

import json
import sys
import time
import traceback

from ncclient import manager
from ncclient.operations import RPCError

EDIT = """
<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
  <interfaces xmlns="http://openconfig.net/yang/interfaces">
    <interface>
      <name>{interface}</name>
      <config><name>{interface}</name><description>{text}</description></config>
      <ethernet xmlns="http://openconfig.net/yang/interfaces/ethernet">
        <switched-vlan xmlns="http://openconfig.net/yang/vlan">
          <config><interface-mode>ACCESS</interface-mode><access-vlan>{vlan}</access-vlan></config>
        </switched-vlan>
      </ethernet>
    </interface>
  </interfaces>
  <network-instances xmlns="http://openconfig.net/yang/network-instance">
    <network-instance>
      <name>default</name>
      <vlans><vlan><vlan-id>{vlan}</vlan-id><config><vlan-id>{vlan}</vlan-id><name>net{vlan}</name></config></vlan></vlans>
    </network-instance>
  </network-instances>
</config>
"""

VLAN = "{http://openconfig.net/yang/vlan}access-vlan"


def access_vlan(switch, interface, source="running"):
    filtered = (
        '<interfaces xmlns="http://openconfig.net/yang/interfaces"><interface><name>' + interface + "</name></interface></interfaces>"
    )
    data = switch.get_config(source, filter=("subtree", filtered)).data
    found = [int(it.text) for it in data.iter(VLAN)]
    return found[0] if len(found) == 1 else found


def visit(work):
    seen = {}
    interface = work["interface"]
    with manager.connect(
        host="127.0.0.1",
        port=work["port"],
        username="admin",
        password=work["password"],
        hostkey_verify=False,
        look_for_keys=False,
        allow_agent=False,
        timeout=30,
    ) as switch:
        seen["capabilities"] = sorted(it for it in switch.server_capabilities if it.startswith("urn:ietf:params:netconf"))
        seen["at first"] = access_vlan(switch, interface)
        with switch.locked("candidate"):
            edit = EDIT.format(interface=interface, vlan=work["vlan"], text="a &amp; b")
            switch.edit_config(edit, target="candidate", error_option="rollback-on-error")
            seen["candidate"] = access_vlan(switch, interface, "candidate")
            switch.validate("candidate")
            switch.commit(confirmed=True, timeout="1")
            seen["unconfirmed"] = access_vlan(switch, interface)
            time.sleep(1.5)
            seen["taken back"] = access_vlan(switch, interface)
            switch.discard_changes()
            switch.edit_config(edit, target="candidate", error_option="rollback-on-error")
            switch.commit(confirmed=True, timeout="60")
            switch.commit()
            seen["confirmed"] = access_vlan(switch, interface)
            try:
                switch.edit_config(edit.replace("ACCESS", "TANK"), target="candidate", error_option="rollback-on-error")
                seen["refused"] = None
            except RPCError as error:
                seen["refused"] = [error.tag, error.severity, error.message]
        switch.copy_config(source="running", target="startup")
        seen["saved"] = access_vlan(switch, interface, "startup")
        seen["state"] = "<oper-status>UP</oper-status>" in switch.get().data_xml
    return seen


def main():
    try:
        seen = visit(json.load(sys.stdin))
    except Exception as error:  # noqa: BLE001: whatever it is, the test prints it
        seen = {"error": f"{error!r}\n{traceback.format_exc()}"}
    json.dump(seen, sys.stdout)


main()
