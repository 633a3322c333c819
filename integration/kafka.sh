#!/usr/bin/env bash
# A real Apache Kafka broker (KRaft, one node) for the integration tests and the benchmarks.
#
#   kafka.sh jars                      fetch the broker's jars once (Maven)
#   kafka.sh start DIR PORT [k=v ...]  start in DIR (made when absent, data kept), wait until it answers, print the pid
#   kafka.sh ready PORT                succeeds when something listens
#
# The broker is an ordinary child: stop it with kill, crash it with kill -9, start it again on the same DIR.
# TIDEGATE_KAFKA_HOME (default ~/.cache/tidegate/kafka) holds the jars, KAFKA_VERSION picks the release, KAFKA_JVM adds options of java.
set -euo pipefail
version=${KAFKA_VERSION:-4.1.0}
home=${TIDEGATE_KAFKA_HOME:-$HOME/.cache/tidegate/kafka}/$version

dependency() { echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version></dependency>"; }

jars() {
  [ -f "$home/complete" ] || fetch
  [ -f "$home/classes.jsa" ] || archive
}

archive() { # the classes of a running broker, ready to map: halves the work of a start
  local dir pid
  dir=$(mktemp -d)
  touch "$home/classes.jsa" # start asks for the archive; an empty one is no archive, and none is better than no broker
  pid=$(KAFKA_JVM="-XX:ArchiveClassesAtExit=$home/classes.new" start "$dir" "$(shuf -i 11000-19000 -n 1)") && kill "$pid" &&
    for _ in $(seq 120); do kill -0 "$pid" 2>/dev/null || break; sleep 0.25; done
  [ -s "$home/classes.new" ] && mv "$home/classes.new" "$home/classes.jsa"
  rm -rf "$dir"
}

fetch() {
  mkdir -p "$home"
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>tidegate</groupId><artifactId>broker</artifactId><version>1</version><dependencies>'
    dependency org.apache.kafka kafka_2.13 "$version"
    dependency org.apache.kafka kafka-tools "$version"
    dependency org.apache.logging.log4j log4j-core 2.25.1
    dependency org.apache.logging.log4j log4j-slf4j-impl 2.25.1
    echo '</dependencies></project>'
  } >"$home/pom.xml"
  local try
  for try in 1 2 3; do
    mvn -q -B -f "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/libs" >&2 && break
    [ "$try" = 3 ] && { echo "kafka.sh: the broker's jars could not be fetched" >&2; exit 1; }
  done
  printf '%s\n' 'rootLogger.level=WARN' 'appender.c.type=Console' 'appender.c.name=C' 'appender.c.layout.type=PatternLayout' \
    'appender.c.layout.pattern=%d %p %c %m%n' 'rootLogger.appenderRef.c.ref=C' >"$home/log4j2.properties"
  touch "$home/complete"
}

format() { # an empty directory of a broker, once: to make one starts a java of its own. What is in it does not depend on the other settings
  local dir
  dir=$(mktemp -d "$home/format-XXXXXX")
  printf '%s\n' process.roles=broker,controller node.id=1 controller.quorum.voters=1@127.0.0.1:1 listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1 \
    controller.listener.names=CONTROLLER "log.dirs=$dir/data" >"$dir/server.properties"
  (run_java kafka.tools.StorageTool format -t dGlkZWdhdGUtdGVzdC0tLQ -c "$dir/server.properties") >/dev/null
  mv -T "$dir/data" "$home/formatted" 2>/dev/null || [ -f "$home/formatted/meta.properties" ] # another start may have been first
  rm -rf "$dir"
}

run_java() {
  local shared=()
  [ -s "$home/classes.jsa" ] && shared=("-XX:SharedArchiveFile=$home/classes.jsa" -Xshare:auto)
  # shellcheck disable=SC2086
  exec java "-Xmx${KAFKA_HEAP:-768m}" -XX:+UseSerialGC ${shared[@]+"${shared[@]}"} ${KAFKA_JVM:-} "-Dlog4j2.configurationFile=$home/log4j2.properties" -cp "$home/libs/*" "$@"
}
ready() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {
  local dir=$1 port=$2 pid waited
  shift 2
  jars
  mkdir -p "$dir"
  cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
log.dirs=$dir/data
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=300
broker.session.timeout.ms=4000
P
  printf '%s\n' "$@" >>"$dir/server.properties"
  if [ ! -f "$dir/data/meta.properties" ]; then
    [ -f "$home/formatted/meta.properties" ] || format
    mkdir -p "$dir/data"
    cp -r "$home/formatted/." "$dir/data"
  fi
  (run_java kafka.Kafka "$dir/server.properties") >>"$dir/broker.log" 2>&1 </dev/null &
  pid=$!
  for waited in $(seq 600); do
    ready "$port" && { echo "$pid"; return; }
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "kafka.sh: no broker on port $port after $((waited / 10)) s; the end of $dir/broker.log:" >&2
  tail -5 "$dir/broker.log" >&2
  exit 1
}

case ${1:-} in
  jars) jars ;;
  start) shift; start "$@" ;;
  ready) ready "$2" ;;
  *) sed -n '2,9p' "$0"; exit 2 ;;
esac
