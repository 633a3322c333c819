#!/usr/bin/env bash
# A real Apache Flink session cluster, for bench/run --flink.
#   flink.sh up [SLOTS]    fetches what is missing (about 400 MB, by pip and mvn), starts a job manager and a task manager, prints the latter's pid
#   flink.sh sql FILE      runs the file in Flink's SQL client, one statement after the other, each to its end
#   flink.sh duration      seconds the newest job ran
#   flink.sh down          ends both
# TIDEGATE_FLINK_HOME (default ~/.cache/tidegate/flink) holds it, FLINK_VERSION picks the release, FLINK_PORT (8081) is its REST port.
set -euo pipefail
version=${FLINK_VERSION:-2.3.0} connector=${FLINK_KAFKA_CONNECTOR:-5.0.0-2.2} port=${FLINK_PORT:-8081}
home=${TIDEGATE_FLINK_HOME:-$HOME/.cache/tidegate/flink}/$version

java_() { # java_ JVM-OPTION.. -- CLASS ARGUMENT..
  local open=() p jvm=()
  for p in lang net io nio lang.reflect text time util util.concurrent util.concurrent.atomic util.concurrent.locks; do open+=("--add-opens=java.base/java.$p=ALL-UNNAMED"); done
  open+=(--add-opens=java.base/sun.nio.ch=ALL-UNNAMED)
  for p in api file parser tree util; do open+=("--add-exports=jdk.compiler/com.sun.tools.javac.$p=ALL-UNNAMED"); done
  while [ "$1" != -- ]; do jvm+=("$1"); shift; done
  shift
  export FLINK_CONF_DIR=$home/conf FLINK_HOME=$home/pyflink FLINK_LIB_DIR=$home/pyflink/lib FLINK_OPT_DIR=$home/pyflink/opt FLINK_PLUGINS_DIR=$home/pyflink/plugins
  exec java "${jvm[@]}" "${open[@]}" "-Dlog4j.configurationFile=$home/conf/log4j.properties" "-Dlog4j2.configurationFile=$home/conf/log4j.properties" \
    -cp "$home/pyflink/lib/*${more:-}" "$@"
}

fetch() {
  [ -f "$home/complete" ] && return
  mkdir -p "$home/conf"
  python3 -m pip download -q --no-deps -d "$home" "apache-flink-libraries==$version" >&2
  (cd "$home" && python3 -m zipfile -e apache_flink_libraries-*.whl . && rm -f ./*.whl)
  local artifact
  for artifact in "flink-sql-connector-kafka:$connector lib" "flink-sql-gateway:$version opt" "flink-sql-gateway-api:$version opt"; do
    mvn -q -B dependency:copy "-Dartifact=org.apache.flink:${artifact% *}" "-DoutputDirectory=$home/pyflink/${artifact#* }" >&2
  done
  printf '%s\n' 'rootLogger.level=WARN' 'appender.c.type=Console' 'appender.c.name=C' 'appender.c.layout.type=PatternLayout' \
    'appender.c.layout.pattern=%d %p %c %m%n' 'rootLogger.appenderRef.c.ref=C' >"$home/conf/log4j.properties"
  touch "$home/complete"
}

# The settings people run it with: RocksDB, incremental exactly-once checkpoints every second, mini-batch aggregation.
configure() {
  cat >"$home/conf/config.yaml" <<Y
jobmanager: {rpc: {address: 127.0.0.1, port: $((port + 1))}, bind-host: 127.0.0.1, memory: {process: {size: 1600m}}}
taskmanager: {bind-host: 127.0.0.1, host: 127.0.0.1, numberOfTaskSlots: $1, memory: {process: {size: 4096m}}}
parallelism: {default: 2}
rest: {address: 127.0.0.1, bind-address: 127.0.0.1, port: $port}
execution: {checkpointing: {interval: 1s, mode: EXACTLY_ONCE, dir: "file://$home/checkpoints", incremental: true}}
state: {backend: {type: rocksdb}}
table: {dml-sync: true, exec: {mini-batch: {enabled: true, allow-latency: 1s, size: 50000}}}
Y
}

task_manager() { # the sizes Flink's own start script computes out of 4096m
  java_ -Xmx1600m -XX:MaxDirectMemorySize=800m -XX:MaxMetaspaceSize=256m -- org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$home/conf" \
    -D taskmanager.memory.network.min=366mb -D taskmanager.memory.network.max=366mb -D taskmanager.cpu.cores="$1" \
    -D taskmanager.memory.task.off-heap.size=0b -D taskmanager.memory.jvm-metaspace.size=256mb -D external-resources=none \
    -D taskmanager.memory.jvm-overhead.min=410mb -D taskmanager.memory.jvm-overhead.max=410mb \
    -D taskmanager.memory.framework.off-heap.size=128mb -D taskmanager.memory.framework.heap.size=128mb \
    -D taskmanager.memory.managed.size=1464mb -D taskmanager.memory.task.heap.size=1344mb -D taskmanager.numberOfTaskSlots="$1"
}

rest() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:" + sys.argv[1], timeout=5).read().decode())' "$port$1" 2>/dev/null; }

down() {
  local p
  for p in "$home"/*.pid; do
    [ -f "$p" ] || continue
    kill "$(cat "$p")" 2>/dev/null || true
    rm -f "$p"
  done
}

up() {
  local slots=${1:-4} waited
  fetch
  down
  configure "$slots"
  (java_ -Xmx1g -- org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir "$home/conf") >"$home/jm.log" 2>&1 </dev/null &
  echo $! >"$home/jm.pid"
  (task_manager "$slots") >"$home/tm.log" 2>&1 </dev/null &
  echo $! >"$home/tm.pid"
  for waited in $(seq 240); do
    rest /overview | grep -q "\"slots-total\":$slots" && { cat "$home/tm.pid"; return; }
    sleep 0.5
  done
  echo "flink.sh: no cluster after $((waited / 2)) s; the end of $home/jm.log:" >&2
  tail -5 "$home/jm.log" >&2
  exit 1
}

case ${1:-} in
  up) shift; up "$@" ;;
  sql) # the client is not in lib/; nor is Python, without which it does not start
    more=''
    for jar in "$home"/pyflink/opt/flink-{sql-client,python,sql-gateway,sql-gateway-api}-"$version".jar; do more+=:$jar; done
    java_ -Xmx512m -- org.apache.flink.table.client.SqlClient -f "$2" ;;
  duration) rest /jobs/overview | python3 -c 'import json, sys; print(max(json.load(sys.stdin)["jobs"], key=lambda j: j["start-time"])["duration"] / 1000)' ;;
  down) down ;;
  *) sed -n 2,8p "$0"; exit 2 ;;
esac
