"""A caller by AIR, with another library than exo's: reads requests, prints what came of each.

usage: air.py PORT VHOST USER PASSWORD < LIST
LIST is JSON, requests as {"service", "args", "kwargs", "deadline"}. Prints a list: the response, or
"nobody" where no service has the name, or null where the deadline was over and all others had been
answered before this one was.
"""

import json
import sys
import time

import pika

port, vhost, user, password = sys.argv[1:]
login = pika.PlainCredentials(user, password)
connection = pika.BlockingConnection(
    pika.ConnectionParameters("127.0.0.1", int(port), vhost, login)
)
channel = connection.channel()
channel.confirm_delivery()
channel.exchange_declare("AIR-request", "direct", durable=True)
channel.exchange_declare("AIR-response", "direct")
own = channel.queue_declare("", auto_delete=True).method.queue
channel.queue_bind(own, "AIR-response", own)

calls = json.load(sys.stdin)
results = [None] * len(calls)
for number, call in enumerate(calls):
    body = {"msgID": f"urn:uuid:{number}", **call}
    del body["service"]
    properties = pika.BasicProperties(delivery_mode=2, reply_to=own)
    try:
        channel.basic_publish(
            "AIR-request", call["service"], json.dumps(body).encode(), properties, mandatory=True
        )
    except pika.exceptions.UnroutableError:
        results[number] = "nobody"
began = time.time()
# Answers need not come in the order of the requests.
missing = {
    number
    for number, call in enumerate(calls)
    if results[number] is None and (call.get("deadline") or began) >= began
}
if missing:
    for method, _, body in channel.consume(own, auto_ack=True, inactivity_timeout=20):
        if method is None:
            sys.exit("no response came in 20 seconds")
        response = json.loads(body)
        number = int(response["msgID"].rpartition(":")[2])
        assert set(response) == {"msgID", "return"} and results[number] is None
        results[number] = response["return"]
        missing.discard(number)
        if not missing:
            break
json.dump(results, sys.stdout)
