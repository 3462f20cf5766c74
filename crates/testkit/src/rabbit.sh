# Runs a RabbitMQ of its own until standard input ends, which it does with whoever started this,
# however that dies. Then nothing of it is left. A line there starts it again once it was killed; its pid
# is in FOLDER/server.pid.
#
# usage: rabbit.sh FOLDER, with the settings of rabbitmq-env-conf in the environment
epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null >"$1/epmd.out" 2>&1 &
epmd=$!
start() {
    /usr/lib/rabbitmq/bin/rabbitmq-server </dev/null >>"$1/server.out" 2>&1 &
    server=$!
    echo "$server" >"$1/server.pid"
}
start "$1"
while read -r _; do
    wait "$server"
    start "$1"
done
kill -KILL "$server" "$epmd" 2>/dev/null
wait
rm -rf "$1"
